/* bench.c: the driver of the macro benchmark: luaswap beside nginx, in alternating runs, reported as ratios.
 *
 *   bench_run --luaswap PATH [--nginx PATH] [--bin DIR] [--pairs N] [--only a,b] [--quick] [--relay]
 *             [--scheduler fifo|serial] [--json FILE] [--gate] [--keep] [--no-pin]
 *
 * What is measured, and how, is in docs/benchmarks.md. Exit: 0 all done; 1 a target was missed and --gate was
 * given; 2 something did not work (a wrong answer counts as that).
 */
#include "bench_run.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct bench_run run;

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

void line(const char *name, double value, const char *unit, double target, const char *more)
{
    char goal[48] = "";
    if (target > 0)
        snprintf(goal, sizeof goal, "(at most %g)", target);
    printf("  %-34s %10.3f %-6s %-16s %-6s %s\n", name, value, unit, goal, verdict(value, target), more);
    fflush(stdout);
    json("  \"%s\": {\"value\": %.4f, \"unit\": \"%s\", \"target\": %g}", name, value, unit, target);
}

void broken(const char *what)
{
    run.failed++;
    printf("  %-34s FAILED\n", what);
    fflush(stdout);
}

bool wanted(const char *group)
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

static bool for_information(const char *name)
{
    return strcmp(name, "relay") == 0 || strcmp(name, "answers") == 0 || strcmp(name, "notes") == 0;
}

static void cpu_case(const struct cpu_case *c, struct proxy *proxies, size_t n)
{
    static struct series s[4];
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
        snprintf(name, sizeof name, "%s.%s/%s", c->name, s[k].proxy->name, s[0].proxy->name);
        snprintf(more, sizeof more, "[%.3f to %.3f]", s[k].ratio[0], s[k].ratio[run.pairs - 1]);
        line(name, ratio, "x", for_information(s[k].proxy->name) ? 0 : c->target, more);
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

/* --- what a policy costs: luaswap with one beside luaswap without --- */

/* A typical one: looks at the size, a header and the streaming flag, and sends elsewhere what belongs elsewhere. The
 * requests here stay with the model that they ask for, as most do with most policies. */
static const char typical_text[] =
    "local C = luaswap.config\n"
    "return {\n"
    "  api = 1, name = 'typical',\n"
    "  settings = { long = { type = 'integer', default = 8000 } },\n"
    "  route = function(req)\n"
    "    if (req.tokens_in or 0) > C.long then return { model = 'long' } end\n"
    "    if req:header 'x-batch' then return { model = 'batch', priority = -2 } end\n"
    "    if req.stream then return { model = 'bench', priority = 1 } end\n"
    "  end,\n"
    "}\n";
/* The same, with an answer for each request. */
static const char answers_text[] =
    "local C = luaswap.config\n"
    "return {\n"
    "  api = 1, name = 'answers',\n"
    "  settings = { long = { type = 'integer', default = 8000 } },\n"
    "  route = function(req)\n"
    "    if (req.tokens_in or 0) > C.long then return { model = 'long' } end\n"
    "    if req:header 'x-batch' then return { model = 'batch', priority = -2 } end\n"
    "    if req.stream then return { model = 'bench', priority = 1 } end\n"
    "    return { model = 'bench' }\n"
    "  end,\n"
    "}\n";
/* And one with everything: four hooks for each request, the client's key, the tokens of the answer. */
static const char notes_text[] =
    "local served, busy = {}, 0\n"
    "return {\n"
    "  api = 1, name = 'notes',\n"
    "  settings = { long = { type = 'integer', default = 8000 } },\n"
    "  route = function(r)\n"
    "    if r.has_images or (r.tokens_in or 0) > luaswap.config.long then return { model = 'bench', priority = -1 } end\n"
    "    if r:header 'x-batch' then return { model = 'bench', priority = -2 } end\n"
    "    return { model = 'bench' }\n"
    "  end,\n"
    "  on_request = function(r)\n"
    "    if (served[r.key or ''] or 0) > 1e9 then return luaswap.reject(429, 'quota') end\n"
    "    return { priority = r.stream and 1 or 0 }\n"
    "  end,\n"
    "  on_serve_start = function() busy = busy + 1 end,\n"
    "  on_serve_done = function(r)\n"
    "    busy = busy - 1\n"
    "    local k = r.key or ''\n"
    "    served[k] = (served[k] or 0) + 1\n"
    "  end,\n"
    "}\n";

static const struct cpu_case policy_case = {
    "policy", "request of 1 KiB, with a policy that routes (typical; answers: each of them) or also admits and counts (notes), beside none",
    "--scenario small --requests 40000 --warmup 4000", "--scenario small --requests 8000 --warmup 1000", PORT_DEFAULT, 1.05, false
};

static void group_policy(void)
{
    static const struct {
        const char *name, *text;
    } with[] = { { "none", NULL }, { "typical", typical_text }, { "answers", answers_text }, { "notes", notes_text } };
    struct proxy p[4];
    char config[4096], path[300];
    if (!wanted("policy") || !run.have_luaswap)
        return;
    for (size_t k = 0; k < 4; k++) {
        env_bench_config(&run.env, "fifo", config, sizeof config);
        if (with[k].text) {
            snprintf(path, sizeof path, "%s/%s.lua", run.env.dir, with[k].name);
            FILE *f = fopen(path, "w");
            if (!f || fputs(with[k].text, f) < 0 || fclose(f) != 0)
                bench_die("%s: %s", path, strerror(errno));
            snprintf(config + strlen(config), sizeof config - strlen(config), "policies:\n  - file: %s\n", path);
        }
        env_luaswap(&run.env, config, true, &p[k]);
        p[k].name = with[k].name;
        if (env_post(p[k].port, "bench", out, sizeof out) != 200)
            bench_die("luaswap does not serve (%s): see %s/log", out, p[k].dir);
    }
    cpu_case(&policy_case, p, 4);
    for (size_t k = 0; k < 4; k++)
        if (env_stop(&p[k].pid) != 0)
            broken("exit code of luaswap");
}

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
    group_policy();
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
