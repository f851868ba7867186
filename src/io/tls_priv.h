/* tls_priv.h: what tls.c (the filter) and tls_ctx.c (its beginnings: contexts, certificates) share. */
#ifndef LUASWAP_IO_TLS_PRIV_H
#define LUASWAP_IO_TLS_PRIV_H

#include "io/stream_priv.h"
#include "io/timer.h"
#include "io/tls.h"
#include "io/tls_lib.h"

/* The largest piece of plaintext that one record carries. */
#define IO_TLS_RECORD ((size_t)16 * 1024)
/* What all filters of a loop share; nothing of it holds bytes between two calls. */
struct io_tls_loop {
    SSL_CTX *client;
    BIO_METHOD *bio;
    struct strbuf out;  /* what the library has just encrypted */
    char plain[IO_TLS_RECORD]; /* what it has just decrypted: valid during `data` */
    char join[IO_TLS_RECORD];  /* small parts become one record */
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

/* tls_ctx.c: tls_lib_load() first. */
struct io_tls_loop *io_tls_shared(struct io_loop *l);
SSL_CTX *io_tls_client_ctx(struct io_tls_loop *g);
/* tls.c */
BIO_METHOD *io_tls_bio_method(void);

#endif
