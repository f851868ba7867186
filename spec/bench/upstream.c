/* upstream.c: a fast fake model server for the benchmarks (epoll, one thread, keep-alive).
 *
 *   bench_upstream --port N [--cpu C] [--size B] [--start-delay MS] [--start-kind refuse|503]
 *                  [--exit-delay MS] [--name S] [--log FILE]
 *
 * GET /health: 200, or 503 while it "loads". Any other request: the body is read and dropped, then comes a fixed
 * JSON answer of `size` bytes that holds the arrival number of the request. An X-Bench header (else the query)
 * asks for something else: size=B; delay_ms=D before the answer; bytes=N of the pattern; sse=N events of `size`
 * bytes, gap_us=G apart (0 = as fast as the socket takes them), hold_ms=H between the first and the second.
 * --log appends "<monotonic ns> <name> <pid> <event>" lines: main, ready, request, term, exit: what the swap
 * benchmark subtracts. --port 0 takes any port; the line "listening on 127.0.0.1:PORT" says which.
 */
#include "benchlib.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_CAP (16u * 1024)
#define OUT_CAP (72u * 1024)
#define BURST 16u /* events of one stream in a row */

enum reply { REPLY_FIXED, REPLY_BYTES, REPLY_SSE };
enum mode { MODE_HEAD, MODE_BODY, MODE_WAIT, MODE_SEND };

struct conn {
    int fd;
    enum mode mode;
    enum reply reply;
    bool want_out;   /* EPOLLOUT is asked for */
    bool close_after;
    bool log_it;
    size_t head_len; /* bytes in head */
    struct bench_head h;
    struct bench_body body;
    uint64_t size, gap_ns, hold_ns, events, at_event, bytes_left, bytes_at, due;
    size_t heap_at;  /* position + 1 in the heap, 0 = none */
    char *out;       /* OUT_CAP, allocated when something did not fit into the socket */
    size_t out_at, out_len;
    char head[HEAD_CAP];
};

static struct {
    int ep, listen_fd, sig_fd, log_fd;
    uint64_t size, exit_delay_ms, ready_at, seq, phase;
    bool late; /* 503 until ready_at */
    const char *name;
    struct conn **heap;
    size_t heap_n, heap_cap;
    char io[256 * 1024];
    char text[OUT_CAP];
} up;

static void log_event(const char *what)
{
    char line[160];
    int n;
    if (up.log_fd < 0)
        return;
    n = snprintf(line, sizeof line, "%" PRIu64 " %s %d %s\n", bench_now_ns(), up.name, (int)getpid(), what);
    if (write(up.log_fd, line, (size_t)n) != n)
        bench_die("log: %s", strerror(errno));
}

/* --- timers: a heap of connections by due time --- */

static void heap_put(size_t i, struct conn *c)
{
    up.heap[i] = c;
    c->heap_at = i + 1;
}

static void heap_up(size_t i, struct conn *c)
{
    for (; i > 0 && up.heap[(i - 1) / 2]->due > c->due; i = (i - 1) / 2)
        heap_put(i, up.heap[(i - 1) / 2]);
    heap_put(i, c);
}

static void heap_down(size_t i, struct conn *c)
{
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= up.heap_n)
            break;
        if (k + 1 < up.heap_n && up.heap[k + 1]->due < up.heap[k]->due)
            k++;
        if (up.heap[k]->due >= c->due)
            break;
        heap_put(i, up.heap[k]);
        i = k;
    }
    heap_put(i, c);
}

static void timer_clear(struct conn *c)
{
    size_t i = c->heap_at;
    struct conn *last;
    if (!i--)
        return;
    c->heap_at = 0;
    last = up.heap[--up.heap_n];
    if (last == c)
        return;
    if (i > 0 && up.heap[(i - 1) / 2]->due > last->due)
        heap_up(i, last);
    else
        heap_down(i, last);
}

static void timer_set(struct conn *c, uint64_t due)
{
    timer_clear(c);
    c->due = due;
    if (up.heap_n == up.heap_cap) {
        up.heap_cap = up.heap_cap ? up.heap_cap * 2 : 256;
        up.heap = realloc(up.heap, up.heap_cap * sizeof(struct conn *));
        if (!up.heap)
            bench_die("no memory");
    }
    up.heap_n++;
    heap_up(up.heap_n - 1, c);
}

/* --- output --- */

static void conn_close(struct conn *c)
{
    timer_clear(c);
    close(c->fd);
    free(c->out);
    free(c);
}

static void watch(struct conn *c, bool out)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | (out ? EPOLLOUT : 0u), .data.ptr = c };
    if (c->want_out == out)
        return;
    c->want_out = out;
    epoll_ctl(up.ep, EPOLL_CTL_MOD, c->fd, &ev);
}

/* 1 = all out, 0 = the rest waits in c->out, -1 = the connection is dead (not closed yet). */
static int put(struct conn *c, const char *p, size_t n)
{
    ssize_t w = write(c->fd, p, n);
    if (w < 0 && errno != EAGAIN)
        return -1;
    if (w < 0)
        w = 0;
    if ((size_t)w == n)
        return 1;
    if (!c->out && !(c->out = malloc(OUT_CAP)))
        bench_die("no memory");
    c->out_at = 0;
    c->out_len = n - (size_t)w;
    memcpy(c->out, p + w, c->out_len);
    watch(c, true);
    return 0;
}

static int finish(struct conn *c)
{
    watch(c, false);
    c->mode = MODE_HEAD;
    return c->close_after ? -1 : 1;
}

/* The next piece of a ?bytes answer, straight from the pattern. 1 = finished, 0 = later, -1 = dead. */
static int send_bytes(struct conn *c)
{
    while (c->bytes_left) {
        size_t at = (size_t)(c->bytes_at % BENCH_PERIOD);
        size_t n = c->bytes_left < BENCH_PERIOD ? (size_t)c->bytes_left : BENCH_PERIOD;
        ssize_t w = write(c->fd, bench_pattern() + at, n);
        if (w < 0 && errno != EAGAIN)
            return -1;
        if (w < 0) {
            watch(c, true);
            return 0;
        }
        c->bytes_at += (uint64_t)w;
        c->bytes_left -= (uint64_t)w;
    }
    return finish(c);
}

static size_t chunk(char *buf, const char *p, size_t n)
{
    size_t at = (size_t)sprintf(buf, "%zx\r\n", n);
    memcpy(buf + at, p, n);
    memcpy(buf + at + n, "\r\n", 2);
    return at + n + 2;
}

static int send_sse(struct conn *c)
{
    static char event[65536];
    uint64_t now = bench_now_ns();
    for (unsigned burst = 0; c->at_event <= c->events; burst++) {
        size_t n;
        int rc;
        if (burst == BURST)
            c->due = now + 1; /* the other streams first */
        if (c->due > now) {
            watch(c, false);
            timer_set(c, c->due);
            return 0;
        }
        if (c->at_event == c->events) {
            n = chunk(up.text, BENCH_SSE_END, sizeof BENCH_SSE_END - 1);
            memcpy(up.text + n, "0\r\n\r\n", 5);
            n += 5;
        } else {
            bench_event(event, c->size, c->at_event, bench_now_ns());
            n = chunk(up.text, event, c->size);
            c->due += c->at_event == 0 && c->hold_ns ? c->hold_ns : c->gap_ns;
        }
        c->at_event++;
        rc = put(c, up.text, n);
        if (rc <= 0)
            return rc;
    }
    return finish(c);
}

/* --- answers --- */

static int answer_start(struct conn *c)
{
    int n, rc;
    c->mode = MODE_SEND;
    if (c->reply == REPLY_SSE) {
        n = sprintf(up.text, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n");
    } else if (c->reply == REPLY_BYTES) {
        n = sprintf(up.text, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %" PRIu64
                             "\r\n\r\n", c->bytes_left);
    } else {
        n = sprintf(up.text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %" PRIu64
                             "\r\n\r\n", c->size);
        bench_answer(up.text + n, c->size, up.seq++);
        n += (int)c->size;
    }
    rc = put(c, up.text, (size_t)n);
    if (rc <= 0)
        return rc;
    if (c->reply == REPLY_SSE)
        return send_sse(c);
    return c->reply == REPLY_BYTES ? send_bytes(c) : finish(c);
}

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* The request is complete. */
static int answer(struct conn *c)
{
    const char *query = strchr(c->h.target, '?');
    const char *q = c->h.bench[0] ? c->h.bench : query ? query + 1 : "";
    uint64_t delay = bench_param(q, "delay_ms", 0) * 1000000u, bytes = bench_param(q, "bytes", 0), now;
    if (c->log_it)
        log_event("request");
    c->events = bench_param(q, "sse", 0);
    c->bytes_left = bytes;
    c->bytes_at = 0;
    c->at_event = 0;
    c->reply = c->events ? REPLY_SSE : bytes ? REPLY_BYTES : REPLY_FIXED;
    c->size = bench_param(q, "size", up.size);
    c->size = c->events ? clamp(c->size, BENCH_EVENT_MIN, 32768) : clamp(c->size, BENCH_ANSWER_MIN, 65536);
    c->gap_ns = bench_param(q, "gap_us", 0) * 1000u;
    c->hold_ns = bench_param(q, "hold_ms", 0) * 1000000u;
    now = bench_now_ns();
    c->due = now + delay;
    /* streams that begin together must not beat together: spread them over one gap */
    if (c->gap_ns && c->events)
        c->due += c->gap_ns * (up.phase++ * 29 % 64) / 64;
    if (!delay)
        return answer_start(c);
    c->mode = MODE_WAIT;
    timer_set(c, now + delay);
    return 0;
}

static int health(struct conn *c)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
                             "{\"status\":\"ok\"}";
    static const char wait[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
                               "Content-Length: 20\r\n\r\n{\"status\":\"loading\"}";
    bool ready = !up.late || bench_now_ns() >= up.ready_at;
    int rc = ready ? put(c, ok, sizeof ok - 1) : put(c, wait, sizeof wait - 1);
    c->mode = MODE_SEND;
    return rc <= 0 ? rc : finish(c);
}

static int got_request(struct conn *c)
{
    bool get = strcmp(c->h.method, "GET") == 0;
    c->close_after = c->h.close;
    if (get && strncmp(c->h.target, "/health", 7) == 0)
        return health(c);
    c->log_it = !get;
    return answer(c);
}

/* --- input --- */

/* Head and body from what was read; returns 0 or -1 (close). */
static int feed(struct conn *c, const char *p, size_t n)
{
    while (n) {
        if (c->mode == MODE_HEAD) {
            size_t take = n < HEAD_CAP - c->head_len ? n : HEAD_CAP - c->head_len;
            size_t before = c->head_len, used;
            int rc;
            memcpy(c->head + before, p, take);
            c->head_len += take;
            rc = bench_head_parse(c->head, c->head_len, false, &c->h);
            if (rc < 0 || (rc == 0 && c->head_len == HEAD_CAP))
                return -1;
            if (rc == 0) {
                p += take, n -= take;
                continue;
            }
            used = c->h.size - before;
            p += used, n -= used;
            c->head_len = 0;
            bench_body_init(&c->body, &c->h, false);
            if (c->h.expect && !c->body.done && write(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 25)
                return -1;
            c->mode = MODE_BODY;
        } else if (c->mode == MODE_BODY) {
            ssize_t used = bench_body_feed(&c->body, p, n, NULL, NULL);
            if (used < 0)
                return -1;
            p += used, n -= (size_t)used;
        } else {
            fprintf(stderr, "upstream: bytes while an answer is under way\n");
            return -1;
        }
        if (c->mode == MODE_BODY && c->body.done && got_request(c) < 0)
            return -1;
    }
    return 0;
}

static void on_conn(struct conn *c, uint32_t events)
{
    if (events & EPOLLOUT) {
        int rc = 1;
        if (c->out_len) {
            ssize_t w = write(c->fd, c->out + c->out_at, c->out_len);
            if (w < 0 && errno != EAGAIN) {
                conn_close(c);
                return;
            }
            w = w < 0 ? 0 : w;
            c->out_at += (size_t)w;
            c->out_len -= (size_t)w;
        }
        if (c->out_len == 0) {
            rc = c->reply == REPLY_SSE ? send_sse(c) : c->reply == REPLY_BYTES ? send_bytes(c) : finish(c);
            if (rc < 0) {
                conn_close(c);
                return;
            }
        }
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
        ssize_t r = read(c->fd, up.io, sizeof up.io);
        if (r < 0 && errno == EAGAIN)
            return;
        if (r <= 0 || feed(c, up.io, (size_t)r) < 0)
            conn_close(c);
    }
}

static void on_due(void)
{
    uint64_t now = bench_now_ns();
    while (up.heap_n && up.heap[0]->due <= now) {
        struct conn *c = up.heap[0];
        int rc;
        timer_clear(c);
        rc = c->mode == MODE_WAIT ? answer_start(c) : send_sse(c);
        if (rc < 0)
            conn_close(c);
    }
}

static void on_accept(void)
{
    for (;;) {
        int on = 1, fd = accept4(up.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct conn *c;
        struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP };
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c = calloc(1, sizeof *c);
        if (!c)
            bench_die("no memory");
        c->fd = fd;
        c->mode = MODE_HEAD;
        ev.data.ptr = c;
        epoll_ctl(up.ep, EPOLL_CTL_ADD, fd, &ev);
    }
}

static void on_signal(void)
{
    struct signalfd_siginfo si;
    if (read(up.sig_fd, &si, sizeof si) != sizeof si)
        return;
    log_event("term");
    if (up.exit_delay_ms)
        usleep((useconds_t)(up.exit_delay_ms * 1000));
    log_event("exit");
    _exit(0);
}

static void add(int fd, void *mark)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = mark };
    epoll_ctl(up.ep, EPOLL_CTL_ADD, fd, &ev);
}

/* Waits for the start delay and yet ends at once on SIGTERM, as a model that is loading would. */
static void load_for(uint64_t ms)
{
    uint64_t end = bench_now_ns() + ms * 1000000u, now;
    while ((now = bench_now_ns()) < end) {
        struct epoll_event ev;
        struct timespec ts = { .tv_sec = (time_t)((end - now) / 1000000000u),
                               .tv_nsec = (long)((end - now) % 1000000000u) };
        if (epoll_pwait2(up.ep, &ev, 1, &ts, NULL) == 1)
            on_signal();
    }
}

static void setup(const struct bench_args *a)
{
    const char *log = bench_arg(a, "--log", NULL);
    uint64_t delay = bench_arg_u64(a, "--start-delay", 0);
    int port = (int)bench_arg_u64(a, "--port", 0);
    sigset_t set;
    up.name = bench_arg(a, "--name", "upstream");
    up.log_fd = log ? open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    log_event("main");
    if (bench_arg(a, "--cpu", NULL))
        bench_pin((int)bench_arg_u64(a, "--cpu", 0));
    up.size = clamp(bench_arg_u64(a, "--size", 512), BENCH_ANSWER_MIN, 65536);
    up.exit_delay_ms = bench_arg_u64(a, "--exit-delay", 0);
    up.late = strcmp(bench_arg(a, "--start-kind", "refuse"), "503") == 0;
    bench_fd_limit();
    bench_ignore_sigpipe();
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    up.ep = epoll_create1(EPOLL_CLOEXEC);
    up.sig_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    add(up.sig_fd, &up.sig_fd);
    up.ready_at = bench_now_ns() + delay * 1000000u;
    if (!up.late)
        load_for(delay);
    up.listen_fd = bench_listen(&port, 4096);
    add(up.listen_fd, &up.listen_fd);
    if (!up.late || !delay)
        log_event("ready");
    printf("listening on 127.0.0.1:%d\n", port);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const known[] = { "--port", "--cpu", "--size", "--start-delay", "--start-kind", "--exit-delay",
                                         "--name", "--log", NULL };
    struct bench_args a = { argc, argv };
    struct epoll_event ev[256];
    bool told;
    bench_args_check(&a, known);
    setup(&a);
    told = !up.late || bench_now_ns() >= up.ready_at;
    for (;;) {
        struct timespec ts = { 0 }, *wait = NULL;
        uint64_t now = bench_now_ns(), due = up.heap_n ? up.heap[0]->due : UINT64_MAX;
        int n;
        if (!told && up.ready_at < due)
            due = up.ready_at;
        if (due != UINT64_MAX) {
            uint64_t left = due > now ? due - now : 0;
            ts.tv_sec = (time_t)(left / 1000000000u);
            ts.tv_nsec = (long)(left % 1000000000u);
            wait = &ts;
        }
        n = epoll_pwait2(up.ep, ev, 256, wait, NULL);
        if (!told && bench_now_ns() >= up.ready_at) {
            told = true;
            log_event("ready");
        }
        for (int i = 0; i < n; i++) {
            if (ev[i].data.ptr == &up.sig_fd)
                on_signal();
            else if (ev[i].data.ptr == &up.listen_fd)
                on_accept();
            else
                on_conn(ev[i].data.ptr, ev[i].events);
        }
        on_due();
    }
}
