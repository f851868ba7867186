/* tunnel.c: see tunnel.h. */
#include "http/tunnel.h"

#include "base/check.h"

#define HIGH_MARK ((size_t)16 * 1024)

struct side {
    struct http_tunnel *t;
    struct io_stream *io;
    struct side *other;
    uint64_t bytes; /* read here */
    bool eof, stopped;
};

struct http_tunnel {
    struct side a, b;
    http_tunnel_done_fn *done;
    void *ud;
    int open;
    bool cut;
};

static void cut(struct http_tunnel *t, bool rst)
{
    if (t->cut)
        return;
    t->cut = true;
    struct io_stream *io[2] = { t->a.io, t->b.io };
    for (int i = 0; i < 2; i++) {
        if (rst)
            io_stream_reset(io[i]);
        else
            io_stream_close(io[i]);
    }
}

static void push(struct side *from, str bytes)
{
    struct side *to = from->other;
    from->bytes += bytes.len;
    if (bytes.len)
        io_stream_write(to->io, &bytes, 1);
    if (io_stream_queued(to->io) > HIGH_MARK)
        io_stream_flush(to->io); /* what was only gathered will not be told as drained */
    if (io_stream_queued(to->io) > HIGH_MARK && !from->stopped) {
        from->stopped = true;
        io_stream_read(from->io, false);
    }
}

static void on_data(void *ud, str bytes)
{
    push(ud, bytes);
}

/* Both ways have ended and nothing waits: close. */
static void maybe_finish(struct http_tunnel *t)
{
    if (t->a.eof && t->b.eof && io_stream_queued(t->a.io) == 0 && io_stream_queued(t->b.io) == 0)
        cut(t, false);
}

static void on_eof(void *ud)
{
    struct side *s = ud;
    s->eof = true;
    io_stream_finish(s->other->io);
    maybe_finish(s->t);
}

static void on_error(void *ud, int sys)
{
    (void)sys;
    cut(((struct side *)ud)->t, true);
}

static void on_drained(void *ud)
{
    struct side *s = ud, *from = s->other;
    if (from->stopped) {
        from->stopped = false;
        io_stream_read(from->io, true);
    }
    maybe_finish(s->t);
}

static void on_closed(void *ud)
{
    struct http_tunnel *t = ((struct side *)ud)->t;
    if (--t->open)
        return;
    struct http_tunnel_stats st = { t->a.bytes, t->b.bytes, t->a.eof && t->b.eof };
    t->done(t->ud, &st);
    free(t);
}

static const struct io_stream_cb side_cb = {
    .data = on_data,
    .eof = on_eof,
    .error = on_error,
    .drained = on_drained,
    .closed = on_closed,
};

struct http_tunnel *http_tunnel_start(struct io_stream *a, str from_a, struct io_stream *b, str from_b,
                                      http_tunnel_done_fn *done, void *ud)
{
    struct http_tunnel *t = mem_zalloc(sizeof *t);
    t->a = (struct side){ .t = t, .io = a, .other = &t->b };
    t->b = (struct side){ .t = t, .io = b, .other = &t->a };
    t->done = done;
    t->ud = ud;
    t->open = 2;
    io_stream_set_cb(a, &side_cb, &t->a);
    io_stream_set_cb(b, &side_cb, &t->b);
    io_stream_read(a, true);
    io_stream_read(b, true);
    push(&t->a, from_a);
    push(&t->b, from_b);
    return t;
}

void http_tunnel_close(struct http_tunnel *t)
{
    cut(t, true);
}
