/* fuzz_multipart.c: multipart bodies in random pieces. Input: a seed byte, a boundary up to a newline, the
 * body.
 *
 * Pieces must not matter; the rewritten body must parse again, with the new value and the same number
 * of fields; streaming and splicing must agree; the old value as the new one changes nothing.
 */
#include "base/check.h"
#include "base/rand.h"
#include "codec/multipart.h"

struct seen {
    struct strbuf log;
    uint64_t at;
    bool open;
};

static void on_part(void *ud, const struct multipart_part *p)
{
    struct seen *s = ud;
    ASSERT(!s->open && p->at >= s->at);
    s->open = true;
    s->at = p->at;
    strbuf_addf(&s->log, "[%llu ", (unsigned long long)p->at);
    strbuf_add(&s->log, p->name);
    strbuf_addc(&s->log, '|');
    strbuf_add(&s->log, p->filename);
    strbuf_addc(&s->log, '|');
    strbuf_add(&s->log, p->type);
    strbuf_addc(&s->log, '>');
}

static void on_data(void *ud, uint64_t at, str bytes)
{
    struct seen *s = ud;
    ASSERT(s->open && bytes.len && at == s->at);
    s->at += bytes.len;
    strbuf_add(&s->log, bytes);
}

static void on_end(void *ud, uint64_t end)
{
    struct seen *s = ud;
    ASSERT(s->open && end == s->at);
    s->open = false;
    strbuf_addc(&s->log, ']');
}

static void emit(void *ud, str bytes)
{
    ASSERT(bytes.len);
    strbuf_add(ud, bytes);
}

static size_t piece_len(struct rand_state *r, size_t left)
{
    size_t n = 1 + (size_t)rand_below(r, 1 + rand_below(r, 40));
    return n < left ? n : left;
}

static int parse(str boundary, str body, struct rand_state *pieces, struct seen *s)
{
    static const struct multipart_cb cb = { on_part, on_data, on_end };
    struct multipart m;
    *s = (struct seen){ .log = STRBUF(64u << 20) };
    int rc = multipart_init(&m, boundary, &cb, s, NULL);
    while (!rc && body.len) {
        size_t n = pieces ? piece_len(pieces, body.len) : body.len;
        rc = multipart_feed(&m, str_sub(body, 0, n), NULL);
        body = str_sub(body, n, SIZE_MAX);
    }
    if (!rc)
        rc = multipart_done(&m, NULL);
    multipart_fini(&m);
    return rc;
}

static int rewrite(str boundary, str body, str value, struct rand_state *pieces, struct strbuf *out)
{
    struct multipart_rewrite r;
    int rc = multipart_rewrite_init(&r, boundary, S("model"), value, emit, out, NULL);
    while (!rc && body.len) {
        size_t n = piece_len(pieces, body.len);
        rc = multipart_rewrite_feed(&r, str_sub(body, 0, n), NULL);
        body = str_sub(body, n, SIZE_MAX);
    }
    if (!rc)
        rc = multipart_rewrite_done(&r, NULL);
    multipart_rewrite_fini(&r);
    return rc;
}

static int fields(str boundary, str body, struct multipart_fields *f)
{
    int rc = multipart_fields_init(f, boundary, S("model"), S("stream"), NULL);
    if (!rc)
        rc = multipart_fields_feed(f, body, NULL);
    return rc ? rc : multipart_fields_done(f, NULL);
}

static void splice(const struct multipart_fields *f, str body, str value, struct rand_state *pieces,
                   struct strbuf *out)
{
    str segs[2 * MULTIPART_SPANS_MAX + 1];
    for (size_t at = 0; at < body.len;) {
        size_t n = piece_len(pieces, body.len - at);
        size_t k = multipart_fields_splice(f, at, str_sub(body, at, n), value, segs);
        for (size_t i = 0; i < k; i++)
            strbuf_add(out, segs[i]);
        at += n;
    }
    ASSERT(out->len == multipart_fields_length(f, body.len, value.len));
}

static void check_rewrite(str boundary, str body, const struct multipart_fields *f,
                          struct rand_state *r)
{
    struct strbuf one = STRBUF(64u << 20), two = STRBUF(64u << 20);
    struct multipart_fields again = { 0 };
    ASSERT(rewrite(boundary, body, S("new/name"), r, &one) == 0);
    splice(f, body, S("new/name"), r, &two);
    ASSERT(str_eq(strbuf_str(&one), strbuf_str(&two)));
    ASSERT(fields(boundary, strbuf_str(&one), &again) == 0);
    ASSERT(again.n_spans == f->n_spans && again.found[0] == f->found[0]);
    if (again.found[0])
        ASSERT(str_eq(strbuf_str(&again.value[0]), S("new/name")));
    ASSERT(str_eq(strbuf_str(&again.value[1]), strbuf_str(&f->value[1])));
    multipart_fields_fini(&again);
    if (f->n_spans == 1) {
        strbuf_clear(&one);
        ASSERT(rewrite(boundary, body, strbuf_str(&f->value[0]), r, &one) == 0);
        ASSERT(str_eq(strbuf_str(&one), body));
    }
    strbuf_fini(&one);
    strbuf_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct rand_state r;
    str boundary, body;
    rand_seed(&r, data[0] + 1u);
    str_cut(str_n((const char *)data + 1, size - 1), '\n', &boundary, &body);
    struct seen whole, cut;
    int rc = parse(boundary, body, NULL, &whole);
    ASSERT(rc == parse(boundary, body, &r, &cut));
    ASSERT(str_eq(strbuf_str(&whole.log), strbuf_str(&cut.log)));
    strbuf_fini(&whole.log);
    strbuf_fini(&cut.log);
    struct multipart_fields f = { 0 };
    if (fields(boundary, body, &f) == 0) {
        ASSERT(rc == 0);
        check_rewrite(boundary, body, &f, &r);
    }
    multipart_fields_fini(&f);
    char found[MULTIPART_BOUNDARY_MAX];
    size_t len = 0;
    if (multipart_boundary(body, found, &len))
        ASSERT(len > 0 && len <= sizeof found);
    return 0;
}
