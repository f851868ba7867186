/* uvloop.h: what the files of io/ share about the loop. Nobody outside io/ includes it. */
#ifndef LUASWAP_IO_UVLOOP_H
#define LUASWAP_IO_UVLOOP_H

#include "io/loop.h"

#include <uv.h>

struct io_timer;
struct io_stream;

struct io_loop {
    uv_loop_t uv;
    uv_prepare_t before_poll; /* both run the posted calls; they do not keep the loop alive */
    uv_check_t after_poll;
    struct list calls;
    bool watched;         /* turns are measured */
    uint64_t turn_cpu, longest_cpu; /* ns of CPU: of the thread when this turn began; of the longest one */
    /* timers: a heap by `at`; one uv timer for all of them */
    uv_timer_t clock;
    struct io_timer **heap;
    size_t n_heap, cap_heap;
    size_t armed;       /* timers that have a deadline; the heap may hold stale ones beside them */
    uint64_t clock_at;  /* what the uv timer is set to, UINT64_MAX = stopped */
    /* streams with gathered, not yet written parts (see stream.c) */
    struct list gathered;
    int in_read; /* > 0 inside the data callback of a stream */
    struct io_gather *spare; /* a few free ones */
    int n_spare;
    struct io_tls_loop *tls; /* what TLS streams share; NULL before the first */
    bool in_clock; /* timers are being called */
    bool one_turn; /* inside io_loop_turn */
    struct strbuf scratch;
    char *read_buf; /* IO_READ_SIZE */
};

/* The loop as libuv knows it; handle->data of every handle on it points to its owner. */
static inline uv_loop_t *io_loop_uv(struct io_loop *l)
{
    return &l->uv;
}
void io_timers_init(struct io_loop *l);
void io_timers_stop(struct io_loop *l);

/* A stream whose libuv handle is initialised and not yet connected. close it as any other. */
struct io_stream *io_stream_new(struct io_loop *l, bool pipe);
uv_stream_t *io_stream_uv(struct io_stream *s);
void io_streams_stop(struct io_loop *l);

#endif
