/* http_parse.c: see http_parse.h. */
#include "codec/http_parse.h"

#include "base/check.h"
#include "codec/http_line.h"
#include "codec/http_write.h"
#include "codec/url.h"

#include <llhttp.h>

/* An idle reader keeps a buffer up to this size. */
#define KEEP 4096
/* Empty lines before a request line that are forgiven (old clients send one after a body). */
#define LEADING_CRLF_MAX 8
#define TRAILERS_MAX ((size_t)16 * 1024)

struct http_reader {
    llhttp_t ll;
    struct http_line line; /* of a request */
    enum http_kind kind;
    size_t head_max;
    struct strbuf kept; /* the incomplete head */
    str text;           /* the complete one, in `kept` or in the piece fed last */
    int status;
    unsigned crlfs;
    bool cr_seen; /* of a leading CRLF */
    bool begun, complete;
};

static int on_headers_complete(llhttp_t *ll)
{
    struct http_reader *r = ll->data;
    r->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t head_settings = { .on_headers_complete = on_headers_complete };

struct http_reader *http_reader_new(enum http_kind kind, size_t head_max)
{
    struct http_reader *r = mem_zalloc(sizeof *r);
    r->kind = kind;
    r->head_max = head_max;
    r->kept = STRBUF(head_max);
    http_reader_reset(r);
    return r;
}

void http_reader_free(struct http_reader *r)
{
    if (!r)
        return;
    strbuf_fini(&r->kept);
    free(r);
}

void http_reader_reset(struct http_reader *r)
{
    llhttp_init(&r->ll, r->kind == HTTP_KIND_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &head_settings);
    r->ll.data = r;
    if (r->kept.cap > KEEP)
        strbuf_fini(&r->kept);
    strbuf_clear(&r->kept);
    r->text = STR_NONE;
    r->line = (struct http_line){ 0 };
    r->status = 400;
    r->crlfs = 0;
    r->cr_seen = r->begun = r->complete = false;
}

bool http_reader_begun(const struct http_reader *r)
{
    return r->begun;
}

int http_reader_status(const struct http_reader *r)
{
    return r->status;
}

static int refuse(struct http_reader *r, int status, struct error *e, const char *what)
{
    r->status = status;
    return error_set(e, status == 431 ? ERR_LIMIT : ERR_PROTOCOL, "%s", what);
}

/* Skips empty lines in front of a request; returns how much, or -1. */
static ptrdiff_t skip_crlf(struct http_reader *r, str in)
{
    size_t i = 0;
    for (; i < in.len; i++) {
        char c = in.ptr[i];
        if (r->cr_seen ? c != '\n' : c == '\n')
            return -1;
        if (!r->cr_seen && c != '\r')
            break;
        if (r->cr_seen && ++r->crlfs > LEADING_CRLF_MAX)
            return -1;
        r->cr_seen = !r->cr_seen;
    }
    return (ptrdiff_t)i;
}

static int refuse_ll(struct http_reader *r, struct error *e)
{
    const char *why = llhttp_get_error_reason(&r->ll);
    return refuse(r, 400, e, why && *why ? why : "malformed head");
}

/* The request line has ended: llhttp gets to see a plain one in its place, of which it needs the version only. */
static int end_line(struct http_reader *r, struct error *e)
{
    static const char *const plain[] = { "GET / HTTP/1.0\r\n", "GET / HTTP/1.1\r\n" };
    int minor = http_line_minor(&r->line);
    if (minor < 0)
        return refuse(r, 505, e, "HTTP version not supported");
    ASSERT(llhttp_execute(&r->ll, plain[minor], strlen(plain[minor])) == HPE_OK);
    return 0;
}

int http_reader_feed(struct http_reader *r, str in, size_t *ret_used, struct error *e)
{
    *ret_used = 0;
    ASSERT(!r->complete);
    if (!r->begun) {
        ptrdiff_t skip = r->kind == HTTP_KIND_REQUEST ? skip_crlf(r, in) : 0;
        if (skip < 0)
            return refuse(r, 400, e, "bare line end before the request line");
        in = str_sub(in, (size_t)skip, in.len);
        *ret_used = (size_t)skip;
        if (in.len == 0)
            return HTTP_MORE;
        if (r->kind == HTTP_KIND_RESPONSE && in.ptr[0] != 'H')
            return refuse(r, 400, e, "not an HTTP answer");
        r->begun = true;
    }
    /* Never look beyond the limit: the rest may be a body of any size. */
    size_t room = r->head_max - r->kept.len;
    str piece = str_sub(in, 0, room);
    size_t line = 0;
    if (r->kind == HTTP_KIND_REQUEST && !http_line_done(&r->line)) {
        if (!http_line_take(&r->line, piece, &line))
            return refuse(r, 400, e, "malformed request line");
        if (http_line_done(&r->line) && end_line(r, e) < 0)
            return ERR_PROTOCOL;
    }
    llhttp_errno_t code = line == piece.len ? HPE_OK : llhttp_execute(&r->ll, piece.ptr + line, piece.len - line);
    if (!r->complete) {
        if (code != HPE_OK)
            return refuse_ll(r, e);
        if (in.len >= room)
            return refuse(r, 431, e, "head too large");
        ASSERT(strbuf_add(&r->kept, piece));
        *ret_used += piece.len;
        return HTTP_MORE;
    }
    if (code != HPE_PAUSED)
        return refuse_ll(r, e);
    size_t used = (size_t)(llhttp_get_error_pos(&r->ll) - piece.ptr);
    ASSERT(used <= piece.len);
    *ret_used += used;
    r->text = str_sub(piece, 0, used);
    if (r->kept.len) {
        ASSERT(strbuf_add(&r->kept, r->text));
        r->text = strbuf_str(&r->kept);
    }
    return HTTP_DONE;
}

/* --- the second reading --- */

/* Next line without its CRLF; false on a bare LF, a bare CR or no LF at all. */
static bool next_line(str *rest, str *line)
{
    const char *lf = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
    if (!lf || lf == rest->ptr || lf[-1] != '\r')
        return false;
    *line = str_n(rest->ptr, (size_t)(lf - rest->ptr) - 1);
    *rest = str_sub(*rest, line->len + 2, rest->len);
    return true;
}

/* Visible characters, blanks, tabs and bytes above 127. */
static bool text_ok(str v)
{
    if (http_no_controls(v))
        return true;
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static str trim_ows(str s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = str_sub(s, 1, s.len);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static const char *split_field(str line, struct http_header *f)
{
    if (line.len && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
        return "folded header line";
    if (!str_cut(line, ':', &f->name, &f->value) || !http_token_valid(f->name))
        return "bad header name";
    f->value = trim_ows(f->value);
    if (!text_ok(f->value))
        return "control character in a header";
    f->id = http_hdr_of(f->name);
    return NULL;
}

static int version(str v)
{
    return str_eq(v, S("HTTP/1.1")) ? 1 : str_eq(v, S("HTTP/1.0")) ? 0 : -1;
}

/* Origin form in `target`, path and query; the authority of an absolute form in *ret_auth. */
static const char *split_target(struct http_head *h, str *ret_auth)
{
    str t = h->target;
    *ret_auth = STR_NONE;
    if (str_eq(t, S("*")) && str_eq(h->method, S("OPTIONS"))) {
        h->path = t;
        return NULL;
    }
    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)t.ptr[i] <= ' ' || t.ptr[i] == 0x7f || t.ptr[i] == '#')
            return "bad character in the request target";
    if (t.len && t.ptr[0] != '/' && !url_cut_absolute(t, ret_auth, &h->target))
        return "bad request target";
    if (t.len == 0)
        return "no request target";
    h->has_query = str_cut(h->target, '?', &h->path, &h->query);
    if (!url_escapes_ok(h->path))
        return "bad escape in the request target";
    return NULL;
}

static int read_request_line(struct http_reader *r, str line, struct http_head *h, str *ret_auth, struct error *e)
{
    str rest, v;
    if (!str_cut(line, ' ', &h->method, &rest) || !str_cut(rest, ' ', &h->target, &v) ||
        !http_token_valid(h->method))
        return refuse(r, 400, e, "malformed request line");
    h->minor = version(v);
    if (h->minor < 0)
        return refuse(r, 505, e, "HTTP version not supported");
    if (str_eq(h->method, S("CONNECT")))
        return refuse(r, 405, e, "CONNECT is not supported");
    const char *bad = split_target(h, ret_auth);
    return bad ? refuse(r, 400, e, bad) : 0;
}

static int read_status_line(struct http_reader *r, str line, struct http_head *h, struct error *e)
{
    str v, rest, code;
    uint64_t n;
    if (!str_cut(line, ' ', &v, &rest) || (h->minor = version(v)) < 0)
        return refuse(r, 400, e, "malformed status line");
    str_cut(rest, ' ', &code, &h->reason);
    if (code.len != 3 || !str_to_u64(code, &n) || n < 100 || !text_ok(h->reason))
        return refuse(r, 400, e, "malformed status line");
    h->status = (int)n;
    return 0;
}

struct framing {
    unsigned hosts, lengths, codings;
    bool chunked, bad_host, bad_length;
    uint64_t length;
};

static void note_field(struct framing *fr, const struct http_header *f)
{
    switch (f->id) {
    case HDR_HOST:
        fr->hosts++;
        fr->bad_host = fr->bad_host || !url_authority_ok(f->value);
        break;
    case HDR_CONTENT_LENGTH:
        fr->lengths++;
        fr->bad_length = fr->bad_length || !str_to_u64(f->value, &fr->length);
        break;
    case HDR_TRANSFER_ENCODING:
        fr->codings++;
        fr->chunked = str_ieq(f->value, S("chunked"));
        break;
    default:
        break;
    }
}

static const char *judge(const struct http_reader *r, const struct framing *fr, const struct http_head *h)
{
    if (fr->lengths && fr->codings)
        return "both Content-Length and Transfer-Encoding";
    if (fr->lengths > 1 || fr->bad_length)
        return "bad Content-Length";
    if (fr->codings && (fr->codings > 1 || !fr->chunked))
        return "Transfer-Encoding is not chunked";
    if (fr->codings && h->minor < 1)
        return "Transfer-Encoding in HTTP/1.0";
    if (r->kind == HTTP_KIND_REQUEST && (fr->hosts > 1 || (fr->hosts == 0 && h->minor >= 1)))
        return fr->hosts ? "more than one Host" : "no Host";
    if (r->kind == HTTP_KIND_REQUEST && fr->bad_host)
        return "bad Host";
    /* The two readings must frame the message alike. */
    if (((r->ll.flags & F_CHUNKED) != 0) != (fr->codings != 0) ||
        ((r->ll.flags & F_CONTENT_LENGTH) != 0) != (fr->lengths != 0) ||
        (fr->lengths && r->ll.content_length != fr->length) || r->ll.http_minor != h->minor)
        return "ambiguous framing";
    return NULL;
}

static void set_framing(const struct http_reader *r, const struct framing *fr, bool head_request,
                        struct http_head *h)
{
    bool close = http_has_token(h, HDR_CONNECTION, S("close"));
    h->keep_alive = !close && (h->minor >= 1 || http_has_token(h, HDR_CONNECTION, S("keep-alive")));
    h->upgrade = h->minor >= 1 && http_find(h, HDR_UPGRADE) && http_has_token(h, HDR_CONNECTION, S("upgrade"));
    h->has_length = fr->lengths != 0;
    h->length = fr->length;
    h->body = fr->codings ? HTTP_BODY_CHUNKED : fr->lengths ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    if (r->kind == HTTP_KIND_REQUEST)
        return;
    if (head_request || h->status < 200 || h->status == 204 || h->status == 304) {
        h->body = HTTP_BODY_NONE;
    } else if (h->body == HTTP_BODY_NONE) {
        h->body = HTTP_BODY_EOF;
        h->keep_alive = false;
    }
}

static int check_expect(struct http_reader *r, struct http_head *h, struct error *e)
{
    const struct http_header *f = http_find(h, HDR_EXPECT);
    if (!f || h->minor < 1)
        return 0;
    if (!str_ieq(f->value, S("100-continue")))
        return refuse(r, 417, e, "unknown expectation");
    h->expect_continue = h->body != HTTP_BODY_NONE;
    return 0;
}

static int read_fields(struct http_reader *r, struct arena *a, str rest, struct http_head *h, struct framing *fr,
                       struct error *e)
{
    size_t n = 0;
    for (const char *p = rest.ptr, *end = p + rest.len; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        n++;
    if (n == 0 || n - 1 > HTTP_HEADERS_MAX)
        return refuse(r, 431, e, "too many header lines");
    h->headers = arena_try(a, n * sizeof *h->headers);
    if (!h->headers)
        return refuse(r, 431, e, "head too large");
    for (;;) {
        str line;
        if (!next_line(&rest, &line))
            return refuse(r, 400, e, "bare line end in the head");
        if (line.len == 0)
            break;
        ASSERT(h->n_headers + 1 < n);
        struct http_header *f = &h->headers[h->n_headers];
        const char *bad = split_field(line, f);
        if (bad)
            return refuse(r, 400, e, bad);
        note_field(fr, f);
        h->n_headers++;
    }
    return rest.len ? refuse(r, 400, e, "ambiguous end of the head") : 0;
}

int http_reader_head(struct http_reader *r, struct arena *a, bool head_request, struct http_head *out,
                     struct error *e)
{
    ASSERT(r->complete);
    *out = (struct http_head){ 0 };
    str rest = arena_try_dup(a, r->text), line, auth = STR_NONE;
    if (!rest.ptr)
        return refuse(r, 431, e, "head too large");
    if (!next_line(&rest, &line))
        return refuse(r, 400, e, "bare line end in the head");
    int rc = r->kind == HTTP_KIND_REQUEST ? read_request_line(r, line, out, &auth, e) : read_status_line(r, line, out, e);
    struct framing fr = { 0 };
    if (rc == 0)
        rc = read_fields(r, a, rest, out, &fr, e);
    if (rc != 0)
        return rc;
    const char *bad = judge(r, &fr, out);
    if (bad)
        return refuse(r, 400, e, bad);
    set_framing(r, &fr, head_request, out);
    /* RFC 9112 3.2.2: the authority of an absolute form counts, not the Host beside it. */
    if (auth.len)
        for (size_t i = 0; i < out->n_headers; i++)
            if (out->headers[i].id == HDR_HOST)
                out->headers[i].value = auth;
    return r->kind == HTTP_KIND_REQUEST ? check_expect(r, out, e) : 0;
}

/* --- chunked bodies --- */

struct http_chunked {
    llhttp_t ll;
    http_sink_fn *sink;
    void *ud;
    uint64_t wire, content;
    bool stop, last, done;
    struct strbuf raw, trailers; /* what follows the last chunk; the filtered lines of it */
};

static int on_body(llhttp_t *ll, const char *at, size_t n)
{
    struct http_chunked *c = ll->data;
    c->content += n;
    if (c->sink(c->ud, str_n(at, n)))
        return 0;
    c->stop = true;
    return HPE_PAUSED;
}

static int on_chunk_header(llhttp_t *ll)
{
    struct http_chunked *c = ll->data;
    if (ll->content_length != 0)
        return 0;
    c->last = true;
    return HPE_PAUSED; /* only a pause tells where the trailers begin */
}

static int on_message_complete(llhttp_t *ll)
{
    struct http_chunked *c = ll->data;
    c->done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t chunked_settings = {
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_message_complete = on_message_complete,
};

struct http_chunked *http_chunked_new(const struct http_reader *r, http_sink_fn *sink, void *ud)
{
    struct http_chunked *c = mem_zalloc(sizeof *c);
    c->ll = r->ll;
    c->ll.data = c;
    c->ll.settings = (void *)(uintptr_t)&chunked_settings;
    llhttp_resume(&c->ll);
    /* The head has been judged. A Content-Length among the trailers is dropped with others that may not be
     * there; llhttp 9 alone would refuse it, llhttp 8 would not. */
    llhttp_set_lenient_chunked_length(&c->ll, 1);
    c->sink = sink;
    c->ud = ud;
    c->raw = STRBUF(TRAILERS_MAX);
    c->trailers = STRBUF(TRAILERS_MAX);
    return c;
}

void http_chunked_free(struct http_chunked *c)
{
    if (!c)
        return;
    strbuf_fini(&c->raw);
    strbuf_fini(&c->trailers);
    free(c);
}

static int read_trailers(struct http_chunked *c, struct error *e)
{
    str rest = strbuf_str(&c->raw), line;
    struct http_header f;
    for (;;) {
        if (!next_line(&rest, &line))
            return error_set(e, ERR_PROTOCOL, "bare line end in the trailers");
        if (line.len == 0)
            break;
        if (split_field(line, &f))
            return error_set(e, ERR_PROTOCOL, "malformed trailer");
        str whole = str_n(line.ptr, line.len + 2);
        http_filter_trailers(&c->trailers, whole);
    }
    return rest.len ? error_set(e, ERR_PROTOCOL, "ambiguous end of the body") : 0;
}

/* One call of llhttp: up to the end of the piece or the next pause. */
static int chunked_step(struct http_chunked *c, str in, size_t *ret_used, struct error *e)
{
    bool was_last = c->last;
    llhttp_errno_t code = llhttp_execute(&c->ll, in.ptr, in.len);
    size_t used = in.len;
    if (code != HPE_OK) {
        if (code != HPE_PAUSED && !(c->done && code == HPE_PAUSED_UPGRADE)) {
            const char *why = llhttp_get_error_reason(&c->ll);
            return error_set(e, ERR_PROTOCOL, "%s", why && *why ? why : "malformed chunked body");
        }
        used = (size_t)(llhttp_get_error_pos(&c->ll) - in.ptr);
        ASSERT(used <= in.len);
        if (code == HPE_PAUSED)
            llhttp_resume(&c->ll);
    }
    *ret_used += used;
    c->wire += used;
    if (c->wire - c->content > TRAILERS_MAX + 16 * c->content)
        return error_set(e, ERR_LIMIT, "more framing than body");
    if (was_last && !strbuf_add(&c->raw, str_sub(in, 0, used)))
        return error_set(e, ERR_LIMIT, "trailers too large");
    if (c->done)
        return read_trailers(c, e) == 0 ? HTTP_DONE : ERR_PROTOCOL;
    return HTTP_MORE;
}

int http_chunked_feed(struct http_chunked *c, str in, size_t *ret_used, struct error *e)
{
    *ret_used = 0;
    ASSERT(!c->done);
    c->stop = false;
    while (*ret_used < in.len) {
        int rc = chunked_step(c, str_sub(in, *ret_used, in.len), ret_used, e);
        if (rc != HTTP_MORE)
            return rc;
        if (c->stop)
            return HTTP_PAUSED;
    }
    return HTTP_MORE;
}

str http_chunked_trailers(const struct http_chunked *c)
{
    return strbuf_str(&c->trailers);
}
