/* tls_ctx.c: see tls.h: what connections have in common (versions, trust, a server's certificate). */
#include "io/tls_priv.h"

#include "base/check.h"

static const unsigned char alpn[] = "\x08http/1.1";
#define ALPN_LEN (sizeof alpn - 1)

static SSL_CTX *new_ctx(const SSL_METHOD *method)
{
    SSL_CTX *c = SSL_CTX_new(method);
    ASSERT(c);
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    return c;
}

struct io_tls_loop *io_tls_shared(struct io_loop *l)
{
    if (l->tls)
        return l->tls;
    struct io_tls_loop *g = mem_zalloc(sizeof *g);
    g->out = STRBUF(SIZE_MAX / 4);
    g->bio = io_tls_bio_method();
    l->tls = g;
    return g;
}

SSL_CTX *io_tls_client_ctx(struct io_tls_loop *g)
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
    if (g->client)
        SSL_CTX_free(g->client);
    BIO_meth_free(g->bio);
    strbuf_fini(&g->out);
    free(g);
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
    if (tls_lib_load(e) == 0 && load_pair(t, &t->ctx, e) == 0)
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
    if (t->ctx)
        SSL_CTX_free(t->ctx);
    free(t->cert_file);
    free(t->key_file);
    free(t);
}
