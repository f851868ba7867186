/* benchlib.h: what the benchmark programs share: options, clock, /proc readings, HTTP bits, the test pattern.
 *
 * What: helpers for upstream.c, load.c, relay.c and bench.c. Plain C and Linux, nothing of luaswap itself, so
 *       that the yardstick does not change with the program it measures.
 * Not:  a general HTTP parser: both ends are ours; what does not fit is an error that the caller reports.
 * Errors: everything that cannot happen on a healthy machine ends the program with a message (bench_die).
 */
#ifndef LUASWAP_BENCH_BENCHLIB_H
#define LUASWAP_BENCH_BENCHLIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__GNUC__)
#define BENCH_PRINTF(a, b) __attribute__((format(printf, a, b)))
#endif

void bench_die(const char *fmt, ...) BENCH_PRINTF(1, 2) __attribute__((noreturn));
uint64_t bench_now_ns(void); /* CLOCK_MONOTONIC: the same for every process of the machine */

/* --- options: --name value, --flag --- */
struct bench_args {
    int argc;
    char **argv;
};
const char *bench_arg(const struct bench_args *a, const char *name, const char *fallback);
uint64_t bench_arg_u64(const struct bench_args *a, const char *name, uint64_t fallback);
bool bench_flag(const struct bench_args *a, const char *name);
/* Ends the program when there is an option that `known` (ends in NULL) does not name. */
void bench_args_check(const struct bench_args *a, const char *const *known);

/* --- the machine and its processes --- */
void bench_pin(int cpu);            /* this process and its later children; < 0 = not at all */
int bench_cpus(void);
/* This process and its later children run before all ordinary ones, so that a busy machine does not show up as
 * delay. False when that is not allowed. */
bool bench_realtime(bool on);
void bench_fd_limit(void);          /* soft limit of descriptors up to the hard one */
void bench_ignore_sigpipe(void);
/* CPU time of all threads of a process, user + system, in ns. Exact for threads that sleep, at most one
 * scheduler tick late for those that run. */
uint64_t bench_cpu_ns(pid_t pid);
struct bench_mem {
    uint64_t rss_kib, hwm_kib, anon_kib, file_kib;
};
struct bench_mem bench_mem(pid_t pid);
void bench_reset_hwm(pid_t pid);    /* the peak of RSS starts anew (needs the rights of the process) */
uint64_t bench_switches(pid_t pid); /* context switches of all threads, voluntary and not */

/* --- sockets: 127.0.0.1, TCP_NODELAY, non-blocking where it says so --- */
int bench_listen(int *port, int backlog); /* *port 0 = any; gets the real one */
int bench_connect(int port);              /* blocking connect, then non-blocking; -1 = errno */
/* First of n consecutive free ports below the range from which the kernel picks ports of clients, so that
 * nothing takes them meanwhile; not the same ones twice in a row. */
int bench_free_ports(int n);

/* --- numbers --- */
void bench_sort(double *v, size_t n);
double bench_quantile(const double *sorted, size_t n, double q);

/* --- HTTP --- */
struct bench_head {
    int status;              /* response */
    char method[8];          /* request */
    char target[256];
    int64_t length;          /* Content-Length, -1 = none */
    bool chunked, close, expect;
    char bench[128];         /* value of X-Bench: "sse=10&gap_us=100" */
    size_t size;             /* bytes of the head with its blank line */
};
/* 1 = parsed, 0 = more bytes needed, -1 = not HTTP as we know it. */
int bench_head_parse(const char *buf, size_t n, bool response, struct bench_head *h);

/* A body as it comes, chunked or counted. bench_body_feed returns the bytes it used of [p, p+n) (all of them
 * unless the body ended), -1 on bad framing; decoded pieces go to `sink` (may be NULL). */
struct bench_body {
    bool chunked, until_close, done;
    uint64_t left;  /* of the body or of the chunk */
    uint64_t total; /* decoded so far */
    int state, digits;
    bool line_empty;
};
typedef void bench_sink(void *ud, const char *p, size_t n);
void bench_body_init(struct bench_body *b, const struct bench_head *h, bool response);
ssize_t bench_body_feed(struct bench_body *b, const char *p, size_t n, bench_sink *sink, void *ud);

/* Value of `name` in "a=1&b=2"; fallback when absent. */
uint64_t bench_param(const char *query, const char *name, uint64_t fallback);

/* --- what is sent --- */
/* Byte i of a ?bytes=N answer is BENCH_PATTERN[i % BENCH_PERIOD]; the array holds two periods, so that a piece
 * that starts anywhere in the first is contiguous. */
#define BENCH_PERIOD 65536u
const char *bench_pattern(void);

/* The fixed JSON answer: `size` bytes (at least BENCH_ANSWER_MIN) that hold `seq` in BENCH_SEQ_DIGITS digits at
 * BENCH_SEQ_AT. Filled into buf, which has room for `size`. */
#define BENCH_ANSWER_MIN 320u
#define BENCH_SEQ_AT 57u
#define BENCH_SEQ_DIGITS 10u
void bench_answer(char *buf, size_t size, uint64_t seq);

/* One server-sent event of exactly `size` bytes (at least BENCH_EVENT_MIN): number i, sent at t. */
#define BENCH_EVENT_MIN 128u
void bench_event(char *buf, size_t size, uint64_t i, uint64_t t_ns);
/* Reads it back; false when it is not exactly event i of that size. */
bool bench_event_read(const char *buf, size_t size, uint64_t i, uint64_t *ret_t_ns);
#define BENCH_SSE_END "data: [DONE]\n\n"

#endif
