/* config.c: how long a configuration of 500 models takes to load, and how much memory. Not part of a test run.
 *
 * Prints the best and the median of 40 loads of each text, the size of the snapshot, and what the first load added
 * to the process's peak. Targets: 50 ms, 20 MB.
 */
#include "config/config.h"

#include "base/clock.h"

#include <stdio.h>
#include <sys/resource.h>

#define MODELS 500
#define ROUNDS 40

/* A realistic model: a template, macros, aliases, parameters, metadata. */
static void make_rich(struct strbuf *b)
{
    strbuf_add(b, S("macros:\n"));
    for (int i = 0; i < 20; i++)
        strbuf_addf(b, "  m%d: \"%s-%d%s\"\n", i, i ? "${m0}" : "base", i, i > 2 ? " ${m2}" : "");
    strbuf_add(
        b, S("x-base: &base\n  cmd: |\n    # a comment\n    llama-server --port ${PORT} ${m3} \\\n"
             "    --model /models/${MODEL_ID}.gguf ${own}\n  env: [A=1, \"B=${m4}\"]\n  ttl: 600\n"
             "  timeouts: {connect: 5}\nmodels:\n"));
    for (int i = 0; i < MODELS; i++)
        strbuf_addf(
            b,
            "  org/model-%d:q4:\n    <<: *base\n    macros: {own: \"--seed %d ${m7}\"}\n"
            "    aliases: [alias-%d, \"${MODEL_ID}-x\"]\n    name: Model %d\n    description: "
            "about ${m5}\n"
            "    filters:\n      stripParams: \"seed, user, ${m6}\"\n      setParams: "
            "{temperature: 0.%d, "
            "top_p: 0.9, stop: [a, b]}\n      setParamsByID: {\"${MODEL_ID}:hot\": {temperature: "
            "1.5}}\n"
            "    metadata: {ctx: 32768, tags: [a, b, c], nested: {x: {y: \"${PORT}\"}}}\n"
            "    capabilities: {in: [text, image], out: [text], tools: true, context: 32768}\n",
            i, i, i, i, i % 10);
    strbuf_add(b, S("groups:\n"));
    for (int g = 0; g < 50; g++)
        strbuf_addf(b, "  g%d: {swap: false, members: [\"org/model-%d:q4\", \"alias-%d\"]}\n", g,
                    g * 2, g * 2 + 1);
}

static void make_plain(struct strbuf *b)
{
    strbuf_add(b, S("models:\n"));
    for (int i = 0; i < MODELS; i++)
        strbuf_addf(
            b, "  model-%d:\n    cmd: llama-server --port ${PORT} --model /models/%d.gguf\n", i, i);
}

static long peak_kb(void)
{
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    return ru.ru_maxrss;
}

static int by_value(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static void bench(const char *name, const struct strbuf *text)
{
    uint64_t ns[ROUNDS];
    size_t snapshot = 0;
    long before = peak_kb(), first = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct config_report r;
        struct config *c = NULL;
        config_report_init(&r);
        uint64_t t0 = clock_nsec();
        if (config_load_text(strbuf_str(text), S("bench.yaml"), NULL, &c, &r) != 0) {
            struct strbuf out = STRBUF(1 << 20);
            config_report_print(&r, &out);
            fprintf(stderr, "%s", out.ptr);
            abort();
        }
        ns[i] = clock_nsec() - t0;
        if (i == 0)
            first = peak_kb() - before;
        snapshot = c->arena.used;
        config_unref(c);
        config_report_fini(&r);
    }
    qsort(ns, ROUNDS, sizeof *ns, by_value);
    printf("%-6s %4zu KiB of text: best %.2f ms, median %.2f ms, worst %.2f ms; snapshot %zu KiB, "
           "peak +%ld KiB\n",
           name, text->len / 1024, (double)ns[0] / 1e6, (double)ns[ROUNDS / 2] / 1e6,
           (double)ns[ROUNDS - 1] / 1e6, snapshot / 1024, first);
}

int main(void)
{
    struct strbuf plain = STRBUF(8 << 20), rich = STRBUF(8 << 20);
    make_plain(&plain);
    make_rich(&rich);
    bench("plain", &plain);
    bench("rich", &rich);
    strbuf_fini(&plain);
    strbuf_fini(&rich);
    return 0;
}
