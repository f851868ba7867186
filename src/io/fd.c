/* fd.c: see fd.h. */
#include "io/fd.h"

#include "base/check.h"
#include "io/uvloop.h"

struct io_fd {
    uv_poll_t poll;
    io_fd_fn *fn;
    void *ud;
    unsigned want;
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct io_fd *w = h->data;
    unsigned got = 0;
    if (status < 0)
        got = w->want; /* reading or writing it will say what is wrong */
    if (events & (UV_READABLE | UV_DISCONNECT))
        got |= IO_FD_READ;
    if (events & UV_WRITABLE)
        got |= IO_FD_WRITE;
    if (w->fn && (got & w->want))
        w->fn(w->ud, got & w->want);
}

struct io_fd *io_fd_new(struct io_loop *l, int fd, io_fd_fn *fn, void *ud, struct error *e)
{
    struct io_fd *w = mem_zalloc(sizeof *w);
    int rc = uv_poll_init(io_loop_uv(l), &w->poll, fd);
    if (rc < 0) {
        error_sys(e, ERR_SYS, -rc, "cannot watch descriptor %d", fd);
        free(w);
        return NULL;
    }
    w->poll.data = w;
    w->fn = fn;
    w->ud = ud;
    return w;
}

void io_fd_want(struct io_fd *w, unsigned events)
{
    if (events == w->want)
        return;
    w->want = events;
    int mask =
        ((events & IO_FD_READ) ? UV_READABLE : 0) | ((events & IO_FD_WRITE) ? UV_WRITABLE : 0);
    if (mask == 0)
        uv_poll_stop(&w->poll);
    else
        ASSERT(uv_poll_start(&w->poll, mask, on_poll) == 0);
}

void io_fd_free(struct io_fd *w)
{
    if (!w || !w->fn)
        return;
    w->fn = NULL;
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_closed);
}
