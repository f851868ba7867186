/* load.c: the load client of the benchmarks (epoll, one thread). It checks every byte of every answer and
 * prints one JSON object; what it reads of the proxy (--pid) is CPU time and memory from /proc.
 *
 *   bench_load --port N --scenario small|big|sse|many|large|order [--pid PID] [--cpu C] [--conns C]
 *              [--requests R] [--warmup W] [--model M] [--path P] [--body BYTES] [--answer BYTES]
 *              [--chunks N] [--gap-us G] [--size BYTES] [--hold-ms H] [--bytes N] [--pause-ms P]
 *              [--chunked] [--fresh] [--timeout SECONDS]
 *
 * small, big   R requests on C keep-alive connections, each next one sent when the last answer is whole
 * sse          C streams of N events at once; CPU is counted while all of them are in full flow
 * many         C streams that get one event and then hold: RSS per open stream
 * large        --bytes through C connections; growth of RSS and of its peak
 * order        C connections send one request each, together: do they reach the upstream in that order?
 */
#include "benchlib.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum answer { ANSWER_FIXED, ANSWER_BYTES, ANSWER_SSE, ANSWER_ANY };
enum cstate { C_IDLE, C_HEAD, C_BODY, C_CLOSED };

#define HEAD_CAP (16u * 1024)
#define FULL_FLOW 5u /* events that every stream must have had before CPU is counted */

struct conn {
    int fd;
    size_t index;
    enum cstate state;
    bool out_on, paused;
    size_t sent; /* bytes of head + body */
    uint64_t t_sent, t_first, last_transit;
    struct bench_body body;
    bool reply_close;
    uint64_t events, seq;
    size_t text_len, head_len;
    char *text; /* the fixed answer, or the unfinished event */
    char head[HEAD_CAP];
};

static struct {
    /* the task */
    int port;
    pid_t pid;
    const char *scenario, *model, *path;
    size_t n_conns, body_size, answer_size, event_size;
    uint64_t requests, warmup, chunks, gap_us, hold_ms, bytes, pause_ms;
    bool chunked, fresh;
    enum answer expect;
    char *head, *body;
    size_t head_len, body_len, text_cap;
    char *want;

    /* the run */
    int ep;
    struct conn **conns;
    uint64_t issued, limit, done, errors, timeout_ns;
    size_t open;
    char first_error[200];
    double *transit, *jitter, *first, *latency;
    size_t n_transit, n_jitter, n_first, n_latency;
    /* full flow of sse */
    size_t flowing;
    bool flow_on, flow_off;
    uint64_t flow_events, flow_cpu, flow_t0, flow_t1;
    char io[256 * 1024];
} ld;

#define SAMPLES 2000000u

static void sample(double **v, size_t *n, double x)
{
    if (!*v && !(*v = malloc(SAMPLES * sizeof **v)))
        bench_die("no memory");
    if (*n < SAMPLES)
        (*v)[(*n)++] = x;
}

static void fail(struct conn *c, const char *fmt, ...) BENCH_PRINTF(2, 3);
static void fail(struct conn *c, const char *fmt, ...)
{
    if (ld.errors++ == 0) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(ld.first_error, sizeof ld.first_error, fmt, ap);
        va_end(ap);
    }
    if (c && c->state != C_CLOSED) {
        close(c->fd);
        c->state = C_CLOSED;
        ld.open--;
    }
}

/* --- the request --- */

static void build_body(void)
{
    static const char words[] = "the quick brown fox jumps over the lazy dog while it swaps models ";
    char front[64], back[160];
    size_t f, b, n = 0;
    bool stream = ld.expect == ANSWER_SSE;
    f = (size_t)snprintf(front, sizeof front, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    b = (size_t)snprintf(back, sizeof back, "\"}],\"model\":\"%s\",\"temperature\":0.7,\"max_tokens\":256,\"stream\":%s}",
                         ld.model, stream ? "true" : "false");
    if (ld.body_size < f + b)
        ld.body_size = f + b;
    ld.body = malloc(ld.body_size + 64);
    if (!ld.body)
        bench_die("no memory");
    memcpy(ld.body, front, f);
    for (n = f; n < ld.body_size - b; n++)
        ld.body[n] = words[(n - f) % (sizeof words - 1)];
    /* a line break of JSON now and then, as in real text; never one that is cut */
    for (size_t i = f + 80; i + 2 < ld.body_size - b; i += 81)
        ld.body[i] = '\\', ld.body[i + 1] = 'n';
    memcpy(ld.body + n, back, b);
    ld.body_len = ld.body_size;
    if (ld.chunked) {
        char size[32];
        size_t k = (size_t)snprintf(size, sizeof size, "%zx\r\n", ld.body_len);
        memmove(ld.body + k, ld.body, ld.body_len);
        memcpy(ld.body, size, k);
        memcpy(ld.body + k + ld.body_len, "\r\n0\r\n\r\n", 7);
        ld.body_len += k + 7;
    }
}

static void build_head(void)
{
    char ask[160], framing[64];
    size_t n;
    if (ld.expect == ANSWER_SSE)
        snprintf(ask, sizeof ask, "sse=%" PRIu64 "&gap_us=%" PRIu64 "&size=%zu&hold_ms=%" PRIu64, ld.chunks, ld.gap_us,
                 ld.event_size, ld.hold_ms);
    else if (ld.expect == ANSWER_BYTES)
        snprintf(ask, sizeof ask, "bytes=%" PRIu64, ld.bytes);
    else
        snprintf(ask, sizeof ask, "size=%zu", ld.answer_size);
    if (ld.chunked)
        snprintf(framing, sizeof framing, "Transfer-Encoding: chunked");
    else
        snprintf(framing, sizeof framing, "Content-Length: %zu", ld.body_len);
    ld.head = malloc(1024);
    if (!ld.head)
        bench_die("no memory");
    n = (size_t)snprintf(ld.head, 1024,
                         "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n"
                         "Content-Type: application/json\r\nAuthorization: Bearer sk-bench-0123456789\r\n"
                         "X-Bench: %s\r\n%s\r\n\r\n", ld.path, ld.port, ask, framing);
    ld.head_len = n;
    ld.want = malloc(ld.answer_size);
    if (!ld.want)
        bench_die("no memory");
    bench_answer(ld.want, ld.answer_size, 0);
    ld.text_cap = ld.expect == ANSWER_SSE ? 2 * ld.event_size + 64 : ld.answer_size;
}

/* --- checking --- */

static void check_fixed(struct conn *c)
{
    const char *t = c->text;
    size_t after = BENCH_SEQ_AT + BENCH_SEQ_DIGITS;
    if (c->text_len != ld.answer_size || memcmp(t, ld.want, BENCH_SEQ_AT) != 0 ||
        memcmp(t + after, ld.want + after, ld.answer_size - after) != 0) {
        fail(c, "answer of %zu bytes is not the one expected", c->text_len);
        return;
    }
    c->seq = 0;
    for (size_t i = 0; i < BENCH_SEQ_DIGITS; i++)
        c->seq = c->seq * 10 + (uint64_t)(t[BENCH_SEQ_AT + i] - '0');
}

static void flow_mark(struct conn *c)
{
    if (c->events == FULL_FLOW && ++ld.flowing == ld.n_conns && ld.pid) {
        ld.flow_on = true;
        ld.flow_t0 = bench_now_ns();
        ld.flow_cpu = bench_cpu_ns(ld.pid);
    } else if (ld.flow_on && !ld.flow_off) {
        ld.flow_events++;
        if (c->events == ld.chunks) {
            ld.flow_off = true;
            ld.flow_cpu = bench_cpu_ns(ld.pid) - ld.flow_cpu;
            ld.flow_t1 = bench_now_ns();
        }
    }
}

static bool check_event(struct conn *c)
{
    uint64_t t, now = bench_now_ns(), transit;
    if (!bench_event_read(c->text, ld.event_size, c->events, &t)) {
        fail(c, "event %" PRIu64 " is not the one expected: %.60s", c->events, c->text);
        return false;
    }
    transit = now > t ? now - t : 0;
    sample(&ld.transit, &ld.n_transit, (double)transit / 1e3);
    if (c->events == 0) {
        sample(&ld.first, &ld.n_first, (double)(now - c->t_sent) / 1e3);
    } else {
        double d = ((double)transit - (double)c->last_transit) / 1e3;
        sample(&ld.jitter, &ld.n_jitter, d < 0 ? -d : d);
    }
    c->last_transit = transit;
    c->events++;
    flow_mark(c);
    return true;
}

static void on_piece(void *ud, const char *p, size_t n)
{
    struct conn *c = ud;
    if (c->state == C_CLOSED)
        return;
    if (ld.expect == ANSWER_BYTES) {
        while (n) {
            size_t at = (size_t)(c->events % BENCH_PERIOD), take = n < BENCH_PERIOD ? n : BENCH_PERIOD;
            if (memcmp(bench_pattern() + at, p, take) != 0) {
                fail(c, "wrong byte near %" PRIu64, c->events);
                return;
            }
            c->events += take;
            p += take, n -= take;
        }
        return;
    }
    while (n) {
        size_t goal = ld.expect == ANSWER_SSE && c->events < ld.chunks ? ld.event_size : ld.text_cap;
        size_t take = n < goal - c->text_len ? n : goal - c->text_len;
        if (take == 0) {
            fail(c, "answer is longer than expected");
            return;
        }
        memcpy(c->text + c->text_len, p, take);
        c->text_len += take;
        p += take, n -= take;
        if (ld.expect == ANSWER_SSE && c->text_len == ld.event_size && c->events < ld.chunks) {
            if (!check_event(c))
                return;
            c->text_len = 0;
        }
    }
}

static void check_end(struct conn *c)
{
    if (ld.expect == ANSWER_FIXED)
        check_fixed(c);
    else if (ld.expect == ANSWER_BYTES && c->events != ld.bytes)
        fail(c, "%" PRIu64 " bytes instead of %" PRIu64, c->events, ld.bytes);
    else if (ld.expect == ANSWER_SSE && (c->events != ld.chunks || c->text_len != sizeof BENCH_SSE_END - 1 ||
                                         memcmp(c->text, BENCH_SSE_END, c->text_len) != 0))
        fail(c, "stream ended after %" PRIu64 " events and %zu bytes", c->events, c->text_len);
}

/* --- connections --- */

static void arm(struct conn *c, int op)
{
    struct epoll_event ev = { .events = (c->paused ? 0u : EPOLLIN) | (c->out_on ? EPOLLOUT : 0u), .data.ptr = c };
    if (epoll_ctl(ld.ep, op, c->fd, &ev) != 0)
        bench_die("epoll_ctl: %s", strerror(errno));
}

static void send_more(struct conn *c)
{
    while (c->sent < ld.head_len + ld.body_len) {
        struct iovec v[2];
        int n = 0;
        ssize_t w;
        struct msghdr m = { .msg_iov = v };
        if (c->sent < ld.head_len)
            v[n++] = (struct iovec){ ld.head + c->sent, ld.head_len - c->sent };
        if (c->sent >= ld.head_len)
            v[n++] = (struct iovec){ ld.body + (c->sent - ld.head_len), ld.body_len - (c->sent - ld.head_len) };
        else
            v[n++] = (struct iovec){ ld.body, ld.body_len };
        m.msg_iovlen = (size_t)n;
        w = sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (w < 0 && errno == EAGAIN) {
            if (!c->out_on) {
                c->out_on = true;
                arm(c, EPOLL_CTL_MOD);
            }
            return;
        }
        if (w < 0) {
            fail(c, "send: %s", strerror(errno));
            return;
        }
        c->sent += (size_t)w;
    }
    if (c->out_on) {
        c->out_on = false;
        arm(c, EPOLL_CTL_MOD);
    }
}

static void request(struct conn *c)
{
    ld.issued++;
    c->state = C_HEAD;
    c->sent = 0;
    c->head_len = 0;
    c->text_len = 0;
    c->events = 0;
    c->t_sent = bench_now_ns();
    send_more(c);
}

static struct conn *conn_open(size_t index)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c || !(c->text = malloc(ld.text_cap + 1)))
        bench_die("no memory");
    c->index = index;
    c->fd = bench_connect(ld.port);
    if (c->fd < 0)
        bench_die("connection %zu to port %d: %s", index, ld.port, strerror(errno));
    ld.open++;
    arm(c, EPOLL_CTL_ADD);
    return c;
}

static void answered(struct conn *c)
{
    ld.done++;
    check_end(c);
    if (c->state == C_CLOSED)
        return;
    c->state = C_IDLE;
    sample(&ld.latency, &ld.n_latency, (double)(bench_now_ns() - c->t_sent) / 1e3);
    if (c->reply_close && ld.issued < ld.limit) {
        fail(c, "the proxy closed a keep-alive connection");
        return;
    }
    if (ld.issued < ld.limit)
        request(c);
}

static void got_head(struct conn *c, const struct bench_head *h)
{
    bench_body_init(&c->body, h, true);
    c->reply_close = h->close;
    c->state = C_BODY;
    if (h->status != 200) {
        fail(c, "status %d: %.120s", h->status, c->head + h->size);
        return;
    }
    if (ld.expect == ANSWER_FIXED && h->length != (int64_t)ld.answer_size && !h->chunked)
        fail(c, "Content-Length %" PRId64, h->length);
    if (ld.expect == ANSWER_BYTES && ld.pause_ms && c->state == C_BODY) {
        c->paused = true;
        arm(c, EPOLL_CTL_MOD);
    }
}

/* Bytes of a head go into c->head; returns how many of [p, p+n) belong to it. */
static size_t head_bytes(struct conn *c, const char *p, size_t n)
{
    struct bench_head h;
    size_t before = c->head_len, take = n < HEAD_CAP - 1 - before ? n : HEAD_CAP - 1 - before;
    int rc;
    memcpy(c->head + before, p, take);
    c->head_len += take;
    c->head[c->head_len] = 0;
    rc = bench_head_parse(c->head, c->head_len, true, &h);
    if (rc < 0 || (rc == 0 && c->head_len == HEAD_CAP - 1)) {
        fail(c, "bad response head: %.60s", c->head);
        return 0;
    }
    if (rc == 0)
        return take;
    if (h.status == 100) {
        c->head_len = 0;
        return h.size - before;
    }
    got_head(c, &h);
    return h.size - before;
}

static void on_bytes(struct conn *c, const char *p, size_t n)
{
    while (n && c->state != C_CLOSED) {
        if (c->state == C_IDLE) {
            fail(c, "%zu bytes after the answer", n);
            return;
        }
        if (c->state == C_HEAD) {
            size_t used = head_bytes(c, p, n);
            p += used, n -= used;
        } else {
            ssize_t used = bench_body_feed(&c->body, p, n, ld.expect == ANSWER_ANY ? NULL : on_piece, c);
            if (used < 0)
                fail(c, "bad chunk");
            if (c->state == C_CLOSED)
                return;
            p += used, n -= (size_t)used;
        }
        if (c->state == C_BODY && c->body.done)
            answered(c);
    }
}

static void on_event(struct conn *c, uint32_t events)
{
    if (c->state != C_CLOSED && (events & EPOLLOUT))
        send_more(c);
    if (c->state != C_CLOSED && !c->paused && (events & (EPOLLIN | EPOLLERR | EPOLLHUP))) {
        ssize_t r = recv(c->fd, ld.io, sizeof ld.io, 0);
        if (r < 0 && errno == EAGAIN)
            return;
        if (r < 0)
            fail(c, "recv: %s", strerror(errno));
        else if (r > 0)
            on_bytes(c, ld.io, (size_t)r);
        else if (c->state == C_BODY && c->body.until_close)
            answered(c);
        else
            fail(c, c->state == C_IDLE ? "connection closed while idle" : "connection closed in an answer");
    }
}

/* Handles events for at most `ms`; 0 = only what is there. */
static void turn(int ms)
{
    struct epoll_event ev[512];
    int n = epoll_wait(ld.ep, ev, 512, ms);
    for (int i = 0; i < n; i++)
        on_event(ev[i].data.ptr, ev[i].events);
}

static void turns_for(uint64_t ms)
{
    uint64_t end = bench_now_ns() + ms * 1000000u;
    while (bench_now_ns() < end)
        turn(20);
}

static bool all_done(void)
{
    return ld.done + ld.errors >= ld.limit || ld.open == 0;
}

static void run_until_done(void)
{
    uint64_t end = bench_now_ns() + ld.timeout_ns;
    while (!all_done()) {
        turn(1000);
        if (bench_now_ns() > end) {
            fail(NULL, "time is up with %" PRIu64 " of %" PRIu64 " answers", ld.done, ld.limit);
            return;
        }
    }
}

static void open_all(void)
{
    ld.conns = calloc(ld.n_conns, sizeof(struct conn *));
    if (!ld.conns)
        bench_die("no memory");
    for (size_t i = 0; i < ld.n_conns; i++)
        ld.conns[i] = conn_open(i);
}

/* R more requests over the open connections. */
static void phase(uint64_t requests)
{
    ld.done = ld.issued = 0;
    ld.limit = requests;
    for (size_t i = 0; i < ld.n_conns && ld.issued < ld.limit; i++)
        if (ld.conns[i]->state == C_IDLE)
            request(ld.conns[i]);
    run_until_done();
}

/* --- reports --- */

static void print_stats(const char *name, double *v, size_t n)
{
    if (!n)
        return;
    bench_sort(v, n);
    printf(",\"%s_us\":{\"n\":%zu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, n, bench_quantile(v, n, 0.5),
           bench_quantile(v, n, 0.9), bench_quantile(v, n, 0.99), v[n - 1]);
}

static void report_begin(void)
{
    printf("{\"scenario\":\"%s\",\"conns\":%zu", ld.scenario, ld.n_conns);
}

static int report_end(uint64_t t0)
{
    print_stats("first", ld.first, ld.n_first);
    print_stats("transit", ld.transit, ld.n_transit);
    print_stats("jitter", ld.jitter, ld.n_jitter);
    print_stats("latency", ld.latency, ld.n_latency);
    for (char *p = ld.first_error; *p; p++)
        if (*p < ' ' || *p == '"' || *p == '\\')
            *p = '\'';
    printf(",\"wall_ms\":%.1f,\"answers\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"first_error\":\"%s\"}\n",
           (double)(bench_now_ns() - t0) / 1e6, ld.done, ld.errors, ld.first_error);
    return ld.errors ? 1 : 0;
}

static int scenario_requests(void)
{
    uint64_t t0, cpu = 0;
    double wall;
    open_all();
    phase(ld.warmup);
    ld.n_latency = 0;
    if (ld.pid)
        cpu = bench_cpu_ns(ld.pid);
    t0 = bench_now_ns();
    phase(ld.requests);
    wall = (double)(bench_now_ns() - t0);
    report_begin();
    printf(",\"requests\":%" PRIu64 ",\"body\":%zu,\"per_s\":%.0f", ld.done, ld.body_len, (double)ld.done * 1e9 / wall);
    if (ld.pid) {
        cpu = bench_cpu_ns(ld.pid) - cpu;
        printf(",\"cpu_us_per_unit\":%.4f,\"cpu_share\":%.3f", (double)cpu / 1e3 / (double)(ld.done ? ld.done : 1),
               (double)cpu / wall);
    }
    return report_end(t0);
}

static int scenario_sse(void)
{
    uint64_t t0;
    open_all();
    t0 = bench_now_ns();
    phase(ld.n_conns);
    report_begin();
    printf(",\"chunks\":%" PRIu64 ",\"gap_us\":%" PRIu64, ld.chunks, ld.gap_us);
    if (ld.pid && ld.flow_off)
        printf(",\"counted\":%" PRIu64 ",\"cpu_us_per_unit\":%.4f,\"cpu_share\":%.3f", ld.flow_events,
               (double)ld.flow_cpu / 1e3 / (double)ld.flow_events,
               (double)ld.flow_cpu / (double)(ld.flow_t1 - ld.flow_t0));
    else if (ld.pid)
        ld.errors++, snprintf(ld.first_error, sizeof ld.first_error, "the streams were never in flow together");
    return report_end(t0);
}

static struct bench_mem memory(void)
{
    return ld.pid ? bench_mem(ld.pid) : (struct bench_mem){ 0 };
}

static int scenario_many(void)
{
    struct bench_mem before = memory(), open, after;
    uint64_t t0 = bench_now_ns(), end = t0 + ld.timeout_ns;
    open_all();
    ld.limit = ld.n_conns;
    ld.done = ld.issued = 0;
    for (size_t i = 0; i < ld.n_conns; i++) {
        request(ld.conns[i]);
        turn(0);
    }
    while (ld.n_first < ld.n_conns && !ld.errors && bench_now_ns() < end)
        turn(100);
    if (ld.n_first < ld.n_conns)
        fail(NULL, "only %zu of %zu streams began", ld.n_first, ld.n_conns);
    turns_for(300);
    open = memory();
    if (ld.done)
        fail(NULL, "%" PRIu64 " streams had ended when memory was read: use a longer --hold-ms", ld.done);
    if (!ld.errors)
        run_until_done();
    for (size_t i = 0; i < ld.n_conns; i++)
        if (ld.conns[i]->state != C_CLOSED)
            close(ld.conns[i]->fd);
    usleep(300000);
    after = memory();
    report_begin();
    printf(",\"rss_before_kib\":%" PRIu64 ",\"rss_open_kib\":%" PRIu64 ",\"rss_after_kib\":%" PRIu64
           ",\"kib_per_stream\":%.3f", before.rss_kib, open.rss_kib, after.rss_kib,
           ((double)open.rss_kib - (double)before.rss_kib) / (double)ld.n_conns);
    return report_end(t0);
}

static int scenario_large(void)
{
    struct bench_mem before, m, after;
    uint64_t t0, top, cpu = 0, bytes;
    double wall;
    open_all();
    before = memory();
    top = before.rss_kib;
    if (ld.pid) {
        bench_reset_hwm(ld.pid);
        cpu = bench_cpu_ns(ld.pid);
    }
    t0 = bench_now_ns();
    ld.limit = ld.n_conns;
    ld.done = ld.issued = 0;
    for (size_t i = 0; i < ld.n_conns; i++)
        request(ld.conns[i]);
    if (ld.pause_ms) {
        turns_for(ld.pause_ms);
        m = memory();
        top = m.rss_kib > top ? m.rss_kib : top;
        for (size_t i = 0; i < ld.n_conns; i++)
            if (ld.conns[i]->state != C_CLOSED) {
                ld.conns[i]->paused = false;
                ld.pause_ms = 0;
                arm(ld.conns[i], EPOLL_CTL_MOD);
            }
    }
    run_until_done();
    wall = (double)(bench_now_ns() - t0);
    after = memory();
    top = after.hwm_kib > top ? after.hwm_kib : top;
    bytes = ld.bytes * ld.n_conns;
    report_begin();
    printf(",\"bytes\":%" PRIu64 ",\"mib_per_s\":%.1f", bytes, (double)bytes / 1048576 * 1e9 / wall);
    if (ld.pid)
        printf(",\"rss_before_kib\":%" PRIu64 ",\"rss_peak_kib\":%" PRIu64 ",\"rss_after_kib\":%" PRIu64
               ",\"growth_kib\":%" PRId64 ",\"cpu_us_per_unit\":%.4f", before.rss_kib, top, after.rss_kib,
               (int64_t)top - (int64_t)before.rss_kib,
               (double)(bench_cpu_ns(ld.pid) - cpu) / 1e3 / ((double)bytes / 1048576));
    return report_end(t0);
}

/* One small GET on every connection: the proxy has accepted and read each of them before the race begins. Then a
 * pause: a level-triggered epoll keeps what it has just reported in its ready list until the next call, and a
 * connection that is still in it keeps its old place there when new bytes come. No proxy can see through that. */
static void warm_connections(void)
{
    static char get[] = "GET /health HTTP/1.1\r\nHost: bench\r\n\r\n";
    char *head = ld.head;
    size_t head_len = ld.head_len, body_len = ld.body_len;
    enum answer expect = ld.expect;
    ld.head = get;
    ld.head_len = sizeof get - 1;
    ld.body_len = 0;
    ld.expect = ANSWER_ANY;
    phase(ld.n_conns);
    turns_for(200);
    ld.head = head;
    ld.head_len = head_len;
    ld.body_len = body_len;
    ld.expect = expect;
    ld.n_latency = 0;
}

static int scenario_order(void)
{
    uint64_t t0, low = UINT64_MAX, displaced = 0, worst = 0;
    open_all();
    if (!ld.fresh)
        warm_connections();
    ld.limit = ld.n_conns;
    ld.done = ld.issued = 0;
    t0 = bench_now_ns();
    for (size_t i = 0; i < ld.n_conns; i++)
        if (ld.conns[i]->state == C_IDLE)
            request(ld.conns[i]);
    run_until_done();
    for (size_t i = 0; i < ld.n_conns; i++)
        low = ld.conns[i]->seq < low ? ld.conns[i]->seq : low;
    for (size_t i = 0; i < ld.n_conns; i++) {
        uint64_t at = ld.conns[i]->seq - low, off = at > i ? at - i : i - at;
        displaced += off != 0;
        worst = off > worst ? off : worst;
    }
    report_begin();
    printf(",\"fresh\":%s,\"displaced\":%" PRIu64 ",\"worst_displacement\":%" PRIu64, ld.fresh ? "true" : "false",
           displaced, worst);
    return report_end(t0);
}

/* --- start --- */

static const struct scenario {
    const char *name;
    enum answer expect;
    int (*run)(void);
    size_t conns, body;
    uint64_t requests, warmup;
} scenarios[] = {
    { "small", ANSWER_FIXED, scenario_requests, 16, 1024, 40000, 2000 },
    { "big", ANSWER_FIXED, scenario_requests, 4, 1024 * 1024, 1000, 50 },
    { "sse", ANSWER_SSE, scenario_sse, 50, 1024, 0, 0 },
    { "many", ANSWER_SSE, scenario_many, 1000, 1024, 0, 0 },
    { "large", ANSWER_BYTES, scenario_large, 1, 1024, 0, 0 },
    { "order", ANSWER_FIXED, scenario_order, 2000, 512, 0, 0 },
};

int main(int argc, char **argv)
{
    static const char *const known[] = { "--port", "--scenario", "--pid", "--cpu", "--conns", "--requests", "--warmup",
                                         "--model", "--path", "--body", "--answer", "--chunks", "--gap-us", "--size",
                                         "--hold-ms", "--bytes", "--pause-ms", "--chunked", "--fresh", "--timeout", NULL };
    struct bench_args a = { argc, argv };
    const struct scenario *s = NULL;
    bool many;
    bench_args_check(&a, known);
    ld.scenario = bench_arg(&a, "--scenario", "small");
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(ld.scenario, scenarios[i].name) == 0)
            s = &scenarios[i];
    if (!s)
        bench_die("no scenario %s", ld.scenario);
    many = strcmp(s->name, "many") == 0;
    if (bench_arg(&a, "--cpu", NULL))
        bench_pin((int)bench_arg_u64(&a, "--cpu", 0));
    bench_fd_limit();
    bench_ignore_sigpipe();
    ld.port = (int)bench_arg_u64(&a, "--port", 0);
    ld.pid = (pid_t)bench_arg_u64(&a, "--pid", 0);
    ld.model = bench_arg(&a, "--model", "bench");
    ld.path = bench_arg(&a, "--path", "/v1/chat/completions");
    ld.n_conns = bench_arg_u64(&a, "--conns", s->conns);
    ld.body_size = bench_arg_u64(&a, "--body", s->body);
    ld.answer_size = bench_arg_u64(&a, "--answer", 512);
    ld.requests = bench_arg_u64(&a, "--requests", s->requests);
    ld.warmup = bench_arg_u64(&a, "--warmup", s->warmup);
    ld.chunks = bench_arg_u64(&a, "--chunks", many ? 3 : 400);
    ld.gap_us = bench_arg_u64(&a, "--gap-us", many ? 0 : 5000);
    ld.event_size = bench_arg_u64(&a, "--size", 256);
    ld.hold_ms = bench_arg_u64(&a, "--hold-ms", many ? 4000 : 0);
    ld.bytes = bench_arg_u64(&a, "--bytes", 100u * 1024 * 1024);
    ld.pause_ms = bench_arg_u64(&a, "--pause-ms", 0);
    ld.timeout_ns = bench_arg_u64(&a, "--timeout", 120) * 1000000000u;
    ld.chunked = bench_flag(&a, "--chunked");
    ld.fresh = bench_flag(&a, "--fresh");
    ld.expect = s->expect;
    if (ld.answer_size < BENCH_ANSWER_MIN || ld.answer_size > 65536 || ld.event_size < BENCH_EVENT_MIN ||
        ld.event_size > 32768)
        bench_die("--answer must be %u to 65536, --size %u to 32768", BENCH_ANSWER_MIN, BENCH_EVENT_MIN);
    ld.ep = epoll_create1(EPOLL_CLOEXEC);
    build_body();
    build_head();
    return s->run();
}
