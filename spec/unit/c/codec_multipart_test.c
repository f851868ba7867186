/* The multipart parser: offsets, limits, memory that does not depend on the body. */
#include "spec.h"

#include "base/rand.h"
#include "codec/multipart.h"

struct log {
    struct strbuf b;
    uint64_t bytes;
};

static void on_part(void *ud, const struct multipart_part *p)
{
    struct log *l = ud;
    strbuf_addf(&l->b, "<%.*s|%.*s|%.*s @%llu>", STR_ARG(p->name), STR_ARG(p->filename),
                STR_ARG(p->type), (unsigned long long)p->at);
}

static void on_data(void *ud, uint64_t at, str bytes)
{
    (void)at;
    struct log *l = ud;
    l->bytes += bytes.len;
    if (l->b.len < 4000)
        strbuf_add(&l->b, bytes);
}

static void on_end(void *ud, uint64_t end)
{
    struct log *l = ud;
    strbuf_addf(&l->b, "<end @%llu>", (unsigned long long)end);
}

static const struct multipart_cb cb = { on_part, on_data, on_end };

TEST(multipart_reports_parts_with_their_offsets)
{
    static const char body[] =
        "x\r\n--B\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "content-disposition: form-data; name=\"a\\\"b\"; filename=\"C:\\dir\\f.txt\"\r\n\r\n"
        "one\r\n--B \t\r\n\r\ntwo\r\n--B\r\nX: y\r\n\r\n--B--\r\nrest";
    struct log l = { .b = STRBUF(8192) };
    struct multipart m;
    CHECK_INT(0, multipart_init(&m, S("B"), &cb, &l, NULL));
    CHECK_INT(0, multipart_feed(&m, str_c(body), NULL));
    CHECK_INT(0, multipart_done(&m, NULL));
    CHECK_STR(
        "<a\"b|C:\\dir\\f.txt|text/plain; charset=utf-8 @121>one<end @124><|| @135>two<end @138>"
        "<|| @153><end @153>",
        strbuf_str(&l.b));
    multipart_fini(&m);
    strbuf_fini(&l.b);
}

TEST(multipart_memory_does_not_grow_with_the_body)
{
    struct log l = { .b = STRBUF(8192) };
    struct multipart m;
    struct rand_state r;
    char piece[65536];
    uint64_t sent = 0;
    rand_seed(&r, 5);
    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = "\r\n--Bx0"[rand_below(&r, 7)];
    CHECK_INT(0, multipart_init(&m, S("Boundary"), &cb, &l, NULL));
    CHECK_INT(0,
              multipart_feed(
                  &m, S("--Boundary\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n"),
                  NULL));
    for (int i = 0; i < 500; i++) {
        size_t n = (size_t)rand_below(&r, sizeof piece);
        CHECK_INT(0, multipart_feed(&m, str_n(piece, n), NULL));
        sent += n;
    }
    CHECK_INT(0, multipart_feed(&m, S("\r\n--Boundary--"), NULL));
    CHECK_INT(0, multipart_done(&m, NULL));
    CHECK_UINT(sent, l.bytes);
    CHECK_TRUE(m.head.cap < 1024);
    multipart_fini(&m);
    strbuf_fini(&l.b);
}

TEST(multipart_stays_failed)
{
    struct log l = { .b = STRBUF(8192) };
    struct multipart m;
    struct error e;
    CHECK_INT(0, multipart_init(&m, S("B"), &cb, &l, NULL));
    CHECK_INT(ERR_SYNTAX, multipart_feed(&m, S("--B\r\nno colon\r\n\r\n"), &e));
    CHECK_TRUE(str_find(str_c(e.msg), S("header line")) >= 0);
    CHECK_INT(ERR_SYNTAX, multipart_feed(&m, S("--B--\r\n"), &e));
    CHECK_INT(ERR_SYNTAX, multipart_done(&m, &e));
    multipart_fini(&m);
    CHECK_INT(ERR_SYNTAX, multipart_init(&m, S(""), &cb, &l, &e));
    CHECK_INT(ERR_SYNTAX, multipart_init(&m, S("a\rb"), &cb, &l, &e));
    multipart_fini(&m);
    strbuf_fini(&l.b);
}
