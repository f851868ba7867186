/* json.c: how fast the JSON scanner and editor go over a chat body. Not part of a test run.
 *
 *   cc -O2 -std=gnu17 -D_GNU_SOURCE -Isrc spec/bench/micro/json.c src/codec/json*.c src/base/[a-z]*.c -lcjson
 *   ./a.out
 *
 * Prints GB/s, best of 40 rounds, for bodies of 1 MiB with different kinds of text.
 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "codec/json_edit.h"
#include "codec/json_scan.h"

#include <stdio.h>

#define SIZE (1u << 20)

/* Messages whose content has an escape every `every` characters (0: none). */
static void make_chat(struct strbuf *b, size_t content, size_t every)
{
    strbuf_add(b, S("{\"stream\":true,\"temperature\":0.7,\"messages\":["));
    for (size_t k = 0; b->len < SIZE; k++) {
        strbuf_add(b, k ? S(",{\"role\":\"user\",\"content\":\"")
                        : S("{\"role\":\"user\",\"content\":\""));
        for (size_t i = 0; i < content; i++)
            strbuf_add(b, every && i % every == every - 1 ? S("\\n") : S("x"));
        strbuf_add(b, S("\"}"));
    }
    strbuf_add(b, S("],\"model\":\"org/model\",\"top_p\":0.9}"));
}

static void make_numbers(struct strbuf *b)
{
    strbuf_add(b, S("{\"input\":["));
    while (b->len < SIZE)
        strbuf_add(b, S("[12345,678,90123,4],"));
    strbuf_add(b, S("0],\"model\":\"org/model\"}"));
}

static double rate(uint64_t ns, size_t bytes)
{
    return (double)bytes / (double)ns;
}

static void bench(const char *name, const struct strbuf *b)
{
    uint64_t best_scan = UINT64_MAX, best_edit = UINT64_MAX;
    str body = strbuf_str(b);
    for (int round = 0; round < 40; round++) {
        struct json_want want[2] = { { .name = S("model"), .unique = true },
                                     { .name = S("stream") } };
        struct json_top top;
        struct json_edit ed;
        struct arena a;
        struct json_op ops[] = { { JSON_MEMBER, S("model"), S("\"other\"") },
                                 { JSON_DELETE, S("top_p"), STR_NONE },
                                 { JSON_SET, S("top_k"), S("40") } };
        uint64_t t0 = clock_nsec();
        if (json_scan_top(body, want, 2, &top, NULL) || !want[0].found || !top.complete)
            abort();
        uint64_t t1 = clock_nsec();
        arena_init(&a, 1u << 20);
        if (json_edit(&a, body, &top, ops, 3, &ed, NULL))
            abort();
        uint64_t t2 = clock_nsec();
        arena_fini(&a);
        best_scan = t1 - t0 < best_scan ? t1 - t0 : best_scan;
        best_edit = t2 - t1 < best_edit ? t2 - t1 : best_edit;
    }
    printf("%-34s scan %6.2f GB/s   three edits %6.2f us\n", name, rate(best_scan, body.len),
           (double)best_edit / 1000);
}

int main(void)
{
    static const struct {
        const char *name;
        size_t content, every;
    } kinds[] = { { "one long message, no escapes", SIZE, 0 },
                  { "one long message, \\n every 80", SIZE, 80 },
                  { "one long message, \\n every 20", SIZE, 20 },
                  { "messages of 2000, \\n every 80", 2000, 80 },
                  { "messages of 200, \\n every 60", 200, 60 },
                  { "messages of 40", 40, 0 },
                  { "only escapes", SIZE, 1 } };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct strbuf b = STRBUF(16u << 20);
        make_chat(&b, kinds[i].content, kinds[i].every);
        bench(kinds[i].name, &b);
        strbuf_fini(&b);
    }
    struct strbuf b = STRBUF(16u << 20);
    make_numbers(&b);
    bench("nested arrays of numbers", &b);
    strbuf_fini(&b);
    return 0;
}
