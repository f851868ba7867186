/* fuzz_http_request.c: the request reader; pieces must not matter, and whatever is accepted can be forwarded and is
 * then read again as the same request. */
#include "codec/http_parse.h"
#include "codec/http_write.h"
#include "codec/url.h"

#include "http_fuzz.h"

/* What was written raw arrives escaped. */
static bool same_in_ascii(str sent, str asked)
{
    struct strbuf b = STRBUF(1u << 20);
    ASSERT(url_ascii(&b, asked));
    bool same = str_eq(sent, strbuf_str(&b));
    strbuf_fini(&b);
    return same;
}

static void fuzz_accepted(const struct http_head *h)
{
    struct strbuf out = STRBUF(1u << 20);
    struct http_forward o = { .peer = S("127.0.0.1"), .filter_encoding = true, .body = h->body, .length = h->length,
                              .upgrade = true };
    struct error e = { 0 };
    int rc = http_forward_request(&out, h, &o, &e);
    /* "*" is no path to join. */
    if (str_eq(h->path, S("*"))) {
        strbuf_fini(&out);
        return;
    }
    ASSERT(rc == 0);
    struct http_reader *r = http_reader_new(HTTP_KIND_REQUEST, 1u << 20);
    struct arena a;
    struct http_head again;
    size_t used;
    arena_init(&a, 1u << 20);
    ASSERT(http_reader_feed(r, strbuf_str(&out), &used, &e) == HTTP_DONE && used == out.len);
    ASSERT(http_reader_head(r, &a, false, &again, &e) == 0);
    ASSERT(str_eq(again.method, h->method) && same_in_ascii(again.path, h->path) && same_in_ascii(again.query, h->query));
    ASSERT(again.body == h->body && again.length == h->length && again.upgrade == h->upgrade);
    ASSERT(str_eq(http_value(&again, HDR_HOST), http_value(h, HDR_HOST)));
    ASSERT(!again.expect_continue && again.keep_alive);
    arena_fini(&a);
    http_reader_free(r);
    strbuf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_both(HTTP_KIND_REQUEST, data, size);
    return 0;
}
