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

static int parts_of(const char *body, struct log *l)
{
    struct multipart m;
    *l = (struct log){ .b = STRBUF(8192) };
    int rc = multipart_init(&m, S("B"), &cb, l, NULL);
    for (size_t i = 0; !rc && body[i]; i++) /* byte by byte */
        rc = multipart_feed(&m, str_n(body + i, 1), NULL);
    if (!rc)
        rc = multipart_done(&m, NULL);
    multipart_fini(&m);
    return rc;
}

TEST(multipart_lines_may_end_in_lf_when_all_of_them_do)
{
    static const struct {
        const char *body, *parts; /* NULL: refused */
    } cases[] = {
        { "--B\nContent-Disposition: form-data; name=a\n\none\r\n--B\n\n--B--\n", "<a|| @44>one\r<end @48><|| @54><end @54>" },
        { "before\n--B \t\nContent-Disposition: form-data; name=a\n\none\n--B--", "<a|| @53>one<end @56>" },
        { "lf\n--B\r\nContent-Disposition: form-data; name=a\r\n\r\none\n--B\r\n--B--", "<a|| @50>one\n--B<end @57>" },
        { "--B--\n", "" },
        { "--B\n\none\r\n--B\r\n\r\ntwo\r\n--B--\r\n", NULL },
        { "--B\n\none\n--B--\r\n", NULL },
        { "--B\r\n\r\none\r\n--B\n\ntwo\r\n--B--", NULL },
        { "--B\r\n\r\none\r\n--B--\n", NULL },
        { "--B\r\nX: y\n\none\r\n--B--", NULL },
        { "--B\nX: y\r\n\r\none\n--B--", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct log l;
        int rc = parts_of(cases[i].body, &l);
        if (rc != (cases[i].parts ? 0 : ERR_SYNTAX))
            spec_miss(__FILE__, __LINE__, "case %zu: %d", i, rc);
        if (cases[i].parts)
            CHECK_STR(cases[i].parts, strbuf_str(&l.b));
        strbuf_fini(&l.b);
    }
}

TEST(multipart_header_lines_may_be_folded)
{
    struct log l;
    CHECK_INT(0, parts_of("--B\r\nContent-Disposition:\r\n form-data;\r\n\tname=a\r\nContent-Type: x\r\n \r\n\r\none\r\n--B--", &l));
    CHECK_STR("<a||x @71>one<end @74>", strbuf_str(&l.b));
    strbuf_fini(&l.b);
    CHECK_INT(0, parts_of("--B\nContent-Disposition:\n form-data; name=a\n\none\n--B--", &l));
    CHECK_STR("<a|| @45>one<end @48>", strbuf_str(&l.b));
    strbuf_fini(&l.b);
    CHECK_INT(ERR_SYNTAX, parts_of("--B\r\nX: y\r\n Content-Disposition: form-data; name=a\r\n\r\none\r\n--B--", &l));
    strbuf_fini(&l.b);
    CHECK_INT(ERR_SYNTAX, parts_of("--B\r\n X: y\r\n\r\none\r\n--B--", &l));
    strbuf_fini(&l.b);
    CHECK_INT(ERR_SYNTAX, parts_of("--B\nX: y\r\n z\n\none\n--B--", &l));
    strbuf_fini(&l.b);
}

TEST(multipart_values_are_replaced_with_the_line_ends_of_their_body)
{
    static const char body[] = "--B\nContent-Disposition: form-data; name=model\n\n--B\nContent-Disposition: form-data; name=x\n\ny\n--B--\n";
    struct multipart_fields f;
    CHECK_INT(0, multipart_fields_init(&f, S("B"), S("model"), STR_NONE, NULL));
    CHECK_INT(ERR_LIMIT, multipart_fields_feed(&f, str_c(body), NULL)); /* no line end to put a value in front of */
    multipart_fields_fini(&f);
    static const char fine[] = "--B\nContent-Disposition: form-data; name=model\n\nold\n--B--\n";
    str segs[2 * MULTIPART_SPANS_MAX + 1];
    CHECK_INT(0, multipart_fields_init(&f, S("B"), S("model"), STR_NONE, NULL));
    CHECK_INT(0, multipart_fields_feed(&f, str_c(fine), NULL));
    CHECK_INT(0, multipart_fields_done(&f, NULL));
    CHECK_STR("old", strbuf_str(&f.value[0]));
    size_t n = multipart_fields_splice(&f, 0, str_c(fine), S("new"), segs);
    struct strbuf out = STRBUF(1024);
    for (size_t i = 0; i < n; i++)
        strbuf_add(&out, segs[i]);
    CHECK_STR("--B\nContent-Disposition: form-data; name=model\n\nnew\n--B--\n", strbuf_str(&out));
    strbuf_fini(&out);
    multipart_fields_fini(&f);
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
