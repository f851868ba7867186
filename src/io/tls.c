/* tls.c: see tls.h. */
#include "io/tls.h"

#include "base/check.h"
#include "base/log.h"
#include "io/stream_priv.h"
#include "io/timer.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* The largest piece of plaintext that one record carries. */
#define RECORD ((size_t)16 * 1024)
/* Borrowed bytes are encrypted in pieces of this size, each when the one before has gone to the kernel. */
#define STRIDE (4 * RECORD)
/* A buffer that grew beyond this is not kept. */
#define KEEP_MAX ((size_t)128 * 1024)

static const unsigned char alpn[] = "\x08http/1.1";
#define ALPN_LEN (sizeof alpn - 1)

/* What all filters of a loop share; nothing of it holds bytes between two calls. */
struct io_tls_loop {
    SSL_CTX *client;
    BIO_METHOD *bio;
    struct strbuf out;  /* what the library has just encrypted */
    char plain[RECORD]; /* what it has just decrypted: valid during `data` */
    char join[RECORD];  /* small parts become one record */
};

struct io_tls {
    struct io_stream *s;
    struct io_tls_loop *shared;
    SSL *ssl;
    str in;             /* ciphertext at hand; empty outside of pump() */
    struct strbuf kept; /* ciphertext that waits for credit */
    struct strbuf pend; /* plaintext that waits for the handshake */
    str held[16];       /* borrowed plaintext that is not encrypted yet */
    size_t held_at, n_held;
    struct io_call step; /* pumps, or reports `why` */
    struct io_timer limit;
    io_tls_fn *fn; /* of a client; NULL once called */
    void *ud;
    int raw_end; /* how the stream below ended; 0 = it goes on */
    bool server, open, failed, want, ended, bye;
    char host[256];
};

struct io_tls_server {
    SSL_CTX *ctx;
    char *cert_file, *key_file;
};

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

static SSL_CTX *new_ctx(const SSL_METHOD *method)
{
    SSL_CTX *c = SSL_CTX_new(method);
    ASSERT(c);
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    return c;
}

static struct io_tls_loop *shared_of(struct io_loop *l)
{
    if (l->tls)
        return l->tls;
    struct io_tls_loop *g = mem_zalloc(sizeof *g);
    g->out = STRBUF(SIZE_MAX / 4);
    g->bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    ASSERT(g->bio);
    BIO_meth_set_read(g->bio, bio_read);
    BIO_meth_set_write(g->bio, bio_write);
    BIO_meth_set_ctrl(g->bio, bio_ctrl);
    l->tls = g;
    return g;
}

static SSL_CTX *client_ctx(struct io_tls_loop *g)
{
    if (g->client)
        return g->client;
    g->client = new_ctx(TLS_client_method());
    SSL_CTX_set_verify(g->client, SSL_VERIFY_PEER, NULL);
    /* A store that cannot be read is an empty one: then nothing is trusted, and every handshake says so. */
    (void)SSL_CTX_set_default_verify_paths(g->client);
    ASSERT(SSL_CTX_set_alpn_protos(g->client, alpn, ALPN_LEN) == 0);
    return g->client;
}

void io_tls_loop_stop(struct io_loop *l)
{
    struct io_tls_loop *g = l->tls;
    if (!g)
        return;
    l->tls = NULL;
    SSL_CTX_free(g->client);
    BIO_meth_free(g->bio);
    strbuf_fini(&g->out);
    free(g);
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
            size_t k = p.len < RECORD - used ? p.len : RECORD - used;
            bool whole = used == 0 && (k == RECORD || i + 1 == n);
            if (!whole)
                memcpy(join + used, p.ptr, k);
            used += k;
            if (whole || used == RECORD) {
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
            size_t k = p->len < RECORD ? p->len : RECORD;
            if (t->n_held > 1 && p->len < RECORD) { /* a head, and the body that follows it */
                str two[2] = { *p, p[1] };
                size_t more = RECORD - k < two[1].len ? RECORD - k : two[1].len;
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
    int rc = SSL_read_ex(t->ssl, t->shared->plain, RECORD, &n);
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
    pump(t);
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
    SSL_free(t->ssl);
    strbuf_fini(&t->kept);
    strbuf_fini(&t->pend);
    free(t);
}

/* --- beginnings --- */

static struct io_tls *attach(struct io_stream *s, SSL_CTX *ctx, msec timeout_ms)
{
    ASSERT(!s->tls && !s->closing);
    struct io_tls *t = mem_zalloc(sizeof *t);
    t->s = s;
    t->shared = shared_of(s->loop);
    t->ssl = SSL_new(ctx);
    BIO *b = BIO_new(t->shared->bio);
    ASSERT(t->ssl && b);
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    t->kept = t->pend = STRBUF(SIZE_MAX / 4);
    io_call_init(&t->step, on_step, t);
    io_timer_init(&t->limit, s->loop, "tls handshake", on_limit, t);
    if (timeout_ms > 0)
        io_timer_set(&t->limit, timeout_ms);
    s->tls = t;
    return t;
}

void io_stream_tls_connect(struct io_stream *s, str host, msec timeout_ms, io_tls_fn *fn, void *ud)
{
    struct io_tls *t = attach(s, client_ctx(shared_of(s->loop)), timeout_ms);
    X509_VERIFY_PARAM *v = SSL_get0_param(t->ssl);
    t->fn = fn;
    t->ud = ud;
    if (host.len >= sizeof t->host)
        host.len = sizeof t->host - 1; /* no such name exists: the certificate will not fit */
    memcpy(t->host, host.ptr, host.len);
    X509_VERIFY_PARAM_set_hostflags(v, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(v, t->host) != 1) {
        ERR_clear_error();
        ASSERT(X509_VERIFY_PARAM_set1_host(v, t->host, host.len) == 1);
        SSL_set_tlsext_host_name(t->ssl, t->host);
    }
    SSL_set_connect_state(t->ssl);
    io_raw_read(s, true);
    io_call_post(s->loop, &t->step);
}

void io_stream_tls_accept(struct io_stream *s, struct io_tls_server *srv, msec timeout_ms)
{
    struct io_tls *t = attach(s, srv->ctx, timeout_ms);
    t->server = true;
    str peer = io_stream_peer(s);
    memcpy(t->host, peer.ptr, peer.len < sizeof t->host ? peer.len : 0);
    SSL_set_accept_state(t->ssl);
    io_raw_read(s, true);
}

/* --- the certificate of a server --- */

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *ud)
{
    unsigned char *got = NULL;
    (void)ssl;
    (void)ud;
    if (SSL_select_next_proto(&got, out_len, alpn, ALPN_LEN, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = got;
    return SSL_TLSEXT_ERR_OK;
}

/* Never asks at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *ud)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)ud;
    return 0;
}

static int refuse(SSL_CTX *c, struct error *e, const char *what, const char *file)
{
    unsigned long code = ERR_peek_error(), last = ERR_peek_last_error();
    const char *text = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(last);
    error_set(e, ERR_CONFIG, "%s %s: %s", what, file, text ? text : "cannot be used");
    ERR_clear_error();
    SSL_CTX_free(c);
    return ERR_CONFIG;
}

static int load_pair(const struct io_tls_server *t, SSL_CTX **ret, struct error *e)
{
    SSL_CTX *c = new_ctx(TLS_server_method());
    SSL_CTX_set_default_passwd_cb(c, no_passphrase);
    SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_alpn_select_cb(c, choose_alpn, NULL);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c, t->cert_file) != 1)
        return refuse(c, e, "certificate file", t->cert_file);
    if (SSL_CTX_use_PrivateKey_file(c, t->key_file, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(c) != 1)
        return refuse(c, e, "key file", t->key_file);
    *ret = c;
    return 0;
}

struct io_tls_server *io_tls_server_new(const char *cert_file, const char *key_file, struct error *e)
{
    struct io_tls_server *t = mem_zalloc(sizeof *t);
    t->cert_file = mem_strdup(cert_file);
    t->key_file = mem_strdup(key_file);
    if (load_pair(t, &t->ctx, e) == 0)
        return t;
    io_tls_server_free(t);
    return NULL;
}

int io_tls_server_reload(struct io_tls_server *t, struct error *e)
{
    SSL_CTX *c;
    int rc = load_pair(t, &c, e);
    if (rc < 0)
        return rc;
    SSL_CTX_free(t->ctx);
    t->ctx = c;
    return 0;
}

void io_tls_server_free(struct io_tls_server *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    free(t->cert_file);
    free(t->key_file);
    free(t);
}
