/* The JSON scanner at block borders, and its two builds (SSE2 and plain C) side by side. */
#include "spec.h"

#include "base/rand.h"
#include "base/strbuf.h"

#include <stdio.h>
#include <time.h>

/* A second copy of the scanner without SSE2, under other names. */
#define LUASWAP_NO_SIMD 1
#define json_scan_top plain_scan_top
#define json_iter_init plain_iter_init
#define json_iter_next plain_iter_next
#define json_text_is plain_text_is
#define json_skip_value plain_skip_value
#define json_value_text plain_value_text
#define json_value_true plain_value_true
#define json_unescape plain_unescape
#include "codec/json_scan.c"
#undef json_scan_top
#undef json_skip_value
#undef json_value_text
#undef json_text_is

size_t json_skip_value(str s);
int json_scan_top(str body, struct json_want *want, size_t n, struct json_top *ret_top,
                  struct error *e);
int json_value_text(struct arena *a, str raw, str *ret, struct error *e);
bool json_text_is(str raw, str name);

/* The slow truth: one byte after the other. */
static size_t slow_skip(str s)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            if (!in_string && depth == 0)
                return i + 1;
        } else if (c == '\\' && i + 1 < s.len && (s.ptr[i + 1] == '\\' || s.ptr[i + 1] == '"')) {
            i++; /* no JSON; the scanner lets a backslash count outside strings, too */
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (--depth == 0)
                return i + 1;
        }
    }
    return 0;
}

/* Exactly the bytes, so that a read behind the end is noticed. */
static str exact(const struct strbuf *b)
{
    char *p = mem_resize(NULL, b->len ? b->len : 1, 1);
    if (b->len)
        memcpy(p, b->ptr, b->len);
    return str_n(p, b->len);
}

static void check_both(str s, uint64_t seed)
{
    size_t want = slow_skip(s), fast = json_skip_value(s), plain = plain_skip_value(s);
    if (fast != want || plain != want)
        spec_miss(__FILE__, __LINE__, "seed %llu: want %zu, SSE2 %zu, plain %zu, text " STR_FMT,
                  (unsigned long long)seed, want, fast, plain, STR_ARG(s));
}

TEST(json_skip_finds_the_end_of_random_values_in_both_builds)
{
    static const char alphabet[] = "\"\"\\\\{}[]:,aaaa  n0";
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seed = (uint64_t)now.tv_nsec;
    struct rand_state r;
    rand_seed(&r, seed);
    for (int round = 0; round < 20000; round++) {
        struct strbuf b = STRBUF(4096);
        strbuf_addc(&b, "{[\""[rand_below(&r, 3)]);
        uint64_t plain = rand_below(&r, 60); /* how much of it is plain text */
        for (uint64_t n = rand_below(&r, 400); n; n--)
            strbuf_addc(&b, rand_below(&r, 64) < plain
                                ? 'x'
                                : alphabet[rand_below(&r, sizeof alphabet - 1)]);
        str s = exact(&b);
        check_both(s, seed);
        free((void *)(uintptr_t)s.ptr);
        strbuf_fini(&b);
    }
}

TEST(json_skip_handles_every_alignment_of_escapes_to_blocks)
{
    for (size_t pad = 0; pad < 140; pad++) {
        for (size_t backs = 0; backs < 70; backs++) {
            struct strbuf b = STRBUF(4096);
            strbuf_add(&b, S("{\"k\":\""));
            for (size_t i = 0; i < pad; i++)
                strbuf_addc(&b, '.');
            for (size_t i = 0; i < backs; i++)
                strbuf_addc(&b, '\\');
            strbuf_add(&b, S("\"}]\"}tail"));
            str s = exact(&b);
            check_both(s, pad * 1000 + backs);
            check_both(str_sub(s, 5, SIZE_MAX), pad * 1000 + backs);
            free((void *)(uintptr_t)s.ptr);
            strbuf_fini(&b);
        }
    }
}

TEST(json_scan_finds_the_model_behind_any_amount_of_text)
{
    for (size_t pad = 0; pad < 300; pad++) {
        struct strbuf b = STRBUF(4096);
        strbuf_add(&b, S("{\"messages\":[{\"content\":\""));
        for (size_t i = 0; i < pad; i++)
            strbuf_addc(&b, i % 7 == 6 ? '[' : 'x');
        strbuf_add(&b, S("\\\"model\\\":\"}],\"model\":\"otter\",\"stream\":true}"));
        str s = exact(&b);
        struct json_want want[2] = { { .name = S("model"), .unique = true },
                                     { .name = S("stream") } };
        struct json_top top;
        CHECK_INT(0, json_scan_top(s, want, 2, &top, NULL));
        CHECK_TRUE(top.complete);
        CHECK_UINT(3, top.n);
        CHECK_UINT(s.len, top.end);
        CHECK_STR("\"otter\"", json_want_value(s, &want[0]));
        CHECK_STR("true", json_want_value(s, &want[1]));
        /* Cut anywhere it must neither crash nor find what is not whole. */
        for (size_t cut = 0; cut < s.len; cut += 3) {
            struct strbuf part = STRBUF(4096);
            strbuf_add(&part, str_sub(s, 0, cut));
            str p = exact(&part);
            CHECK_INT(0, json_scan_top(p, want, 2, &top, NULL));
            CHECK_FALSE(top.complete);
            if (want[0].found)
                CHECK_STR("\"otter\"", json_want_value(p, &want[0]));
            free((void *)(uintptr_t)p.ptr);
            strbuf_fini(&part);
        }
        free((void *)(uintptr_t)s.ptr);
        strbuf_fini(&b);
    }
}

TEST(json_scan_gives_up_on_too_many_members)
{
    struct strbuf b = STRBUF(4u << 20);
    struct error e;
    strbuf_addc(&b, '{');
    for (unsigned i = 0; i < JSON_TOP_MAX + 1; i++)
        strbuf_add(&b, i ? S(",\"a\":1") : S("\"a\":1"));
    strbuf_addc(&b, '}');
    CHECK_INT(ERR_LIMIT, json_scan_top(strbuf_str(&b), NULL, 0, NULL, &e));
    strbuf_fini(&b);
}

TEST(json_text_that_does_not_fit_the_arena_is_an_error)
{
    struct arena a;
    struct error e;
    str s;
    struct strbuf b = STRBUF(1u << 20);
    strbuf_add(&b, S("\"\\n"));
    for (int i = 0; i < 5000; i++)
        strbuf_addc(&b, 'x');
    strbuf_addc(&b, '"');
    arena_init(&a, 4096);
    CHECK_INT(ERR_LIMIT, json_value_text(&a, strbuf_str(&b), &s, &e));
    arena_fini(&a);
    strbuf_fini(&b);
}
