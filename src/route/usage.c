/* usage.c: see usage.h. */
#include "route/usage.h"

#include "base/mem.h"
#include "codec/json_scan.h"

#include <stdlib.h>

void usage_init(struct usage *u)
{
    *u = (struct usage){ .at = mem_resize(NULL, USAGE_HEAD, 1) }; /* the tail when the answer is that long */
}

void usage_fini(struct usage *u)
{
    free(u->at);
    *u = (struct usage){ 0 };
}

void usage_add(struct usage *u, str bytes)
{
    if (!u->at)
        return;
    if (u->head < USAGE_HEAD) {
        size_t n = bytes.len < USAGE_HEAD - u->head ? bytes.len : USAGE_HEAD - u->head;
        memcpy(u->at + u->head, bytes.ptr, n);
        u->head += n;
        bytes = str_sub(bytes, n, bytes.len);
    }
    if (bytes.len == 0)
        return;
    if (u->tail == 0)
        u->at = mem_resize(u->at, USAGE_HEAD + USAGE_TAIL, 1);
    if (bytes.len > USAGE_TAIL) {
        u->tail += bytes.len - USAGE_TAIL;
        bytes = str_sub(bytes, bytes.len - USAGE_TAIL, USAGE_TAIL);
    }
    while (bytes.len > 0) {
        size_t at = (size_t)(u->tail % USAGE_TAIL), room = USAGE_TAIL - at;
        size_t n = bytes.len < room ? bytes.len : room;
        memcpy(u->at + USAGE_HEAD + at, bytes.ptr, n);
        u->tail += n;
        bytes = str_sub(bytes, n, bytes.len);
    }
}

/* --- finding --- */

/* The first of `n` names with a number, after one look at the object. */
static void take(str object, const struct json_want *want, size_t n, int64_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        int64_t v;
        if (str_to_i64(json_want_value(object, &want[i]), &v) && v >= 0) {
            *ret = v;
            return;
        }
    }
}

/* `key` with an object behind it, everywhere in the text. */
static void each_object(str text, str key, void (*fn)(str object, struct usage_tokens *t), struct usage_tokens *t)
{
    for (size_t from = 0; from < text.len;) {
        str rest = str_sub(text, from, text.len);
        ptrdiff_t at = str_find(rest, key);
        if (at < 0)
            return;
        size_t i = (size_t)at + key.len;
        while (i < rest.len && (chr_space(rest.ptr[i]) || rest.ptr[i] == ':'))
            i++;
        from += (size_t)at + key.len;
        str value = str_sub(rest, i, rest.len);
        size_t len = value.len && value.ptr[0] == '{' ? json_skip_value(value) : 0;
        if (len > 0)
            fn(str_sub(value, 0, len), t);
    }
}

static void take_usage(str object, struct usage_tokens *t)
{
    struct json_want want[] = { { .name = S("prompt_tokens") }, { .name = S("input_tokens") },
                                { .name = S("completion_tokens") }, { .name = S("output_tokens") } };
    if (json_scan_top(object, want, ARRAY_LEN(want), NULL, NULL) < 0)
        return;
    take(object, want, 2, &t->in);
    take(object, want + 2, 2, &t->out);
}

static void take_timings(str object, struct usage_tokens *t)
{
    struct json_want want[] = { { .name = S("prompt_n") }, { .name = S("predicted_n") } };
    if (json_scan_top(object, want, ARRAY_LEN(want), NULL, NULL) < 0)
        return;
    if (t->in < 0)
        take(object, want, 1, &t->in);
    if (t->out < 0)
        take(object, want + 1, 1, &t->out);
}

struct usage_tokens usage_scan(str text)
{
    struct usage_tokens t = { -1, -1 };
    each_object(text, S("\"usage\""), take_usage, &t);
    if (t.in < 0 || t.out < 0)
        each_object(text, S("\"timings\""), take_timings, &t);
    return t;
}

struct usage_tokens usage_end(const struct usage *u)
{
    struct usage_tokens none = { -1, -1 };
    if (!u->at)
        return none;
    if (u->tail == 0)
        return usage_scan(str_n(u->at, u->head));
    char *all = mem_resize(NULL, USAGE_HEAD + USAGE_TAIL, 1);
    size_t n = u->head;
    memcpy(all, u->at, n);
    const char *ring = u->at + USAGE_HEAD;
    if (u->tail > USAGE_TAIL) {
        size_t at = (size_t)(u->tail % USAGE_TAIL);
        memcpy(all + n, ring + at, USAGE_TAIL - at);
        memcpy(all + n + USAGE_TAIL - at, ring, at);
        n += USAGE_TAIL;
    } else {
        memcpy(all + n, ring, (size_t)u->tail);
        n += (size_t)u->tail;
    }
    struct usage_tokens t = usage_scan(str_n(all, n));
    free(all);
    return t;
}
