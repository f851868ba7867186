/* server_priv.h: what the three files of the server side share.
 *
 * server.c       listeners, birth and death of connections, drain
 * server_conn.c  bytes in: heads, bodies, pipelining, time-outs
 * server_req.c   bytes out: one request's answer
 */
#ifndef LUASWAP_HTTP_SERVER_PRIV_H
#define LUASWAP_HTTP_SERVER_PRIV_H

#include "codec/http_parse.h"
#include "codec/http_write.h"
#include "http/server.h"
#include "io/timer.h"

/* A slow reader costs at most this and one more read: IO_READ_SIZE + HIGH_MARK. */
#define HIGH_MARK ((size_t)16 * 1024)
/* Bytes of a client that wait unread because a request is open or its body has no credit; at the mark reading
 * pauses, so one more read may be added. */
#define PENDING_MARK ((size_t)32 * 1024 - 1)
/* An unread rest of a request body up to this is dropped to keep the connection. */
#define DISCARD_MAX ((size_t)256 * 1024)
/* After an early answer the client's bytes are read and dropped for this long, so that it can read it. */
#define LINGER_MS 2000
/* A client whose body nobody takes for the moment is not read; so often it is asked whether it is still there. */
#define GONE_LOOK_MS 500
#define HEAD_OUT_MAX (1u << 20)
#define LISTENERS_MAX 16
#define SPARE_REQS 64
#define SPARE_CONNS 64

enum conn_state {
    CONN_IDLE,     /* between requests */
    CONN_HEAD,     /* part of a head has come */
    CONN_OPEN,     /* a request is with the handler */
    CONN_DISCARD,  /* answered; the rest of its body is being dropped */
    CONN_LINGER,   /* answered and FIN sent; waiting for the client to close */
    CONN_UPGRADED, /* the stream is the handler's */
    CONN_DEAD,     /* closing */
};

struct http_conn {
    struct http_server *s;
    struct io_stream *io;
    struct list node; /* in s->conns */
    struct io_timer timer;
    struct io_call step;        /* goes on with pending bytes, delivers `end` */
    struct http_reader *reader; /* of an incomplete head */
    struct http_req *req;
    struct strbuf pending;
    enum conn_state state;
    bool taking; /* inside take(): bytes after those of the current callback are not in pending yet */
    bool paused; /* reading is off because of `pending` */
    bool eof;    /* the client sent FIN after the answer was complete */
    /* request body */
    enum http_body body;
    uint64_t body_left; /* of HTTP_BODY_LENGTH; in CONN_DISCARD what may still be dropped */
    struct http_chunked *chunked;
};

struct http_req {
    struct http_conn *c;
    struct arena arena;
    struct http_head head;
    void *ud;
    struct list spare;
    str trailers;
    str peer; /* kept when the stream is handed over (upgrades) */
    bool reading, body_done, body_end_told, continue_due, is_head, ended;
    /* answer */
    bool begun, started, head_waits, finished, end_due, keep, say_keep, no_body, cut;
    enum http_end why;
    int status;
    enum http_body out_body;
    uint64_t out_left, sent;
    struct strbuf out; /* the head under construction or waiting */
};

struct http_server {
    struct io_loop *loop;
    struct http_server_conf conf;
    struct http_handler h;
    void *ud;
    struct io_listener *listeners[LISTENERS_MAX];
    size_t n_listeners;
    struct list conns;
    size_t n_conns;
    bool full, draining, closing;
    void (*closed)(void *ud);
    void *closed_ud;
    struct io_call closed_call;
    /* kept for the next one */
    struct http_reader *reader;
    struct list reqs;
    size_t n_reqs;
    struct strbuf out;
    int64_t date_sec;
    char date[HTTP_DATE_LEN + 1];
};

/* server.c */
str server_date(struct http_server *s);
struct strbuf server_take_out(struct http_server *s);
void server_give_out(struct http_server *s, struct strbuf *b);
struct http_req *server_take_req(struct http_server *s);
void server_give_req(struct http_server *s, struct http_req *r);
void server_conn_gone(struct http_conn *c); /* its stream is closed: frees it */

/* server_conn.c */
extern const struct io_stream_cb conn_stream_cb;
void conn_start(struct http_conn *c);
void conn_step(void *ud);
void conn_timeout(void *ud);
void conn_close(struct http_conn *c, bool rst);
/* Ends the open request (calls the handler) and frees it. */
void conn_end_req(struct http_conn *c, enum http_end why);

/* server_req.c */
void req_begin(struct http_req *r, struct http_conn *c);
void req_drained(struct http_req *r);
void conn_answer_error(struct http_conn *c, int status, str message);

#endif
