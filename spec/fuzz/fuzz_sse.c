/* fuzz_sse.c: the event splitter: pieces must not matter, and a written event is read back. */
#include "base/check.h"
#include "codec/sse.h"

#define MAX 64u

static bool note(void *ud, const struct sse_event *ev)
{
    strbuf_addf(ud, "[" STR_FMT "|" STR_FMT "|" STR_FMT "]", STR_ARG(ev->name), STR_ARG(ev->data), STR_ARG(ev->id));
    ASSERT(ev->data.len <= MAX);
    return true;
}

static void read_all(str all, unsigned seed, struct strbuf *out)
{
    struct sse s;
    sse_init(&s, MAX);
    for (size_t at = 0; at < all.len;) {
        seed = seed ? seed * 1103515245u + 12345u : 0;
        str piece = str_sub(all, at, seed ? 1 + (seed >> 16) % 16 : all.len);
        ASSERT(sse_feed(&s, piece, note, out) == piece.len);
        at += piece.len;
    }
    strbuf_addf(out, "%llu %llu", (unsigned long long)s.events, (unsigned long long)s.dropped);
    sse_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    str all = str_n((const char *)data + 1, size - 1);
    struct strbuf a = STRBUF(64u << 20), b = STRBUF(64u << 20);
    read_all(all, 0, &a);
    read_all(all, data[0] + 1u, &b);
    ASSERT(str_eq(strbuf_str(&a), strbuf_str(&b)));
    strbuf_clear(&a);
    strbuf_clear(&b);
    str text = str_sub(all, 0, MAX);
    if (str_chr(text, '\r') < 0) {
        ASSERT(sse_write(&a, STR_NONE, text));
        struct sse s;
        sse_init(&s, 2 * MAX);
        /* The data comes back as it was. */
        struct strbuf want = STRBUF(4096);
        strbuf_addf(&want, "[|" STR_FMT "|]", STR_ARG(text));
        sse_feed(&s, strbuf_str(&a), note, &b);
        ASSERT(str_chr(text, '\0') >= 0 || str_eq(strbuf_str(&b), strbuf_str(&want)));
        strbuf_fini(&want);
        sse_fini(&s);
    }
    strbuf_fini(&a);
    strbuf_fini(&b);
    return 0;
}
