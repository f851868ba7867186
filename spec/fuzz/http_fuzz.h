/* http_fuzz.h: what both HTTP fuzz targets do: a stream of messages read whole and read in pieces must give the
 * same transcript, and what is accepted must keep its promises.
 *
 * Input: byte 0 seeds the cuts, byte 1 holds flags, the rest is the stream.
 */
#ifndef LUASWAP_FUZZ_HTTP_H
#define LUASWAP_FUZZ_HTTP_H

#include "base/check.h"
#include "base/strbuf.h"

#define FUZZ_HEAD_MAX 1024u

struct fuzz_reading {
    enum http_kind kind;
    bool head_request, stops; /* stops: the sink pauses after every slice */
    struct http_reader *r;
    struct http_chunked *c;
    struct arena arena;
    uint64_t left;
    bool until_eof, dead;
    struct strbuf text; /* the transcript; runs of body bytes are joined */
    bool in_body;
};

static inline void fuzz_body(struct fuzz_reading *f, str bytes)
{
    if (!f->in_body && bytes.len)
        strbuf_add(&f->text, S("\nbody "));
    f->in_body = f->in_body || bytes.len;
    strbuf_add(&f->text, bytes);
}

static inline bool fuzz_sink(void *ud, str bytes)
{
    struct fuzz_reading *f = ud;
    fuzz_body(f, bytes);
    return !f->stops;
}

static inline bool fuzz_clean(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\r' || s.ptr[i] == '\n' || s.ptr[i] == '\0')
            return false;
    return true;
}

static inline void fuzz_promises(const struct http_head *h, enum http_kind kind)
{
    size_t hosts = 0, lengths = 0, codings = 0;
    for (size_t i = 0; i < h->n_headers; i++) {
        const struct http_header *x = &h->headers[i];
        ASSERT(http_token_valid(x->name) && fuzz_clean(x->value));
        ASSERT(x->id == http_hdr_of(x->name));
        hosts += x->id == HDR_HOST;
        lengths += x->id == HDR_CONTENT_LENGTH;
        codings += x->id == HDR_TRANSFER_ENCODING;
    }
    ASSERT(lengths <= 1 && codings <= 1 && lengths + codings <= 1);
    ASSERT(codings == 0 || h->minor == 1);
    if (kind == HTTP_KIND_REQUEST) {
        ASSERT(hosts <= 1 && (hosts == 1 || h->minor == 0));
        ASSERT(h->path.len && (h->path.ptr[0] == '/' || str_eq(h->path, S("*"))));
        ASSERT(h->body == (codings ? HTTP_BODY_CHUNKED : lengths ? HTTP_BODY_LENGTH : HTTP_BODY_NONE));
    } else {
        ASSERT(h->status >= 100 && h->status <= 999 && fuzz_clean(h->reason));
    }
}

static inline void fuzz_note_head(struct fuzz_reading *f, const struct http_head *h)
{
    f->in_body = false;
    strbuf_addf(&f->text, "\nhead [" STR_FMT "] [" STR_FMT "] [" STR_FMT "] %d [" STR_FMT "] %d b%d l%llu k%d u%d e%d",
                STR_ARG(h->method), STR_ARG(h->path), STR_ARG(h->query), h->status, STR_ARG(h->reason), h->minor, h->body,
                (unsigned long long)h->length, h->keep_alive, h->upgrade, h->expect_continue);
    for (size_t i = 0; i < h->n_headers; i++)
        strbuf_addf(&f->text, "\n[" STR_FMT "]: [" STR_FMT "]", STR_ARG(h->headers[i].name), STR_ARG(h->headers[i].value));
}

/* Called for each accepted head, defined by the target. */
static void fuzz_accepted(const struct http_head *h);

static inline size_t fuzz_head(struct fuzz_reading *f, str in)
{
    struct http_head h;
    struct error e = { 0 };
    size_t used = 0;
    int rc = http_reader_feed(f->r, in, &used, &e);
    if (rc == HTTP_MORE) {
        ASSERT(used == in.len);
        return used;
    }
    if (rc == HTTP_DONE) {
        arena_reset(&f->arena);
        rc = http_reader_head(f->r, &f->arena, f->head_request, &h, &e);
    }
    if (rc < 0) {
        ASSERT(e.code < 0 && e.msg[0]);
        strbuf_addf(&f->text, "\nrefused %d", f->kind == HTTP_KIND_REQUEST ? http_reader_status(f->r) : 0);
        f->dead = true;
        return in.len;
    }
    fuzz_promises(&h, f->kind);
    fuzz_note_head(f, &h);
    fuzz_accepted(&h);
    f->left = h.body == HTTP_BODY_LENGTH ? h.length : 0;
    f->until_eof = h.body == HTTP_BODY_EOF;
    if (h.body == HTTP_BODY_CHUNKED)
        f->c = http_chunked_new(f->r, fuzz_sink, f);
    http_reader_reset(f->r);
    return used;
}

static inline size_t fuzz_chunks(struct fuzz_reading *f, str in)
{
    struct error e = { 0 };
    size_t used = 0;
    int rc = http_chunked_feed(f->c, in, &used, &e);
    ASSERT(used <= in.len);
    if (rc < 0) {
        ASSERT(e.code < 0 && e.msg[0]);
        strbuf_add(&f->text, S("\nbroken"));
        f->dead = true;
        return in.len;
    }
    if (rc == HTTP_DONE) {
        strbuf_addf(&f->text, "\nend [" STR_FMT "]", STR_ARG(http_chunked_trailers(f->c)));
        http_chunked_free(f->c);
        f->c = NULL;
    }
    return used;
}

static inline void fuzz_feed(struct fuzz_reading *f, str in)
{
    while (in.len && !f->dead) {
        size_t used;
        if (f->until_eof || f->left) {
            used = f->until_eof || f->left > in.len ? in.len : (size_t)f->left;
            f->left -= f->until_eof ? 0 : used;
            fuzz_body(f, str_sub(in, 0, used));
        } else {
            used = f->c ? fuzz_chunks(f, in) : fuzz_head(f, in);
        }
        in = str_sub(in, used, in.len);
    }
}

/* seed 0: in one piece; else pieces of 1 to 32 bytes, each in a block of its own. */
static inline void fuzz_read(struct fuzz_reading *f, str all, unsigned seed)
{
    f->r = http_reader_new(f->kind, FUZZ_HEAD_MAX);
    f->text = STRBUF(64u << 20);
    arena_init(&f->arena, 1u << 20);
    for (size_t at = 0; at < all.len;) {
        seed = seed ? seed * 1103515245u + 12345u : 0;
        size_t n = seed ? 1 + (seed >> 16) % 32 : all.len;
        str piece = str_sub(all, at, n);
        char *copy = malloc(piece.len);
        memcpy(copy, piece.ptr, piece.len);
        fuzz_feed(f, str_n(copy, piece.len));
        free(copy);
        at += piece.len;
    }
    http_chunked_free(f->c);
    http_reader_free(f->r);
    arena_fini(&f->arena);
}

static inline void fuzz_both(enum http_kind kind, const uint8_t *data, size_t size)
{
    if (size < 2)
        return;
    str all = str_n((const char *)data + 2, size - 2);
    struct fuzz_reading a = { .kind = kind, .head_request = data[1] & 1 };
    struct fuzz_reading b = { .kind = kind, .head_request = data[1] & 1, .stops = data[1] & 2 };
    fuzz_read(&a, all, 0);
    fuzz_read(&b, all, data[0] + 1u);
    ASSERT(str_eq(strbuf_str(&a.text), strbuf_str(&b.text)));
    strbuf_fini(&a.text);
    strbuf_fini(&b.text);
}

#endif
