/* stream_priv.h: what stream.c (bytes on a descriptor) and tls.c (the filter over them) share.
 *
 * io_raw_* are the functions of stream.h without the filter. A stream with a filter calls io_tls_* instead, and the
 * filter calls io_raw_* and the callbacks.
 */
#ifndef LUASWAP_IO_STREAM_PRIV_H
#define LUASWAP_IO_STREAM_PRIV_H

#include "io/stream.h"
#include "io/uvloop.h"

struct io_tls;

/* One libuv write in flight at a time; what comes meanwhile is collected in `more`. The bytes follow the
 * struct, are a taken-over buffer (`owned`), or are the caller's. */
struct job {
    uv_write_t req;
    char *owned;
    char bytes[];
};

#define GATHER_PARTS 64
#define GATHER_BYTES 4096
#define SPARES 4

struct io_gather {
    struct io_gather *next;
    unsigned n;
    size_t total, used;
    uv_buf_t bufs[GATHER_PARTS];
    char bytes[GATHER_BYTES];
};

struct io_stream {
    union {
        uv_stream_t s;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    struct io_loop *loop;
    const struct io_stream_cb *cb;
    void *ud;
    struct io_call later; /* reports `sys` */
    int sys;              /* first error, 0 = none */
    bool is_pipe, want_read, uv_reading, closing, eof, fin, reported;
    struct job *job;
    struct strbuf *more;
    struct io_gather *g;
    struct list gathered;
    char peer[48];
    struct io_tls *tls; /* the filter; NULL = none */
};

/* stream.c */
void io_raw_read(struct io_stream *s, bool on);
void io_raw_write(struct io_stream *s, const str *parts, size_t n);
size_t io_raw_queued(const struct io_stream *s);
/* The first one of writing, told later; one of reading, told now (it may follow one of writing). */
void io_raw_fail_write(struct io_stream *s, int sys);
void io_raw_fail_read(struct io_stream *s, int sys);
/* Around callbacks that a filter makes outside of a read of its own: gathering as in a read. */
void io_reads_begin(struct io_loop *l);
void io_reads_end(struct io_loop *l);

/* tls.c */
/* n: bytes, or a negative libuv code at the end of the stream. */
void io_tls_got(struct io_tls *t, const char *bytes, ssize_t n);
void io_tls_want(struct io_tls *t, bool on);
bool io_tls_readable(const struct io_tls *t);
void io_tls_write(struct io_tls *t, const str *parts, size_t n);
bool io_tls_write_borrowed(struct io_tls *t, const str *parts, size_t n);
size_t io_tls_queued(const struct io_tls *t);
/* The queue below is empty: true when nothing waits here either. */
bool io_tls_drained(struct io_tls *t);
/* close_notify, once everything is written: true when it is. */
bool io_tls_bye(struct io_tls *t);
/* The stream closes; `cut`: with RST. */
void io_tls_closing(struct io_tls *t, bool cut);
void io_tls_free(struct io_tls *t);
void io_tls_loop_stop(struct io_loop *l);

#endif
