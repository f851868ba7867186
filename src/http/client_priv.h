/* client_priv.h: what pool.c (connections) and client.c (exchanges) share. */
#ifndef LUASWAP_HTTP_CLIENT_PRIV_H
#define LUASWAP_HTTP_CLIENT_PRIV_H

#include "base/arena.h"
#include "codec/http_parse.h"
#include "http/client.h"
#include "io/timer.h"

#define HIGH_MARK ((size_t)16 * 1024)
#define RESPONSE_HEAD_MAX ((size_t)64 * 1024)
/* Memory of one response head: its text and its header list. */
#define RESPONSE_ARENA_MAX ((size_t)256 * 1024)
#define SPARE_X 64
/* Interim answers (1xx) before the final one. */
#define INTERIM_MAX 32

/* A connection to the upstream: idle in the pool, or in use by one exchange. */
struct http_link {
    struct http_pool *pool;
    struct io_stream *io;
    struct list node; /* in pool->idle */
    struct io_timer timer;
    struct http_x *x;
    unsigned generation;
    bool used; /* it has served an exchange before */
};

struct http_pool {
    struct io_loop *loop;
    struct http_pool_conf conf;
    struct strbuf absolute; /* before the path of a target, through a proxy */
    struct strbuf auth;     /* header line for the proxy */
    struct list idle; /* newest first */
    size_t n_idle, n_links, n_x;
    unsigned generation; /* links of an older one are not kept */
    bool closing;
    struct http_reader *reader; /* a spare one */
    struct list spare;          /* exchange objects */
    size_t n_spare;
};

struct http_x {
    struct http_pool *pool;
    struct http_link *link;
    struct io_dial *dial;
    const struct http_x_cb *cb;
    void *ud;
    struct list spare;
    struct io_call step; /* goes on with pending bytes; deferred failures */
    struct io_timer timer;
    struct arena arena;
    /* request */
    str head;
    str *parts;
    size_t n_parts, next_part;
    size_t part_at; /* bytes of parts[next_part] that went out */
    struct strbuf unsent; /* of a streamed body, before there is a connection */
    bool streamed, chunked_up, is_head, send_ended, body_sent, retried;
    /* response */
    struct http_reader *reader;
    struct http_chunked *chunked;
    struct http_head rh;
    enum http_body body;
    uint64_t left;
    enum http_stage stage;
    struct strbuf pending; /* read, but without credit */
    bool reading, over, write_failed;
    bool stopped; /* http_x_send said false; `drained` is due */
    unsigned busy, interims;
    struct error write_error;
};

/* pool.c */
struct http_link *pool_take(struct http_pool *p);
struct http_link *link_new(struct http_pool *p, struct io_stream *io, struct http_x *x);
/* The exchange is done with it: back to the pool if `keep`, else closed. */
void link_release(struct http_link *l, bool keep);
/* Its stream went to somebody else. */
void link_forget(struct http_link *l);
struct http_x *pool_take_x(struct http_pool *p);
void pool_give_x(struct http_x *x);

/* client.c */
void x_data(struct http_x *x, str bytes);
void x_eof(struct http_x *x);
void x_error(struct http_x *x, int sys);
void x_drained(struct http_x *x);
void x_step(void *ud);
void x_timeout(void *ud);

#endif
