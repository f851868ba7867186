#include "benchlib.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("bench: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(2);
}

uint64_t bench_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- options --- */

const char *bench_arg(const struct bench_args *a, const char *name, const char *fallback)
{
    for (int i = 1; i < a->argc; i++)
        if (strcmp(a->argv[i], name) == 0) {
            if (i + 1 >= a->argc)
                bench_die("%s needs a value", name);
            return a->argv[i + 1];
        }
    return fallback;
}

uint64_t bench_arg_u64(const struct bench_args *a, const char *name, uint64_t fallback)
{
    const char *s = bench_arg(a, name, NULL);
    char *end;
    uint64_t v;
    if (!s)
        return fallback;
    errno = 0;
    v = strtoull(s, &end, 10);
    if (*s < '0' || *s > '9' || *end || errno)
        bench_die("%s: not a number: %s", name, s);
    return v;
}

bool bench_flag(const struct bench_args *a, const char *name)
{
    for (int i = 1; i < a->argc; i++)
        if (strcmp(a->argv[i], name) == 0)
            return true;
    return false;
}

void bench_args_check(const struct bench_args *a, const char *const *known)
{
    for (int i = 1; i < a->argc; i++) {
        bool found = strncmp(a->argv[i], "--", 2) != 0;
        for (size_t k = 0; !found && known[k]; k++)
            found = strcmp(a->argv[i], known[k]) == 0;
        if (!found)
            bench_die("unknown option %s", a->argv[i]);
    }
}

/* --- machine --- */

void bench_pin(int cpu)
{
    cpu_set_t set;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        bench_die("cannot run on CPU %d: %s", cpu, strerror(errno));
}

bool bench_realtime(bool on)
{
    struct sched_param p = { .sched_priority = on ? 10 : 0 };
    return sched_setscheduler(0, on ? SCHED_RR : SCHED_OTHER, &p) == 0;
}

int bench_cpus(void)
{
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

void bench_fd_limit(void)
{
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }
}

void bench_ignore_sigpipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

/* A whole file of /proc as text; false when it is gone. */
static bool proc_text(const char *path, char *buf, size_t cap)
{
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (n + 1 < cap) {
        ssize_t r = read(fd, buf + n, cap - 1 - n);
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    buf[n] = 0;
    close(fd);
    return n > 0;
}

static uint64_t text_field(const char *text, const char *name)
{
    const char *p = strstr(text, name);
    return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

typedef void task_fn(const char *dir, uint64_t *sum);

static uint64_t over_tasks(pid_t pid, task_fn *fn)
{
    char path[320];
    uint64_t sum = 0;
    struct dirent *de;
    DIR *d;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    d = opendir(path);
    if (!d)
        bench_die("process %d is gone", (int)pid);
    while ((de = readdir(d)))
        if (de->d_name[0] != '.') {
            snprintf(path, sizeof path, "/proc/%d/task/%.200s", (int)pid, de->d_name);
            fn(path, &sum);
        }
    closedir(d);
    return sum;
}

static void task_cpu(const char *dir, uint64_t *sum)
{
    char path[400], text[256];
    snprintf(path, sizeof path, "%s/schedstat", dir);
    if (proc_text(path, text, sizeof text))
        *sum += strtoull(text, NULL, 10);
}

static void task_switches(const char *dir, uint64_t *sum)
{
    char path[400], text[4096];
    snprintf(path, sizeof path, "%s/status", dir);
    /* "voluntary_..." is also the end of "nonvoluntary_...": the newline tells them apart */
    if (proc_text(path, text, sizeof text))
        *sum += text_field(text, "\nvoluntary_ctxt_switches:") + text_field(text, "\nnonvoluntary_ctxt_switches:");
}

uint64_t bench_cpu_ns(pid_t pid)
{
    return over_tasks(pid, task_cpu);
}

uint64_t bench_switches(pid_t pid)
{
    return over_tasks(pid, task_switches);
}

struct bench_mem bench_mem(pid_t pid)
{
    char path[64], text[4096];
    struct bench_mem m = { 0 };
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (!proc_text(path, text, sizeof text))
        bench_die("process %d is gone", (int)pid);
    m.rss_kib = text_field(text, "\nVmRSS:");
    m.hwm_kib = text_field(text, "\nVmHWM:");
    m.anon_kib = text_field(text, "\nRssAnon:");
    m.file_kib = text_field(text, "\nRssFile:");
    return m;
}

void bench_reset_hwm(pid_t pid)
{
    char path[64];
    int fd;
    snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)pid);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "5", 1) != 1)
        fprintf(stderr, "bench: cannot reset the peak RSS of %d\n", (int)pid);
    close(fd);
}

/* --- sockets --- */

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

int bench_listen(int *port, int backlog)
{
    int on = 1;
    struct sockaddr_in a = loopback(*port);
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, backlog) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        bench_die("port %d: %s", *port, strerror(errno));
    *port = ntohs(a.sin_port);
    return fd;
}

static bool port_free(int port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool ok;
    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ok = bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0;
    close(fd);
    return ok;
}

int bench_free_ports(int n)
{
    enum { LOW = 10000, HIGH = 32000 };
    static int next;
    if (!next)
        next = LOW + (int)((unsigned)getpid() * 131u % (HIGH - LOW));
    for (int tries = 0, run = 0; tries < 2 * (HIGH - LOW); tries++) {
        if (next >= HIGH) {
            next = LOW;
            run = 0;
        }
        run = port_free(next++) ? run + 1 : 0;
        if (run == n)
            return next - n;
    }
    bench_die("no %d free ports", n);
}

int bench_connect(int port)
{
    int on = 1, saved;
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

/* --- numbers --- */

static int double_cmp(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_sort(double *v, size_t n)
{
    if (n)
        qsort(v, n, sizeof *v, double_cmp);
}

double bench_quantile(const double *sorted, size_t n, double q)
{
    double at, low;
    size_t i;
    if (n == 0)
        return 0;
    at = q * (double)(n - 1);
    i = (size_t)at;
    low = at - (double)i;
    return i + 1 < n ? sorted[i] * (1 - low) + sorted[i + 1] * low : sorted[n - 1];
}

/* --- HTTP --- */

static bool field_is(const char *p, size_t n, const char *name)
{
    return strlen(name) == n && strncasecmp(p, name, n) == 0;
}

static bool value_has(const char *p, size_t n, const char *token)
{
    size_t len = strlen(token);
    for (size_t i = 0; i + len <= n; i++)
        if (strncasecmp(p + i, token, len) == 0)
            return true;
    return false;
}

static int head_field(struct bench_head *h, const char *p, size_t n)
{
    const char *colon = memchr(p, ':', n), *v;
    size_t name_len, vn;
    if (!colon)
        return -1;
    name_len = (size_t)(colon - p);
    v = colon + 1;
    vn = n - name_len - 1;
    while (vn && (*v == ' ' || *v == '\t'))
        v++, vn--;
    switch (*p | 0x20) {
    case 'c':
        if (field_is(p, name_len, "content-length")) {
            h->length = 0;
            for (size_t i = 0; i < vn; i++) {
                if (v[i] < '0' || v[i] > '9' || h->length > INT64_MAX / 16)
                    return -1;
                h->length = h->length * 10 + (v[i] - '0');
            }
        } else if (field_is(p, name_len, "connection") && value_has(v, vn, "close")) {
            h->close = true;
        }
        break;
    case 't':
        if (field_is(p, name_len, "transfer-encoding"))
            h->chunked = value_has(v, vn, "chunked");
        break;
    case 'e':
        if (field_is(p, name_len, "expect"))
            h->expect = true;
        break;
    case 'x':
        if (field_is(p, name_len, "x-bench")) {
            if (vn >= sizeof h->bench)
                return -1;
            memcpy(h->bench, v, vn);
            h->bench[vn] = 0;
        }
        break;
    default:
        break;
    }
    return 0;
}

static int request_line(struct bench_head *h, const char *p, size_t n)
{
    const char *sp = memchr(p, ' ', n), *sp2;
    size_t left;
    if (!sp || (size_t)(sp - p) >= sizeof h->method)
        return -1;
    memcpy(h->method, p, (size_t)(sp - p));
    left = n - (size_t)(sp - p) - 1;
    sp2 = memchr(sp + 1, ' ', left);
    if (!sp2 || (size_t)(sp2 - sp) > sizeof h->target)
        return -1;
    memcpy(h->target, sp + 1, (size_t)(sp2 - sp) - 1);
    if (n >= 8 && memcmp(p + n - 8, "HTTP/1.0", 8) == 0)
        h->close = true;
    return 0;
}

int bench_head_parse(const char *buf, size_t n, bool response, struct bench_head *h)
{
    const char *end = memmem(buf, n, "\r\n\r\n", 4), *p, *eol;
    if (!end)
        return 0;
    memset(h, 0, sizeof *h);
    h->length = -1;
    h->size = (size_t)(end - buf) + 4;
    eol = memmem(buf, h->size, "\r\n", 2);
    if (response) {
        if (eol - buf < 12 || memcmp(buf, "HTTP/1.", 7) != 0)
            return -1;
        h->status = atoi(buf + 9);
    } else if (request_line(h, buf, (size_t)(eol - buf)) != 0) {
        return -1;
    }
    for (p = eol + 2; p < end + 2; p = eol + 2) {
        eol = memmem(p, (size_t)(end + 2 - p), "\r\n", 2);
        if (!eol || head_field(h, p, (size_t)(eol - p)) != 0)
            return -1;
    }
    return 1;
}

enum { CHUNK_SIZE, CHUNK_EXT, CHUNK_LF, CHUNK_DATA, CHUNK_CR, CHUNK_DATA_LF, CHUNK_TRAILER, CHUNK_TRAILER_LF };

void bench_body_init(struct bench_body *b, const struct bench_head *h, bool response)
{
    memset(b, 0, sizeof *b);
    b->chunked = h->chunked;
    if (h->chunked)
        return;
    if (h->length >= 0)
        b->left = (uint64_t)h->length;
    else if (response)
        b->until_close = true;
    b->done = !b->until_close && b->left == 0;
}

/* Bytes of framing; false when they are wrong. */
static bool chunk_char(struct bench_body *b, char c)
{
    switch (b->state) {
    case CHUNK_SIZE:
        if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')) {
            b->left = b->left * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
            return ++b->digits <= 15;
        }
        b->state = c == '\r' ? CHUNK_LF : CHUNK_EXT;
        return b->digits > 0 && (c == '\r' || c == ';' || c == ' ');
    case CHUNK_EXT:
        if (c == '\r')
            b->state = CHUNK_LF;
        return true;
    case CHUNK_LF:
        b->state = b->left ? CHUNK_DATA : CHUNK_TRAILER;
        b->line_empty = true;
        return c == '\n';
    case CHUNK_CR:
        b->state = CHUNK_DATA_LF;
        return c == '\r';
    case CHUNK_DATA_LF:
        b->state = CHUNK_SIZE;
        b->digits = 0;
        b->left = 0;
        return c == '\n';
    case CHUNK_TRAILER:
        if (c == '\r')
            b->state = CHUNK_TRAILER_LF;
        else
            b->line_empty = false;
        return true;
    case CHUNK_TRAILER_LF:
        if (b->line_empty)
            b->done = true;
        b->line_empty = true;
        b->state = CHUNK_TRAILER;
        return c == '\n';
    default:
        return false;
    }
}

ssize_t bench_body_feed(struct bench_body *b, const char *p, size_t n, bench_sink *sink, void *ud)
{
    size_t i = 0;
    while (i < n && !b->done) {
        size_t take = n - i;
        if (b->chunked && b->state != CHUNK_DATA) {
            if (!chunk_char(b, p[i++]))
                return -1;
            continue;
        }
        if (!b->until_close && take > b->left)
            take = (size_t)b->left;
        if (sink)
            sink(ud, p + i, take);
        i += take;
        b->total += take;
        if (b->until_close)
            continue;
        b->left -= take;
        if (b->left == 0 && b->chunked)
            b->state = CHUNK_CR;
        else if (b->left == 0)
            b->done = true;
    }
    return (ssize_t)i;
}

uint64_t bench_param(const char *query, const char *name, uint64_t fallback)
{
    size_t len = strlen(name);
    const char *p = query;
    while (p && *p) {
        if (strncmp(p, name, len) == 0 && p[len] == '=')
            return strtoull(p + len + 1, NULL, 10);
        p = strchr(p, '&');
        if (p)
            p++;
    }
    return fallback;
}

/* --- what is sent --- */

const char *bench_pattern(void)
{
    static char pattern[2 * BENCH_PERIOD];
    if (pattern[1] == 0)
        for (uint32_t i = 0; i < 2 * BENCH_PERIOD; i++) {
            uint32_t k = i % BENCH_PERIOD;
            pattern[i] = (char)('!' + (k * 31 + (k >> 7)) % 90);
        }
    return pattern;
}

void bench_answer(char *buf, size_t size, uint64_t seq)
{
    static const char head[] = "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"seq\":\"%010" PRIu64
                               "\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
                               "\"assistant\",\"content\":\"";
    static const char tail[] = "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,"
                               "\"completion_tokens\":34,\"total_tokens\":46}}";
    char tmp[BENCH_ANSWER_MIN];
    size_t n = (size_t)snprintf(tmp, sizeof tmp, head, seq % 10000000000u), t = sizeof tail - 1;
    memcpy(buf, tmp, n);
    for (size_t i = n; i < size - t; i++)
        buf[i] = (i - n) % 6 == 5 ? ' ' : (char)('a' + i % 26);
    memcpy(buf + size - t, tail, t);
}

void bench_event(char *buf, size_t size, uint64_t i, uint64_t t_ns)
{
    static const char tail[] = "\"}}]}\n\n";
    char tmp[BENCH_EVENT_MIN];
    size_t t = sizeof tail - 1;
    size_t n = (size_t)snprintf(tmp, sizeof tmp, "data: {\"i\":\"%010" PRIu64 "\",\"t\":\"%020" PRIu64
                                "\",\"choices\":[{\"delta\":{\"content\":\"", i % 10000000000u, t_ns);
    memcpy(buf, tmp, n);
    memset(buf + n, 'x', size - t - n);
    memcpy(buf + size - t, tail, t);
}

bool bench_event_read(const char *buf, size_t size, uint64_t i, uint64_t *ret_t_ns)
{
    static char want[65536];
    uint64_t t;
    if (size < BENCH_EVENT_MIN || size > sizeof want || memcmp(buf, "data: {\"i\":\"", 12) != 0)
        return false;
    t = strtoull(buf + 29, NULL, 10);
    bench_event(want, size, i, t);
    *ret_t_ns = t;
    return memcmp(want, buf, size) == 0;
}
