/* stream.h: one byte stream (TCP, Unix socket or pipe) with bounded buffers and credit-based reading.
 *
 * What: reads while asked to, writes at once what the kernel takes, keeps the rest.
 * Not:  framing (http/), TLS (see tls.h), retries.
 * Owns: the handle and its write queue. Borrows: ud, which must outlive `closed`.
 * Ends: io_stream_close() is idempotent; `closed` is called once, later; the stream's own memory goes then.
 * Order: data* -> (eof | error) -> closed; an error of writing may come before or after any of the first two. No callback after closed, none from inside an io_stream_* call.
 *        After io_stream_close() only `closed` comes.
 * Limits: the queue is not bounded here: writers look at io_stream_queued() and stop at their mark.
 *         Loop thread only.
 * Gathering: inside a `data` callback (of whatever stream) small writes are collected and leave in one
 *         system call per stream when the callback returns; io_stream_flush() sends them sooner. Slices of
 *         the shared read buffer are not copied on that way.
 */
#ifndef LUASWAP_IO_STREAM_H
#define LUASWAP_IO_STREAM_H

#include "io/loop.h"

struct io_stream;

struct io_stream_cb {
    void (*data)(void *ud, str bytes); /* slice of the shared buffer, valid during the call */
    void (*eof)(void *ud);             /* the peer will send no more */
    void (*error)(void *ud, int sys);  /* reset, broken pipe...; negative libuv code; close it */
    void (*drained)(void *ud);         /* everything queued has gone to the kernel */
    void (*closed)(void *ud);
};

/* cb is kept by reference (a static table); may be set again at any time. */
void io_stream_set_cb(struct io_stream *s, const struct io_stream_cb *cb, void *ud);
struct io_loop *io_stream_loop(const struct io_stream *s);
/* Delivery of data/eof/error-on-read. Off at the start. */
void io_stream_read(struct io_stream *s, bool on);
/* False after eof or an error of reading: a write error alone still leaves what the peer sent before. */
bool io_stream_readable(const struct io_stream *s);
/* Writes the parts in order: what the kernel takes now, the rest is copied into the queue. Gathers up to 16
 * parts in one system call. An error is reported through `error`, later. */
void io_stream_write(struct io_stream *s, const str *parts, size_t n);
/* As io_stream_write, but the rest is *borrowed*: the bytes must stay until `drained` or until
 * io_stream_close() was called. Only when nothing is queued. Returns true when all went out at once. */
bool io_stream_write_borrowed(struct io_stream *s, const str *parts, size_t n);
size_t io_stream_queued(const struct io_stream *s); /* bytes not yet taken by the kernel, gathered ones too */
/* Hands gathered bytes to the kernel now. */
void io_stream_flush(struct io_stream *s);
/* FIN once the queue is out. */
void io_stream_finish(struct io_stream *s);
void io_stream_close(struct io_stream *s);
/* Close with RST, so that the peer sees a cut and not an end (TCP; else as close). */
void io_stream_reset(struct io_stream *s);
/* Has the peer closed its side, or is it gone? Also true while bytes that it sent before are still unread. */
bool io_stream_hung_up(const struct io_stream *s);
/* "127.0.0.1" / "::1" / "unix"; valid as long as the stream. */
str io_stream_peer(const struct io_stream *s);
/* A stream over a connected descriptor (TCP or Unix socket, pipe), which it owns from then on; NULL on
 * failure, the descriptor is then the caller's still. */
struct io_stream *io_stream_from_fd(struct io_loop *l, int fd, struct error *e);

#endif
