/* bench_swap.c: how long a swap takes beyond what the old and the new process take themselves. */
#include "bench_run.h"

#include "stall.h"

#include <inttypes.h>
#include <string.h>

static char out[16384];

/* Start delays in ms: dense where a probe that backs off could be unlucky. */
static const unsigned delays[] = { 0, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 80, 100, 130, 170, 220, 280, 350, 430, 520, 610,
                                   750, 900, 1100, 1300, 1600, 2000, 2500, 3100 };
#define N_DELAYS (sizeof delays / sizeof *delays)

struct times {
    uint64_t term, exit, main, ready, request;
};

/* The last moments of each kind since t0: of the old model, and of the new one. */
static bool read_times(const char *path, uint64_t t0, const char *old, const char *new, struct times *t)
{
    char text[200], name[64], what[32];
    uint64_t at;
    int pid;
    FILE *f = fopen(path, "r");
    memset(t, 0, sizeof *t);
    if (!f)
        return false;
    while (fgets(text, sizeof text, f)) {
        if (sscanf(text, "%" SCNu64 " %63s %d %31s", &at, name, &pid, what) != 4 || at < t0)
            continue;
        if (strcmp(name, old) == 0 && strcmp(what, "term") == 0)
            t->term = at;
        else if (strcmp(name, old) == 0 && strcmp(what, "exit") == 0)
            t->exit = at;
        else if (strcmp(name, new) == 0 && strcmp(what, "main") == 0)
            t->main = at;
        else if (strcmp(name, new) == 0 && strcmp(what, "ready") == 0)
            t->ready = at;
        else if (strcmp(name, new) == 0 && strcmp(what, "request") == 0)
            t->request = at;
    }
    fclose(f);
    return t->term && t->exit && t->main && t->ready && t->request;
}

/* Lateness of a timer above everything from which on a swap says nothing about luaswap. */
#define STALL_MS 2.0

struct swap_sum {
    double all[400], stop[400], spawn[400], notice[400], worst_delay;
    size_t n;
    double stalled[400], longest_stall; /* those while the machine stood still, not in `all` */
    size_t n_stalled;
};

static bool swap_once(int port, const char *log, const char *old, const char *new, double *ret_ms, struct swap_sum *s,
                      unsigned delay)
{
    struct times t;
    uint64_t t0, t1, beyond;
    double ms;
    t0 = bench_now_ns();
    if (env_post(port, new, out, sizeof out) != 200)
        return false;
    t1 = bench_now_ns();
    if (!read_times(log, t0, old, new, &t))
        return false;
    beyond = (t1 - t0) - (t.exit - t.term) - (t.ready - t.main);
    ms = (double)beyond / 1e6;
    *ret_ms = ms;
    double stall = stall_longest(t0, t1);
    if (stall >= STALL_MS) {
        if (s->n_stalled < sizeof s->stalled / sizeof *s->stalled)
            s->stalled[s->n_stalled++] = ms;
        if (stall > s->longest_stall)
            s->longest_stall = stall;
        return true;
    }
    if (s->n < sizeof s->all / sizeof *s->all) {
        bool worst = true;
        for (size_t i = 0; i < s->n; i++)
            worst = worst && s->all[i] <= ms;
        if (worst)
            s->worst_delay = delay;
        s->all[s->n] = ms;
        s->stop[s->n] = (double)(t.term - t0) / 1e6;
        s->spawn[s->n] = ((double)t.main - (double)t.exit) / 1e6;
        s->notice[s->n++] = (double)(t.request - t.ready) / 1e6;
    }
    return true;
}

static void print_part(const char *name, double *v, size_t n)
{
    bench_sort(v, n);
    printf("    %-36s p50 %8.3f ms   max %8.3f ms\n", name, bench_quantile(v, n, 0.5), v[n - 1]);
}

static void swap_report(const char *kind, struct swap_sum *s)
{
    char name[64], more[80];
    if (!s->n)
        return;
    bench_sort(s->all, s->n);
    snprintf(name, sizeof name, "swap.%s.p50", kind);
    line(name, bench_quantile(s->all, s->n, 0.5), "ms", 0, "");
    snprintf(name, sizeof name, "swap.%s.max", kind);
    snprintf(more, sizeof more, "of %zu swaps (at a start of %.0f ms)", s->n, s->worst_delay);
    line(name, s->all[s->n - 1], "ms", 10, more);
    print_part("request to SIGTERM of the old", s->stop, s->n);
    print_part("exit of the old to main() of the new", s->spawn, s->n);
    print_part("ready to first request", s->notice, s->n);
    if (s->n_stalled == 0)
        return;
    bench_sort(s->stalled, s->n_stalled);
    printf("    apart: %zu swaps while the machine stood still (up to %.1f ms): p50 %.3f ms, max %.3f ms\n", s->n_stalled,
           s->longest_stall, bench_quantile(s->stalled, s->n_stalled, 0.5), s->stalled[s->n_stalled - 1]);
    if (s->n_stalled * 5 > s->n)
        broken("the machine stands still too often for this to say anything");
}

static size_t swap_config(char *buf, size_t cap, const char *log)
{
    char cpu[32] = "";
    size_t n;
    if (run.env.cpu_load >= 0)
        snprintf(cpu, sizeof cpu, " --cpu %d", run.env.cpu_load);
    n = (size_t)snprintf(buf, cap, "logLevel: warn\nhealthCheckTimeout: 15\nstartPort: %d\nmodels:\n",
                         bench_free_ports(2 * N_DELAYS + 1));
    for (size_t i = 0; i < N_DELAYS + 1; i++)
        for (int late = 0; late < 2; late++) {
            unsigned delay = i < N_DELAYS ? delays[i] : 0;
            char name[32];
            if (i == N_DELAYS && late)
                continue;
            if (i < N_DELAYS)
                snprintf(name, sizeof name, "%s%u", late ? "late" : "refuse", delay);
            else
                snprintf(name, sizeof name, "old");
            n += (size_t)snprintf(buf + n, cap - n,
                                  "  %s:\n    cmd: %s/bench_upstream --port ${PORT} --name %s --start-delay %u "
                                  "--start-kind %s --exit-delay %zu --log %s%s\n    proxy: http://127.0.0.1:${PORT}\n",
                                  name, run.env.bin, name, delay, late ? "503" : "refuse", i * 7 % 40, log, cpu);
        }
    return n;
}

void group_swap(void)
{
    static char config[65536];
    static struct swap_sum sums[2], back;
    static const char *const kinds[] = { "refuse", "late" };
    char log[256], name[32];
    struct proxy p;
    double ms;
    if (!run.have_luaswap || !wanted("swap"))
        return;
    printf("swap: time beyond the old process's own exit and the new one's own start, serial scheduler%s\n",
           bench_realtime(true) && stall_begin() ? "" : " (not at real-time priority: a busy machine counts as delay)");
    memset(sums, 0, sizeof sums);
    memset(&back, 0, sizeof back);
    snprintf(log, sizeof log, "%s/swap.log", run.env.dir);
    swap_config(config, sizeof config, log);
    env_luaswap(&run.env, config, true, &p);
    if (env_post(p.port, "old", out, sizeof out) != 200)
        bench_die("luaswap does not serve (%s): see %s/log", out, p.dir);
    for (size_t round = 0; round < (run.quick ? 1 : 2); round++)
        for (size_t i = 0; i < N_DELAYS; i++)
            for (int late = 0; late < 2; late++) {
                snprintf(name, sizeof name, "%s%u", kinds[late], delays[i]);
                if (!swap_once(p.port, log, "old", name, &ms, &sums[late], delays[i]) ||
                    !swap_once(p.port, log, name, "old", &ms, &back, 0)) {
                    printf("    %s: %.200s\n", name, out);
                    broken("swap");
                    env_stop(&p.pid);
                    stall_end();
                    bench_realtime(false);
                    return;
                }
            }
    env_stop(&p.pid);
    stall_end();
    bench_realtime(false);
    swap_report("connect-refused", &sums[0]);
    swap_report("health-503", &sums[1]);
    swap_report("ready-at-once", &back);
}
