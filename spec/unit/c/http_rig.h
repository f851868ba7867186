/* http_rig.h: a loop, an HTTP server with a scripted handler, raw peers and a raw listener, all in one thread.
 *
 * RIG_WAIT runs the loop until a condition holds; five seconds without it end the test.
 */
#ifndef LUASWAP_SPEC_HTTP_RIG_H
#define LUASWAP_SPEC_HTTP_RIG_H

#include "codec/http_write.h"
#include "http/client.h"
#include "http/server.h"
#include "io/timer.h"
#include "base/check.h"
#include "spec.h"

struct rig {
    struct io_loop *l;
    struct http_server *s;
    struct io_timer *deadline;
    bool late, closed;
    struct strbuf log;      /* what the handler saw: "begin GET /x|end done|" */
    struct http_req *held;  /* of /hold */
    size_t open, max_queued;
    bool drop_body_log;
    struct http_server_conf conf;
    char addr[64];
};

/* Handler by path: /echo answers with the body; /stream sends the body back chunked as it comes; /big/N sends N bytes
 * in steps of 16 KiB; /hold never answers (rig.held); /early answers 200 "early" without reading; /trailers echoes
 * the trailers; anything else "ok". */
struct rig *rig_new(const struct http_server_conf *conf);
void rig_free(struct rig *r); /* checks that nothing is left open */

/* A raw client connection. */
struct peer {
    struct rig *rig;
    struct io_stream *io;
    struct strbuf got;
    bool eof, failed, closed, connected;
};
struct peer *peer_new(struct rig *r);
struct peer *peer_of(struct rig *r, struct io_stream *io);
void peer_send(struct peer *p, str bytes);
void peer_free(struct peer *p); /* closes it and waits */

/* A raw listener on 127.0.0.1: peers in the order they came. */
struct trap {
    struct rig *rig;
    struct io_listener *ls;
    struct peer *peers[16];
    size_t n;
};
struct trap *trap_new(struct rig *r);
void trap_free(struct trap *t);

#define RIG_WAIT(r, cond)                                                                          \
    do {                                                                                           \
        (r)->late = false;                                                                         \
        io_timer_set((r)->deadline, 5000);                                                         \
        while (!(cond)) {                                                                          \
            if ((r)->late || !io_loop_turn((r)->l))                                                \
                spec_miss(__FILE__, __LINE__, "waited in vain for: %s", #cond);                    \
        }                                                                                          \
        io_timer_clear((r)->deadline);                                                             \
    } while (0)
/* Lets ms milliseconds pass, whatever happens meanwhile. */
#define RIG_PASS(r, ms)                                                                            \
    do {                                                                                           \
        (r)->late = false;                                                                         \
        io_timer_set((r)->deadline, (ms));                                                         \
        while (!(r)->late)                                                                         \
            io_loop_turn((r)->l);                                                                  \
    } while (0)
#define GOT(p, text) (str_find(strbuf_str(&(p)->got), S(text)) >= 0)
#define LOGGED(r, text) (str_find(strbuf_str(&(r)->log), S(text)) >= 0)

#endif
