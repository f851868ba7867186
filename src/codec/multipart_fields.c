/* multipart_fields.c: text fields of a form, and the rewriter. See multipart.h. */
#include "codec/multipart.h"

#include "base/check.h"

/* ---- text fields ---- */

static void on_field_part(void *ud, const struct multipart_part *p)
{
    struct multipart_fields *f = ud;
    f->taking = -1;
    if (p->filename.len || p->name.len == 0)
        return;
    for (int i = 0; i < 2; i++)
        if (str_eq(f->name[i], p->name))
            f->taking = i;
    if (f->taking < 0)
        return;
    f->taking_at = p->at;
    f->keep = !f->found[f->taking];
    f->found[f->taking] = true;
}

static void on_field_data(void *ud, uint64_t at, str bytes)
{
    (void)at;
    struct multipart_fields *f = ud;
    if (f->taking >= 0 && f->keep && !strbuf_add(&f->value[f->taking], bytes))
        f->too_much = true;
}

static void on_field_end(void *ud, uint64_t end)
{
    struct multipart_fields *f = ud;
    if (f->taking != 0)
        return;
    /* Without a line end of its own there is no place to put another value in. */
    if (f->n_spans == MULTIPART_SPANS_MAX || f->m.bare)
        f->too_much = true;
    else
        f->span[f->n_spans++] = (struct multipart_span){ f->taking_at, end - f->taking_at };
}

int multipart_fields_init(struct multipart_fields *f, str boundary, str name, str other,
                          struct error *e)
{
    static const struct multipart_cb cb = { on_field_part, on_field_data, on_field_end };
    *f = (struct multipart_fields){ .name = { name, other }, .taking = -1 };
    strbuf_init(&f->value[0], MULTIPART_VALUE_MAX);
    strbuf_init(&f->value[1], MULTIPART_VALUE_MAX);
    return multipart_init(&f->m, boundary, &cb, f, e);
}

void multipart_fields_fini(struct multipart_fields *f)
{
    multipart_fini(&f->m);
    strbuf_fini(&f->value[0]);
    strbuf_fini(&f->value[1]);
}

int multipart_fields_feed(struct multipart_fields *f, str bytes, struct error *e)
{
    int rc = multipart_feed(&f->m, bytes, e);
    if (!rc && f->too_much) {
        f->m.failed =
            error_set(e, ERR_LIMIT, "multipart body: field too long, too often there or cut off");
        rc = f->m.failed;
    }
    return rc;
}

int multipart_fields_done(struct multipart_fields *f, struct error *e)
{
    return multipart_done(&f->m, e);
}

uint64_t multipart_fields_length(const struct multipart_fields *f, uint64_t body_len,
                                 size_t value_len)
{
    for (size_t i = 0; i < f->n_spans; i++)
        body_len = body_len - f->span[i].len + value_len;
    return body_len;
}

size_t multipart_fields_splice(const struct multipart_fields *f, uint64_t at, str piece, str value,
                               str *segs)
{
    size_t n = 0, done = 0;
    for (size_t i = 0; i < f->n_spans; i++) {
        struct multipart_span sp = f->span[i];
        if (sp.at + sp.len < at || (sp.at + sp.len == at && sp.at < at) || sp.at >= at + piece.len)
            continue;
        size_t from = sp.at > at ? (size_t)(sp.at - at) : 0;
        if (from > done)
            segs[n++] = str_sub(piece, done, from - done);
        if (sp.at >= at && value.len)
            segs[n++] = value;
        uint64_t to = sp.at + sp.len - at;
        done = to < piece.len ? (size_t)to : piece.len;
    }
    if (done < piece.len)
        segs[n++] = str_sub(piece, done, piece.len - done);
    return n;
}

/* ---- rewriting ---- */

/* Sends what is not sent yet, up to offset `to`; all of it lies in the present piece. */
static void pass(struct multipart_rewrite *r, uint64_t to)
{
    if (to <= r->sent)
        return;
    ASSERT(r->sent >= r->piece_at && to <= r->piece_at + r->piece.len);
    r->emit(r->ud, str_sub(r->piece, (size_t)(r->sent - r->piece_at), (size_t)(to - r->sent)));
    r->sent = to;
}

static void on_rewrite_part(void *ud, const struct multipart_part *p)
{
    struct multipart_rewrite *r = ud;
    if (p->filename.len || p->name.len == 0 || !str_eq(p->name, r->name))
        return;
    pass(r, p->at);
    r->inside = true;
}

static void on_rewrite_data(void *ud, uint64_t at, str bytes)
{
    (void)ud, (void)at, (void)bytes;
}

static void on_rewrite_end(void *ud, uint64_t end)
{
    (void)end;
    struct multipart_rewrite *r = ud;
    if (!r->inside)
        return;
    r->inside = false;
    if (r->value.len)
        r->emit(r->ud, r->value);
    /* Some of the delimiter may have been in an earlier piece. */
    r->emit(r->ud, multipart_delim(&r->m));
    r->sent = r->m.pos;
}

int multipart_rewrite_init(struct multipart_rewrite *r, str boundary, str name, str value,
                           multipart_emit *emit, void *ud, struct error *e)
{
    static const struct multipart_cb cb = { on_rewrite_part, on_rewrite_data, on_rewrite_end };
    *r = (struct multipart_rewrite){ .name = name, .value = value, .emit = emit, .ud = ud };
    return multipart_init(&r->m, boundary, &cb, r, e);
}

void multipart_rewrite_fini(struct multipart_rewrite *r)
{
    multipart_fini(&r->m);
}

int multipart_rewrite_feed(struct multipart_rewrite *r, str bytes, struct error *e)
{
    r->piece = bytes;
    r->piece_at = r->m.pos;
    int rc = multipart_feed(&r->m, bytes, e);
    if (!rc && !r->inside)
        pass(r, r->piece_at + bytes.len);
    r->piece = STR_NONE;
    return rc;
}

int multipart_rewrite_done(struct multipart_rewrite *r, struct error *e)
{
    return multipart_done(&r->m, e);
}
