/* bench.c: the driver of the macro benchmark: luaswap beside nginx, in alternating runs, reported as ratios.
 *
 *   bench_run --luaswap PATH [--nginx PATH] [--bin DIR] [--pairs N] [--only a,b] [--quick] [--relay]
 *             [--scheduler fifo|serial] [--json FILE] [--gate] [--keep] [--no-pin]
 *
 * What is measured, and how, is in docs/benchmarks.md. Exit: 0 all done; 1 a target was missed and --gate was
 * given; 2 something did not work (a wrong answer counts as that).
 */
#include "benchenv.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    struct env env;
    const char *only;
    size_t pairs;
    bool quick, relay, have_luaswap;
    unsigned missed, failed;
    FILE *json;
    bool json_comma;
} run;

static char out[16384];

/* --- report --- */

static void json(const char *fmt, ...) BENCH_PRINTF(1, 2);
static void json(const char *fmt, ...)
{
    va_list ap;
    if (!run.json)
        return;
    fputs(run.json_comma ? ",\n" : "{\n", run.json);
    run.json_comma = true;
    va_start(ap, fmt);
    vfprintf(run.json, fmt, ap);
    va_end(ap);
}

static const char *verdict(double value, double target)
{
    if (target <= 0)
        return "";
    if (value <= target)
        return "ok";
    run.missed++;
    return "MISSED";
}

static void line(const char *name, double value, const char *unit, double target, const char *more)
{
    char goal[48] = "";
    if (target > 0)
        snprintf(goal, sizeof goal, "(at most %g)", target);
    printf("  %-34s %10.3f %-6s %-16s %-6s %s\n", name, value, unit, goal, verdict(value, target), more);
    fflush(stdout);
    json("  \"%s\": {\"value\": %.4f, \"unit\": \"%s\", \"target\": %g}", name, value, unit, target);
}

static void broken(const char *what)
{
    run.failed++;
    printf("  %-34s FAILED\n", what);
    fflush(stdout);
}

static bool wanted(const char *group)
{
    size_t n = strlen(group);
    if (!run.only)
        return true;
    for (const char *p = run.only; *p;) {
        size_t k = strcspn(p, ",");
        if (k == n && memcmp(p, group, n) == 0)
            return true;
        p += k + (p[k] == ',');
    }
    return false;
}

static double median(double *v, size_t n)
{
    bench_sort(v, n);
    return bench_quantile(v, n, 0.5);
}

/* --- CPU time per unit: pairs of runs --- */

enum port_kind { PORT_DEFAULT, PORT_STREAM, PORT_MEMORY };
static const struct cpu_case {
    const char *name, *unit, *words, *quick;
    enum port_kind nginx_port;
    double target;
    bool extra; /* only when it is asked for by name */
} cpu_cases[] = {
    { "small", "request of 1 KiB, 16 connections", "--scenario small --requests 40000 --warmup 4000",
      "--scenario small --requests 8000 --warmup 1000", PORT_DEFAULT, 1.2, false },
    { "big", "request of 1 MiB, nginx as it comes (body through a file)", "--scenario big --requests 600 --warmup 40",
      "--scenario big --requests 150 --warmup 10", PORT_DEFAULT, 1.5, false },
    { "big-memory", "request of 1 MiB, nginx with a 4 MiB body buffer", "--scenario big --requests 600 --warmup 40",
      "--scenario big --requests 150 --warmup 10", PORT_MEMORY, 0, false },
    { "big-stream", "request of 1 MiB, nginx with proxy_request_buffering off",
      "--scenario big --requests 600 --warmup 40", "--scenario big --requests 150 --warmup 10", PORT_STREAM, 0, false },
    { "sse", "event, 50 streams, one event each 5 ms", "--scenario sse --conns 50 --chunks 400 --gap-us 5000",
      "--scenario sse --conns 50 --chunks 100 --gap-us 5000", PORT_DEFAULT, 1.1, false },
    { "sse-fast", "event, 8 streams as fast as they come", "--scenario sse --conns 8 --chunks 20000 --gap-us 0",
      "--scenario sse --conns 8 --chunks 5000 --gap-us 0", PORT_DEFAULT, 0, true },
    { "download", "MiB of an answer of 100 MiB", "--scenario large", "--scenario large", PORT_DEFAULT, 0, false },
};

static int port_of(const struct proxy *p, enum port_kind kind)
{
    return kind == PORT_STREAM ? p->port_stream : kind == PORT_MEMORY ? p->port_memory : p->port;
}

#define PAIRS_MAX 101

struct series {
    struct proxy *proxy;
    double v[PAIRS_MAX], ratio[PAIRS_MAX];
    double first_us, transit_us, transit_p99_us, jitter_us, per_s;
};

static bool one_run(struct series *s, const struct cpu_case *c, size_t i)
{
    const char *words = run.quick ? c->quick : c->words;
    const char *transit;
    if (!env_load(&run.env, port_of(s->proxy, c->nginx_port), s->proxy->pid, words, out, sizeof out))
        return false;
    s->v[i] = env_num(out, "cpu_us_per_unit");
    s->per_s = env_num(out, "per_s");
    transit = strstr(out, "\"first_us\"");
    s->first_us = transit ? env_num(transit, "p50") : NAN;
    transit = strstr(out, "\"transit_us\"");
    s->transit_us = transit ? env_num(transit, "p50") : NAN;
    s->transit_p99_us = transit ? env_num(transit, "p99") : NAN;
    transit = strstr(out, "\"jitter_us\"");
    s->jitter_us = transit ? env_num(transit, "p50") : NAN;
    return !isnan(s->v[i]);
}

static void print_delays(const struct series *s)
{
    if (!isnan(s->transit_us))
        printf("    %-10s first event after %.0f us; an event's way %.0f us (p50), %.0f us (p99); gap error %.0f us (p50)\n",
               s->proxy->name, s->first_us, s->transit_us, s->transit_p99_us, s->jitter_us);
    else if (!isnan(s->per_s))
        printf("    %-10s %.0f/s in the last run\n", s->proxy->name, s->per_s);
}

static void cpu_case(const struct cpu_case *c, struct proxy *proxies, size_t n)
{
    static struct series s[3];
    memset(s, 0, sizeof s);
    printf("%s: CPU time of the proxy per %s\n", c->name, c->unit);
    for (size_t k = 0; k < n; k++)
        s[k].proxy = &proxies[k];
    for (size_t i = 0; i < run.pairs; i++)
        for (size_t k = 0; k < n; k++) {
            if (!one_run(&s[k], c, i)) {
                broken(c->name);
                return;
            }
            s[k].ratio[i] = s[k].v[i] / s[0].v[i];
        }
    for (size_t k = 0; k < n; k++) {
        char name[64], more[120];
        double ratio = median(s[k].ratio, run.pairs), value = median(s[k].v, run.pairs);
        snprintf(name, sizeof name, "%s.%s", c->name, s[k].proxy->name);
        snprintf(more, sizeof more, "[%.3f to %.3f]", s[k].v[0], s[k].v[run.pairs - 1]);
        line(name, value, "us", 0, more);
        if (k == 0)
            continue;
        snprintf(name, sizeof name, "%s.%s/nginx", c->name, s[k].proxy->name);
        snprintf(more, sizeof more, "[%.3f to %.3f]", s[k].ratio[0], s[k].ratio[run.pairs - 1]);
        line(name, ratio, "x", strcmp(s[k].proxy->name, "luaswap") == 0 ? c->target : 0, more);
    }
    for (size_t k = 0; k < n; k++)
        print_delays(&s[k]);
}

static bool cpu_wanted(void)
{
    for (size_t i = 0; i < sizeof cpu_cases / sizeof *cpu_cases; i++)
        if (wanted(cpu_cases[i].name))
            return true;
    return false;
}

static void group_cpu(void)
{
    struct proxy p[3];
    size_t n = 0;
    char config[2048];
    pid_t up;
    int up_port;
    if (!cpu_wanted())
        return;
    up_port = env_upstream(&run.env, &up);
    env_nginx(&run.env, up_port, &p[n++]);
    if (run.have_luaswap) {
        env_bench_config(&run.env, run.env.scheduler, config, sizeof config);
        env_luaswap(&run.env, config, true, &p[n]);
        if (env_post(p[n].port, "bench", out, sizeof out) != 200)
            bench_die("luaswap does not serve (%s): see %s/log", out, p[n].dir);
        n++;
    }
    if (run.relay)
        env_relay(&run.env, up_port, &p[n++]);
    for (size_t i = 0; i < sizeof cpu_cases / sizeof *cpu_cases; i++)
        if (wanted(cpu_cases[i].name) && (run.only || !cpu_cases[i].extra))
            cpu_case(&cpu_cases[i], p, n);
    while (n)
        if (env_stop(&p[--n].pid) != 0 && strcmp(p[n].name, "luaswap") == 0)
            broken("exit code of luaswap");
    env_stop(&up);
}

/* --- memory --- */

struct mem_result {
    double idle, open, growth, growth_slow, after, idle_anon;
};

/* One fresh process: warmed a little, then 1,000 streams, then the large answers. */
static bool memory_of(struct proxy *p, struct mem_result *r)
{
    r->idle = (double)bench_mem(p->pid).rss_kib;
    r->idle_anon = (double)bench_mem(p->pid).anon_kib;
    if (!env_load(&run.env, p->port, 0, "--scenario small --requests 200 --warmup 0", out, sizeof out) ||
        !env_load(&run.env, p->port, p->pid, "--scenario large", out, sizeof out))
        return false;
    r->growth = env_num(out, "growth_kib");
    if (!env_load(&run.env, p->port, p->pid, "--scenario large --pause-ms 500", out, sizeof out))
        return false;
    r->growth_slow = env_num(out, "growth_kib");
    if (!env_load(&run.env, p->port, p->pid, "--scenario many --conns 1000 --hold-ms 3000", out, sizeof out))
        return false;
    r->open = env_num(out, "kib_per_stream");
    r->after = env_num(out, "rss_after_kib");
    return true;
}

static void memory_case(bool luaswap, int up_port)
{
    double idle[3], anon[3], open[3], growth[3], slow[3], after[3];
    size_t n = run.quick ? 1 : 3;
    const char *name = luaswap ? "luaswap" : "nginx";
    char text[64], config[2048], more[64];
    for (size_t i = 0; i < n; i++) {
        struct proxy p;
        struct mem_result r;
        bool ok;
        if (luaswap) {
            env_bench_config(&run.env, run.env.scheduler, config, sizeof config);
            env_luaswap(&run.env, config, true, &p);
            usleep(300000);
        } else {
            env_nginx(&run.env, up_port, &p);
        }
        ok = memory_of(&p, &r);
        env_stop(&p.pid);
        if (!ok) {
            broken("memory");
            return;
        }
        idle[i] = r.idle, anon[i] = r.idle_anon, open[i] = r.open, growth[i] = r.growth, slow[i] = r.growth_slow;
        after[i] = r.after;
    }
    snprintf(text, sizeof text, "memory.idle.%s", name);
    snprintf(more, sizeof more, "(%.0f KiB of it anonymous)", median(anon, n));
    line(text, median(idle, n) * 1024 / 1e6, "MB", luaswap ? 6 : 0, more);
    snprintf(text, sizeof text, "memory.stream.%s", name);
    snprintf(more, sizeof more, "(RSS %.1f MB after they ended)", median(after, n) * 1024 / 1e6);
    line(text, median(open, n), "KiB", luaswap ? 16 : 0, more);
    snprintf(text, sizeof text, "memory.large.%s", name);
    line(text, median(growth, n), "KiB", luaswap ? 1024 : 0, "");
    snprintf(text, sizeof text, "memory.large-slow.%s", name);
    line(text, median(slow, n), "KiB", luaswap ? 1024 : 0, "(client reads nothing for 0.5 s)");
}

static void group_memory(void)
{
    pid_t up;
    int up_port;
    if (!wanted("memory"))
        return;
    printf("memory: idle, growth over an answer of 100 MiB, per open stream of 1,000; fresh processes\n");
    up_port = env_upstream(&run.env, &up);
    memory_case(false, up_port);
    if (run.have_luaswap)
        memory_case(true, up_port);
    env_stop(&up);
}

/* --- start and idle --- */

static void group_start(void)
{
    double v[101];
    size_t n = run.quick ? 5 : 31;
    char config[2048], more[80];
    if (!run.have_luaswap || !wanted("start"))
        return;
    bench_realtime(true);
    env_bench_config(&run.env, "serial", config, sizeof config);
    for (size_t i = 0; i < n; i++) {
        struct proxy p;
        uint64_t t0 = bench_now_ns();
        int fd = -1;
        env_luaswap(&run.env, config, false, &p);
        while ((fd = bench_connect(p.port)) < 0 && bench_now_ns() - t0 < 10000000000u)
            usleep(50);
        v[i] = (double)(bench_now_ns() - t0) / 1e6;
        if (fd < 0)
            bench_die("luaswap does not listen: see %s/log", p.dir);
        close(fd);
        if (env_stop(&p.pid) != 0)
            broken("exit code of luaswap");
    }
    bench_realtime(false);
    bench_sort(v, n);
    snprintf(more, sizeof more, "[%.2f to %.2f], fork to first connect", v[0], v[n - 1]);
    line("start.listening", bench_quantile(v, n, 0.5), "ms", 10, more);
}

/* A timer that was put off or cleared may still fire once and do nothing, for example the one of a health probe:
 * `settle` seconds are for that. */
static void idle_case(const char *name, struct proxy *p, unsigned settle)
{
    uint64_t seconds = run.quick ? 3 : 10, before, cpu;
    char more[80];
    sleep(settle);
    before = bench_switches(p->pid);
    cpu = bench_cpu_ns(p->pid);
    sleep((unsigned)seconds);
    before = bench_switches(p->pid) - before;
    cpu = bench_cpu_ns(p->pid) - cpu;
    snprintf(more, sizeof more, "in %" PRIu64 " s; %.3f ms of CPU time", seconds, (double)cpu / 1e6);
    line(name, (double)before, "", 0, more);
    if (before)
        run.missed++, printf("    MISSED: it woke up\n");
}

static void group_idle(void)
{
    struct proxy p;
    char config[2048];
    int held[4];
    if (!run.have_luaswap || !wanted("idle"))
        return;
    env_bench_config(&run.env, "serial", config, sizeof config);
    env_luaswap(&run.env, config, true, &p);
    idle_case("idle.wakeups.no-model", &p, 1);
    if (env_post(p.port, "bench", out, sizeof out) != 200)
        bench_die("luaswap does not serve (%s): see %s/log", out, p.dir);
    for (int i = 0; i < 4; i++)
        held[i] = bench_connect(p.port);
    idle_case("idle.wakeups.model+4-connections", &p, 16);
    for (int i = 0; i < 4; i++)
        close(held[i]);
    env_stop(&p.pid);
}

/* --- swaps --- */

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

struct swap_sum {
    double all[400], stop[400], spawn[400], notice[400], worst_delay;
    size_t n;
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

static void group_swap(void)
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
           bench_realtime(true) ? "" : " (not at real-time priority: a busy machine counts as delay)");
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
                    bench_realtime(false);
                    return;
                }
            }
    env_stop(&p.pid);
    bench_realtime(false);
    swap_report("connect-refused", &sums[0]);
    swap_report("health-503", &sums[1]);
    swap_report("ready-at-once", &back);
}

/* --- order --- */

static void group_order(void)
{
    struct proxy p;
    char config[2048];
    double displaced = 0, answers = 0;
    if (!run.have_luaswap || !wanted("order"))
        return;
    printf("order: 2,000 connections send one request each, together; serial scheduler\n");
    env_bench_config(&run.env, "serial", config, sizeof config);
    env_luaswap(&run.env, config, true, &p);
    if (env_post(p.port, "bench", out, sizeof out) != 200)
        bench_die("luaswap does not serve (%s): see %s/log", out, p.dir);
    for (int i = 0; i < (run.quick ? 2 : 10); i++) {
        if (!env_load(&run.env, p.port, 0, i % 2 ? "--scenario order --fresh" : "--scenario order", out, sizeof out)) {
            broken("order");
            break;
        }
        displaced += env_num(out, "displaced");
        answers += env_num(out, "answers");
    }
    env_stop(&p.pid);
    snprintf(out, sizeof out, "of %.0f", answers);
    line("order.displaced", displaced, "", 0, out);
    if (displaced > 0)
        run.missed++, printf("    MISSED: arrival order was not kept\n");
}

/* --- start --- */

static void usage_check(const struct bench_args *a)
{
    static const char *const known[] = { "--luaswap", "--nginx", "--bin", "--pairs", "--only", "--quick", "--relay",
                                         "--scheduler", "--json", "--gate", "--keep", "--no-pin", NULL };
    bench_args_check(a, known);
}

int main(int argc, char **argv)
{
    struct bench_args a = { argc, argv };
    const char *file = bench_arg(&a, "--json", NULL);
    bool pin = !bench_flag(&a, "--no-pin") && bench_cpus() >= 2;
    usage_check(&a);
    run.env.luaswap = bench_arg(&a, "--luaswap", NULL);
    run.env.nginx = bench_arg(&a, "--nginx", "nginx");
    run.env.bin = bench_arg(&a, "--bin", ".");
    run.env.scheduler = bench_arg(&a, "--scheduler", "fifo");
    run.env.cpu_proxy = pin ? 1 : -1;
    run.env.cpu_load = pin ? 0 : -1;
    run.env.keep = bench_flag(&a, "--keep");
    run.quick = bench_flag(&a, "--quick");
    run.relay = bench_flag(&a, "--relay");
    run.only = bench_arg(&a, "--only", NULL);
    run.pairs = bench_arg_u64(&a, "--pairs", run.quick ? 3 : 7);
    run.have_luaswap = run.env.luaswap && access(run.env.luaswap, X_OK) == 0;
    if (run.pairs < 1 || run.pairs > PAIRS_MAX)
        bench_die("--pairs: 1 to %d", PAIRS_MAX);
    if (run.env.luaswap && !run.have_luaswap)
        bench_die("%s: %s", run.env.luaswap, strerror(errno));
    if (file && !(run.json = fopen(file, "w")))
        bench_die("%s: %s", file, strerror(errno));
    env_init(&run.env);
    bench_pin(run.env.cpu_load);
    printf("proxies on CPU %d, load and upstream on CPU %d; %zu pairs; scheduler %s for throughput\n", run.env.cpu_proxy,
           run.env.cpu_load, run.pairs, run.env.scheduler);
    group_cpu();
    group_memory();
    group_start();
    group_idle();
    group_swap();
    group_order();
    json("  \"missed\": %u,\n  \"failed\": %u\n}\n", run.missed, run.failed);
    if (run.json)
        fclose(run.json);
    if (run.env.keep)
        printf("kept: %s\n", run.env.dir);
    env_fini(&run.env);
    printf("%u missed, %u failed\n", run.missed, run.failed);
    if (run.failed)
        return 2;
    return run.missed && bench_flag(&a, "--gate") ? 1 : 0;
}
