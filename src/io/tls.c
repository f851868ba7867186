/* tls.c: see tls.h. */
#include "io/tls.h"

#include "base/check.h"
#include "base/log.h"
#include "io/tls_priv.h"

/* Borrowed bytes are encrypted in pieces of this size, each when the one before has gone to the kernel. */
#define STRIDE (4 * IO_TLS_RECORD)
/* A buffer that grew beyond this is not kept. */
#define KEEP_MAX ((size_t)128 * 1024)

static void pump(struct io_tls *t);

/* --- between the library and the stream --- */

static int bio_read(BIO *b, char *to, int n)
{
    struct io_tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0 || t->in.len == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t k = t->in.len < (size_t)n ? t->in.len : (size_t)n;
    memcpy(to, t->in.ptr, k);
    t->in = str_sub(t->in, k, t->in.len);
    return (int)k;
}

static int bio_write(BIO *b, const char *from, int n)
{
    struct io_tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n > 0)
        ASSERT(strbuf_add(&t->shared->out, str_n(from, (size_t)n)));
    return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

BIO_METHOD *io_tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    ASSERT(m);
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
}

/* Hands over what the library has encrypted. */
static void send_out(struct io_tls *t)
{
    struct strbuf *b = &t->shared->out;
    str all = strbuf_str(b);
    if (all.len)
        io_raw_write(t->s, &all, 1);
    if (b->cap > KEEP_MAX)
        strbuf_fini(b);
    else
        strbuf_clear(b);
}

/* --- failures --- */

/* For people: why the library gave up. */
static void reason(const struct io_tls *t, struct error *e)
{
    long verdict = SSL_get_verify_result(t->ssl);
    unsigned long code = ERR_peek_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    if (!t->server && verdict != X509_V_OK)
        error_set(e, ERR_PROTOCOL, "certificate of host %s is not trusted: %s", t->host,
                  X509_verify_cert_error_string(verdict));
    else if (!t->server)
        error_set(e, ERR_PROTOCOL, "TLS handshake with host %s: %s", t->host, text ? text : "protocol error");
    else
        error_set(e, ERR_PROTOCOL, "TLS handshake: %s", text ? text : "protocol error");
    ERR_clear_error();
}

static void handshake_failed(struct io_tls *t, const struct error *e, int sys)
{
    io_tls_fn *fn = t->fn;
    t->failed = true;
    t->fn = NULL;
    t->pend.len = t->n_held = 0;
    io_timer_clear(&t->limit);
    if (t->s->closing)
        return;
    if (t->server) {
        log_debug("http", "client " STR_FMT ": %s", STR_ARG(io_stream_peer(t->s)), e->msg);
        io_raw_fail_read(t->s, sys);
    } else if (fn) {
        fn(t->ud, e);
    }
}

/* Of a client, at its first step: the stream exists, but nothing can encrypt it. */
static void no_library(struct io_tls *t)
{
    struct error e = { 0 };
    if (tls_lib_load(&e) == 0)
        error_set(&e, ERR_SYS, "TLS was not available"); /* now it is: the next connection will have it */
    handshake_failed(t, &e, UV_ENOTSUP);
}

static void on_limit(void *ud)
{
    struct io_tls *t = ud;
    struct error e = { 0 };
    error_set(&e, ERR_TIMEOUT, "timed out in the TLS handshake with host %s", t->host);
    handshake_failed(t, &e, UV_ETIMEDOUT);
}

/* Somebody who speaks plain HTTP here is told so in a way that he understands. */
static void answer_plain(struct io_tls *t)
{
    static const str text = S("HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
                              "Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    unsigned long code = ERR_peek_error();
    if (t->server && ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST) {
        strbuf_clear(&t->shared->out); /* the alert that the library has put there */
        io_raw_write(t->s, &text, 1);
    }
}

static void fail_now(struct io_tls *t, int sys)
{
    t->failed = t->ended = true;
    io_raw_read(t->s, false);
    io_raw_fail_read(t->s, sys);
}

/* --- writing --- */

/* One record. */
static bool put(struct io_tls *t, const char *p, size_t n)
{
    size_t wrote;
    ERR_clear_error();
    if (!t->failed && SSL_write_ex(t->ssl, p, n, &wrote) == 1 && wrote == n)
        return true;
    t->failed = true;
    io_raw_fail_write(t->s, UV_EPROTO);
    return false;
}

/* As few records as there can be: small parts become one. */
static void encrypt(struct io_tls *t, const str *parts, size_t n)
{
    char *join = t->shared->join;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        str p = parts[i];
        while (p.len) {
            size_t k = p.len < IO_TLS_RECORD - used ? p.len : IO_TLS_RECORD - used;
            bool whole = used == 0 && (k == IO_TLS_RECORD || i + 1 == n);
            if (!whole)
                memcpy(join + used, p.ptr, k);
            used += k;
            if (whole || used == IO_TLS_RECORD) {
                if (!put(t, whole ? p.ptr : join, used))
                    return;
                used = 0;
            }
            p = str_sub(p, k, p.len);
        }
    }
    if (used)
        put(t, join, used);
}

void io_tls_write(struct io_tls *t, const str *parts, size_t n)
{
    if (!t->open || t->n_held) {
        for (size_t i = 0; i < n && !t->failed; i++)
            ASSERT(strbuf_add(&t->pend, parts[i]));
        return;
    }
    encrypt(t, parts, n);
    send_out(t);
}

/* Encrypts what waits, as far as the kernel takes it. */
static void push(struct io_tls *t)
{
    struct io_stream *s = t->s;
    if (t->open)
        io_stream_flush(s); /* nobody tells us when gathered bytes have gone */
    while (t->open && t->n_held && !t->failed && io_raw_queued(s) == 0 && !s->job) {
        for (size_t did = 0; did < STRIDE && t->n_held;) {
            str *p = &t->held[t->held_at];
            size_t k = p->len < IO_TLS_RECORD ? p->len : IO_TLS_RECORD;
            if (t->n_held > 1 && p->len < IO_TLS_RECORD) { /* a head, and the body that follows it */
                str two[2] = { *p, p[1] };
                size_t more = IO_TLS_RECORD - k < two[1].len ? IO_TLS_RECORD - k : two[1].len;
                two[1].len = more;
                encrypt(t, two, 2);
                p[1] = str_sub(p[1], more, p[1].len);
                did += more;
            } else {
                str one = str_sub(*p, 0, k);
                encrypt(t, &one, 1);
            }
            did += k;
            *p = str_sub(*p, k, p->len);
            while (t->n_held && t->held[t->held_at].len == 0) {
                t->held_at++;
                t->n_held--;
            }
        }
        send_out(t);
        io_stream_flush(s);
    }
    if (t->open && !t->n_held && t->pend.len && !t->failed) {
        str all = strbuf_str(&t->pend);
        encrypt(t, &all, 1);
        send_out(t);
        io_stream_flush(s);
        strbuf_fini(&t->pend);
    }
}

bool io_tls_write_borrowed(struct io_tls *t, const str *parts, size_t n)
{
    ASSERT(!t->n_held && !t->pend.len);
    t->held_at = t->n_held = 0;
    for (size_t i = 0; i < n; i++)
        if (parts[i].len)
            t->held[t->n_held++] = parts[i];
    push(t);
    return t->s->sys == 0 && io_stream_queued(t->s) == 0 && !t->s->job;
}

size_t io_tls_queued(const struct io_tls *t)
{
    size_t n = t->pend.len;
    for (size_t i = 0; i < t->n_held; i++)
        n += t->held[t->held_at + i].len;
    return n;
}

bool io_tls_drained(struct io_tls *t)
{
    push(t);
    return io_stream_queued(t->s) == 0 && !t->s->job;
}

/* --- the handshake --- */

static void opened(struct io_tls *t)
{
    struct io_stream *s = t->s;
    bool waited = io_tls_queued(t) > 0;
    io_tls_fn *fn = t->fn;
    t->open = true;
    t->fn = NULL;
    io_timer_clear(&t->limit);
    push(t);
    if (fn)
        fn(t->ud, NULL);
    if (s->closing)
        return;
    if (!t->want)
        io_raw_read(s, false);
    if (s->fin)
        io_stream_finish(s);
    if (waited && !s->closing && io_stream_queued(s) == 0 && !s->job && s->cb->drained)
        s->cb->drained(s->ud);
}

/* True once it is over. */
static bool handshake(struct io_tls *t)
{
    struct error e = { 0 };
    if (t->failed)
        return false;
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        send_out(t);
        opened(t);
        return true;
    }
    if (SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ) {
        send_out(t);
        if (t->raw_end) {
            error_set(&e, ERR_CLOSED, "the connection ended in the TLS handshake with host %s", t->host);
            handshake_failed(t, &e, t->raw_end == UV_EOF ? UV_ECONNRESET : t->raw_end);
        }
        return false;
    }
    answer_plain(t);
    send_out(t); /* an alert */
    io_stream_flush(t->s);
    reason(t, &e);
    handshake_failed(t, &e, UV_EPROTO);
    return false;
}

/* --- reading --- */

static void take(struct io_tls *t)
{
    struct io_stream *s = t->s;
    size_t n = 0;
    ERR_clear_error();
    int rc = SSL_read_ex(t->ssl, t->shared->plain, IO_TLS_RECORD, &n);
    int why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, rc);
    send_out(t); /* answers of the protocol itself */
    switch (why) {
    case SSL_ERROR_NONE:
        if (s->cb->data)
            s->cb->data(s->ud, str_n(t->shared->plain, n));
        return;
    case SSL_ERROR_WANT_READ:
        if (t->raw_end) /* without close_notify: somebody cut it */
            fail_now(t, t->raw_end == UV_EOF ? UV_ECONNRESET : t->raw_end);
        return;
    case SSL_ERROR_ZERO_RETURN:
        t->ended = s->eof = true;
        io_raw_read(s, false);
        if (s->cb->eof)
            s->cb->eof(s->ud);
        return;
    default:
        fail_now(t, UV_EPROTO);
    }
}

static bool more_to_take(const struct io_tls *t)
{
    return t->in.len || SSL_pending(t->ssl) || t->raw_end;
}

/* Goes on with what is at hand: t->in, or t->kept when that is empty. */
static void pump(struct io_tls *t)
{
    struct io_stream *s = t->s;
    bool from_kept = t->kept.len > 0;
    if (from_kept)
        t->in = strbuf_str(&t->kept);
    if (t->open || handshake(t))
        while (t->want && !t->ended && !t->failed && !s->closing && more_to_take(t))
            take(t);
    str rest = t->failed || t->ended || s->closing ? STR_NONE : t->in;
    if (from_kept)
        strbuf_consume(&t->kept, t->kept.len - rest.len);
    else if (rest.len)
        ASSERT(strbuf_add(&t->kept, rest));
    if (t->kept.len == 0)
        strbuf_fini(&t->kept);
    t->in = STR_NONE;
}

void io_tls_got(struct io_tls *t, const char *bytes, ssize_t n)
{
    if (n < 0)
        t->raw_end = (int)n;
    else if (t->failed || t->ended)
        return;
    else if (t->kept.len)
        ASSERT(strbuf_add(&t->kept, str_n(bytes, (size_t)n)));
    else
        t->in = str_n(bytes, (size_t)n);
    pump(t);
}

static void on_step(void *ud)
{
    struct io_tls *t = ud;
    struct io_loop *l = t->s->loop;
    io_reads_begin(l);
    if (t->ssl)
        pump(t);
    else
        no_library(t);
    io_reads_end(l);
}

void io_tls_want(struct io_tls *t, bool on)
{
    if (t->failed || t->ended)
        return;
    t->want = on;
    if (t->open && (!on || !t->raw_end))
        io_raw_read(t->s, on);
    if (on && (t->kept.len || t->raw_end))
        io_call_post(t->s->loop, &t->step);
}

bool io_tls_readable(const struct io_tls *t)
{
    return t->want && !t->ended && !t->failed;
}

/* --- ends --- */

bool io_tls_bye(struct io_tls *t)
{
    if (t->failed)
        return true;
    if (!t->open || io_tls_queued(t))
        return false;
    if (!t->bye) {
        t->bye = true;
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl);
        send_out(t);
    }
    return true;
}

void io_tls_closing(struct io_tls *t, bool cut)
{
    /* Not after unsent bytes: they are lost, and the peer must not take what it has for all of it. */
    if (!cut && t->open && t->s->sys == 0 && io_tls_queued(t) == 0 && !t->s->job)
        (void)io_tls_bye(t);
    t->want = false;
    t->n_held = 0;
    io_timer_fini(&t->limit);
    io_call_cancel(&t->step);
}

void io_tls_free(struct io_tls *t)
{
    if (t->ssl)
        SSL_free(t->ssl);
    strbuf_fini(&t->kept);
    strbuf_fini(&t->pend);
    free(t);
}

/* --- beginnings --- */

static struct io_tls *attach(struct io_stream *s, msec timeout_ms)
{
    ASSERT(!s->tls && !s->closing);
    struct io_tls *t = mem_zalloc(sizeof *t);
    t->s = s;
    t->kept = t->pend = STRBUF(SIZE_MAX / 4);
    io_call_init(&t->step, on_step, t);
    io_timer_init(&t->limit, s->loop, "tls handshake", on_limit, t);
    if (timeout_ms > 0)
        io_timer_set(&t->limit, timeout_ms);
    s->tls = t;
    return t;
}

static void begin(struct io_tls *t, SSL_CTX *ctx)
{
    t->shared = io_tls_shared(t->s->loop);
    t->ssl = SSL_new(ctx);
    BIO *b = BIO_new(t->shared->bio);
    ASSERT(t->ssl && b);
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    io_raw_read(t->s, true);
}

void io_stream_tls_connect(struct io_stream *s, str host, msec timeout_ms, io_tls_fn *fn, void *ud)
{
    struct io_tls *t = attach(s, timeout_ms);
    t->fn = fn;
    t->ud = ud;
    if (host.len >= sizeof t->host)
        host.len = sizeof t->host - 1; /* no such name exists: the certificate will not fit */
    memcpy(t->host, host.ptr, host.len);
    io_call_post(s->loop, &t->step);
    if (tls_lib_load(NULL) < 0) {
        t->failed = true; /* told by the step */
        return;
    }
    begin(t, io_tls_client_ctx(io_tls_shared(s->loop)));
    X509_VERIFY_PARAM *v = SSL_get0_param(t->ssl);
    X509_VERIFY_PARAM_set_hostflags(v, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(v, t->host) != 1) {
        ERR_clear_error();
        ASSERT(X509_VERIFY_PARAM_set1_host(v, t->host, host.len) == 1);
        SSL_set_tlsext_host_name(t->ssl, t->host);
    }
    SSL_set_connect_state(t->ssl);
}

void io_stream_tls_accept(struct io_stream *s, struct io_tls_server *srv, msec timeout_ms)
{
    struct io_tls *t = attach(s, timeout_ms);
    t->server = true;
    str peer = io_stream_peer(s);
    memcpy(t->host, peer.ptr, peer.len < sizeof t->host ? peer.len : 0);
    begin(t, srv->ctx);
    SSL_set_accept_state(t->ssl);
}
