/* stream.c: see stream.h. */
#include "io/stream.h"

#include "base/check.h"
#include "io/stream_priv.h"

#include <poll.h>
#include <sys/socket.h>

static const struct io_stream_cb no_cb;

static void report(void *ud)
{
    struct io_stream *s = ud;
    if (s->closing || s->reported)
        return;
    s->reported = true;
    if (s->cb->error)
        s->cb->error(s->ud, s->sys);
}

void io_raw_fail_write(struct io_stream *s, int sys)
{
    if (s->sys == 0)
        s->sys = sys;
    if (!s->closing && !s->reported)
        io_call_post(s->loop, &s->later);
}

struct io_stream *io_stream_new(struct io_loop *l, bool pipe)
{
    struct io_stream *s = mem_zalloc(sizeof *s);
    int rc = pipe ? uv_pipe_init(&l->uv, &s->h.pipe, 0) : uv_tcp_init(&l->uv, &s->h.tcp);
    ASSERT(rc == 0);
    s->h.s.data = s;
    s->loop = l;
    s->is_pipe = pipe;
    s->cb = &no_cb;
    list_init(&s->gathered);
    io_call_init(&s->later, report, s);
    return s;
}

uv_stream_t *io_stream_uv(struct io_stream *s)
{
    return &s->h.s;
}

struct io_stream *io_stream_from_fd(struct io_loop *l, int fd, struct error *e)
{
    int domain = 0;
    socklen_t len = sizeof domain;
    bool tcp = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain != AF_UNIX;
    struct io_stream *s = io_stream_new(l, !tcp);
    int rc = tcp ? uv_tcp_open(&s->h.tcp, fd) : uv_pipe_open(&s->h.pipe, fd);
    if (rc == 0)
        return s;
    error_sys(e, ERR_SYS, -rc, "descriptor %d", fd);
    io_stream_close(s);
    return NULL;
}

void io_stream_set_cb(struct io_stream *s, const struct io_stream_cb *cb, void *ud)
{
    s->cb = cb ? cb : &no_cb;
    s->ud = ud;
}

struct io_loop *io_stream_loop(const struct io_stream *s)
{
    return s->loop;
}

/* --- reading --- */

static void flush_all(struct io_loop *l)
{
    struct list *n;
    while ((n = list_first(&l->gathered)))
        io_stream_flush(LIST_ENTRY(n, struct io_stream, gathered));
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct io_stream *s = h->data;
    (void)hint;
    /* Reading was turned off since: no buffer makes libuv call on_read with UV_ENOBUFS, which stops it. So
     * a stop that is taken back before anything arrives costs no epoll_ctl. */
    *buf = s->want_read ? uv_buf_init(s->loop->read_buf, IO_READ_SIZE) : uv_buf_init(NULL, 0);
}

/* libuv takes a hang-up after a short read for an end, without another read: a reset that follows data closely
 * would pass for a clean end, and a cut answer for a whole one. The socket remembers what it was. */
static ssize_t true_end(struct io_stream *s)
{
    int err = 0;
    socklen_t len = sizeof err;
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&s->h.s, &fd) == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err)
        return -err;
    return UV_EOF;
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct io_stream *s = h->data;
    struct io_loop *l = s->loop;
    if (n == 0)
        return;
    if (n == UV_ENOBUFS && !s->want_read) {
        uv_read_stop(h);
        s->uv_reading = false;
        return;
    }
    if (n == UV_EOF)
        n = true_end(s);
    l->in_read++;
    if (s->tls) {
        if (n < 0) {
            uv_read_stop(h);
            s->uv_reading = s->want_read = false;
        }
        io_tls_got(s->tls, buf->base, n);
    } else if (n > 0) {
        if (s->cb->data)
            s->cb->data(s->ud, str_n(buf->base, (size_t)n));
    } else {
        uv_read_stop(h);
        s->uv_reading = s->want_read = false;
        if (n == UV_EOF) {
            s->eof = true;
            if (s->cb->eof)
                s->cb->eof(s->ud);
        } else {
            io_raw_fail_read(s, (int)n);
        }
    }
    l->in_read--;
    flush_all(l);
}

void io_raw_fail_read(struct io_stream *s, int sys)
{
    /* Also after a failed write was told: until now there was still something to read. */
    s->sys = sys;
    s->reported = false;
    report(s);
}

void io_reads_begin(struct io_loop *l)
{
    l->in_read++;
}

void io_reads_end(struct io_loop *l)
{
    l->in_read--;
    flush_all(l);
}

void io_stream_read(struct io_stream *s, bool on)
{
    if (s->closing || (on && (s->eof || s->sys != 0)))
        return;
    if (s->tls)
        io_tls_want(s->tls, on);
    else
        io_raw_read(s, on);
}

void io_raw_read(struct io_stream *s, bool on)
{
    s->want_read = on;
    if (!on || s->uv_reading)
        return;
    int rc = uv_read_start(&s->h.s, on_alloc, on_read);
    if (rc != 0) {
        io_raw_fail_write(s, rc);
        return;
    }
    s->uv_reading = true;
}

bool io_stream_readable(const struct io_stream *s)
{
    return (s->tls ? io_tls_readable(s->tls) : s->uv_reading) && !s->closing;
}

/* --- writing --- */

static void on_written(uv_write_t *req, int status);

static struct strbuf *more_of(struct io_stream *s)
{
    if (!s->more) {
        s->more = mem_zalloc(sizeof *s->more);
        strbuf_init(s->more, SIZE_MAX / 4);
    }
    return s->more;
}

static void free_more(struct io_stream *s)
{
    strbuf_fini(s->more);
    free(s->more);
    s->more = NULL;
}

/* Starts the one libuv write. Borrowed or owned bytes are in bufs; job->bytes otherwise. */
static void start_job(struct io_stream *s, struct job *j, const uv_buf_t *bufs, unsigned n)
{
    s->job = j;
    j->req.data = s;
    int rc = uv_write(&j->req, &s->h.s, bufs, n, on_written);
    if (rc != 0) {
        s->job = NULL;
        free(j->owned);
        free(j);
        io_raw_fail_write(s, rc);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct io_stream *s = req->data;
    struct job *j = s->job;
    s->job = NULL;
    free(j->owned);
    free(j);
    if (s->closing)
        return;
    if (status < 0) {
        if (s->sys == 0)
            s->sys = status;
        report(s);
        return;
    }
    if (s->more) {
        j = mem_zalloc(sizeof *j);
        j->owned = s->more->ptr;
        uv_buf_t b = uv_buf_init(s->more->ptr, (unsigned)s->more->len);
        free(s->more);
        s->more = NULL;
        start_job(s, j, &b, 1);
        return;
    }
    if (s->tls && !io_tls_drained(s->tls))
        return;
    if (s->fin)
        io_stream_finish(s);
    if (s->cb->drained)
        s->cb->drained(s->ud);
}

static uv_buf_t to_buf(str p)
{
    uv_buf_t b;
    b.base = (char *)(uintptr_t)p.ptr;
    b.len = p.len;
    return b;
}

/* Offers bufs to the kernel; drops what it took from the front of bufs and returns how many are left. */
static unsigned offer(struct io_stream *s, uv_buf_t *bufs, unsigned n)
{
    if (s->sys != 0 || n == 0)
        return 0;
    int rc = uv_try_write(&s->h.s, bufs, n);
    if (rc == UV_EAGAIN)
        rc = 0;
    if (rc < 0) {
        io_raw_fail_write(s, rc);
        return 0;
    }
    size_t took = (size_t)rc;
    unsigned i = 0;
    while (i < n && took >= bufs[i].len)
        took -= bufs[i++].len;
    if (i == n)
        return 0;
    bufs[i].base += took;
    bufs[i].len -= took;
    if (i)
        memmove(bufs, bufs + i, (n - i) * sizeof *bufs);
    return n - i;
}

static void queue_copy(struct io_stream *s, const uv_buf_t *bufs, unsigned n)
{
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += bufs[i].len;
    if (total == 0)
        return;
    if (s->job) {
        for (unsigned i = 0; i < n; i++)
            ASSERT(strbuf_add(more_of(s), str_n(bufs[i].base, bufs[i].len)));
        return;
    }
    struct job *j = mem_resize(NULL, sizeof *j + total, 1);
    j->owned = NULL;
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        memcpy(j->bytes + at, bufs[i].base, bufs[i].len);
        at += bufs[i].len;
    }
    uv_buf_t b = uv_buf_init(j->bytes, (unsigned)total);
    start_job(s, j, &b, 1);
}

static void drop_gather(struct io_stream *s)
{
    struct io_gather *g = s->g;
    if (!g)
        return;
    s->g = NULL;
    list_remove(&s->gathered);
    if (s->loop->n_spare >= SPARES) {
        free(g);
        return;
    }
    g->next = s->loop->spare;
    s->loop->spare = g;
    s->loop->n_spare++;
}

static struct io_gather *gather_of(struct io_stream *s)
{
    struct io_loop *l = s->loop;
    if (s->g)
        return s->g;
    struct io_gather *g = l->spare;
    if (g) {
        l->spare = g->next;
        l->n_spare--;
    } else {
        g = mem_resize(NULL, sizeof *g, 1);
    }
    g->n = 0;
    g->total = g->used = 0;
    s->g = g;
    list_push_back(&l->gathered, &s->gathered);
    return g;
}

static bool in_read_buf(const struct io_loop *l, str p)
{
    return p.ptr >= l->read_buf && p.ptr < l->read_buf + IO_READ_SIZE;
}

/* Puts all parts into the gather object, or none. */
static bool gather(struct io_stream *s, const str *parts, size_t n)
{
    struct io_loop *l = s->loop;
    size_t copy = 0;
    for (size_t i = 0; i < n; i++)
        if (!in_read_buf(l, parts[i]))
            copy += parts[i].len;
    struct io_gather *g = s->g;
    if (copy > GATHER_BYTES - (g ? g->used : 0) || n > GATHER_PARTS - (g ? g->n : 0))
        return false;
    g = gather_of(s);
    for (size_t i = 0; i < n; i++) {
        uv_buf_t b = to_buf(parts[i]);
        if (b.len == 0)
            continue;
        if (!in_read_buf(l, parts[i])) {
            memcpy(g->bytes + g->used, b.base, b.len);
            b.base = g->bytes + g->used;
            g->used += b.len;
        }
        g->total += b.len;
        if (g->n && g->bufs[g->n - 1].base + g->bufs[g->n - 1].len == b.base)
            g->bufs[g->n - 1].len += b.len;
        else
            g->bufs[g->n++] = b;
    }
    return true;
}

void io_stream_flush(struct io_stream *s)
{
    struct io_gather *g = s->g;
    if (!g)
        return;
    unsigned left = g->n;
    if (!s->job)
        left = offer(s, g->bufs, left);
    if (left)
        queue_copy(s, g->bufs, left);
    drop_gather(s);
}

void io_stream_write(struct io_stream *s, const str *parts, size_t n)
{
    ASSERT(n <= 16);
    if (s->closing || s->sys != 0 || s->fin)
        return;
    if (s->tls)
        io_tls_write(s->tls, parts, n);
    else
        io_raw_write(s, parts, n);
}

void io_raw_write(struct io_stream *s, const str *parts, size_t n)
{
    if (!s->job && s->loop->in_read && gather(s, parts, n))
        return;
    uv_buf_t bufs[GATHER_PARTS + 16];
    unsigned k = 0;
    if (s->g) {
        k = s->g->n;
        memcpy(bufs, s->g->bufs, k * sizeof *bufs);
    }
    for (size_t i = 0; i < n; i++)
        if (parts[i].len)
            bufs[k++] = to_buf(parts[i]);
    if (k && !s->job)
        k = offer(s, bufs, k);
    if (k)
        queue_copy(s, bufs, k);
    drop_gather(s);
}

bool io_stream_write_borrowed(struct io_stream *s, const str *parts, size_t n)
{
    ASSERT(n <= 16);
    io_stream_flush(s);
    ASSERT(s->tls || !s->job);
    if (s->closing || s->sys != 0)
        return false;
    if (s->tls)
        return io_tls_write_borrowed(s->tls, parts, n);
    uv_buf_t bufs[16];
    unsigned k = 0;
    for (size_t i = 0; i < n; i++)
        if (parts[i].len)
            bufs[k++] = to_buf(parts[i]);
    if (k)
        k = offer(s, bufs, k);
    if (s->sys != 0)
        return false;
    if (k == 0)
        return true;
    struct job *j = mem_zalloc(sizeof *j);
    start_job(s, j, bufs, k);
    return false;
}

size_t io_stream_queued(const struct io_stream *s)
{
    return io_raw_queued(s) + (s->tls ? io_tls_queued(s->tls) : 0);
}

size_t io_raw_queued(const struct io_stream *s)
{
    size_t n = s->g ? s->g->total : 0;
    if (s->job)
        n += uv_stream_get_write_queue_size(&s->h.s);
    if (s->more)
        n += s->more->len;
    return n;
}

/* --- ends --- */

void io_stream_finish(struct io_stream *s)
{
    s->fin = true;
    if (s->tls && !s->closing && !io_tls_bye(s->tls))
        return;
    io_stream_flush(s);
    uv_os_fd_t fd;
    if (s->closing || s->job || uv_fileno((uv_handle_t *)&s->h.s, &fd) != 0)
        return;
    /* The queue is libuv's only while a job is open, so it need not know about this. */
    if (shutdown(fd, SHUT_WR) != 0 && s->is_pipe)
        io_stream_close(s);
}

bool io_stream_hung_up(const struct io_stream *s)
{
    uv_os_fd_t fd;
    if (s->closing || uv_fileno((const uv_handle_t *)&s->h.s, &fd) != 0)
        return true;
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    return poll(&p, 1, 0) > 0;
}

static void on_closed(uv_handle_t *h)
{
    struct io_stream *s = h->data;
    ASSERT(!s->job);
    if (s->more)
        free_more(s);
    if (s->tls)
        io_tls_free(s->tls);
    if (s->cb->closed)
        s->cb->closed(s->ud);
    free(s);
}

static void close_with(struct io_stream *s, bool rst)
{
    if (s->closing)
        return;
    if (s->tls)
        io_tls_closing(s->tls, rst);
    if (!rst)
        io_stream_flush(s);
    drop_gather(s);
    s->closing = true;
    s->want_read = s->uv_reading = false;
    io_call_cancel(&s->later);
    if (rst && !s->is_pipe && uv_tcp_close_reset(&s->h.tcp, on_closed) == 0)
        return;
    uv_close((uv_handle_t *)&s->h.s, on_closed);
}

void io_stream_close(struct io_stream *s)
{
    close_with(s, false);
}

void io_stream_reset(struct io_stream *s)
{
    close_with(s, true);
}

/* --- the rest --- */

static void find_peer(struct io_stream *s)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;
    if (s->is_pipe) {
        memcpy(s->peer, "unix", sizeof "unix");
        return;
    }
    if (s->closing || uv_tcp_getpeername(&s->h.tcp, (struct sockaddr *)&sa, &len) != 0)
        return;
    if (sa.ss_family == AF_INET)
        uv_ip4_name((const struct sockaddr_in *)&sa, s->peer, sizeof s->peer);
    else if (sa.ss_family == AF_INET6)
        uv_ip6_name((const struct sockaddr_in6 *)&sa, s->peer, sizeof s->peer);
    /* A v4 client of a socket that speaks both. */
    if (strncmp(s->peer, "::ffff:", 7) == 0 && strchr(s->peer, '.'))
        memmove(s->peer, s->peer + 7, strlen(s->peer + 7) + 1);
}

str io_stream_peer(const struct io_stream *s)
{
    if (!s->peer[0])
        find_peer((struct io_stream *)(uintptr_t)s);
    return str_c(s->peer);
}

void io_streams_stop(struct io_loop *l)
{
    io_tls_loop_stop(l);
    while (l->spare) {
        struct io_gather *g = l->spare;
        l->spare = g->next;
        free(g);
    }
}
