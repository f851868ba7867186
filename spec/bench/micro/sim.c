/* sim.c: how many requests a second the simulator replays, per CPU second. Not part of a test run.
 *
 * bench_micro_sim [TRACE.jsonl] [POLICY.lua]...: without arguments policies/day.trace.jsonl, a
 * synthetic trace of 20,000 requests, the C rows serial and fifo and the seven shipped policies (run it from the top of
 * the tree). Each figure is requests over CPU time of this thread for making the world, loading the policy, running and
 * summing up; the best of several rounds, since the machine is shared. "parse" is reading the trace. Targets: C rows
 * 200,000, policies 50,000.
 */
#include "sim/trace_file.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool run_once(const struct sim_trace *t, enum sched_kind kind, const char *file, struct replay_result *ret)
{
    struct config_policy one = { .file = str_c(file ? file : ""), .settings_json = S("{}"), .memory_mb = 16,
                                 .instructions = 250000, .wall_ms = 50, .starve_after_ms = 600000, .hold_limit_ms = 60000 };
    struct replay_conf c = { .kind = kind, .serial_reorder = file != NULL, .seed = 1, .files = &one, .n_files = file != NULL,
                             .pairs = POLICY_PAIRS_SORTED };
    struct replay *r;
    struct error e = { 0 };
    int rc = sim_trace_replay(t, &c, &r, &e);
    if (!rc) {
        rc = replay_run(r, SIM_FOREVER, &e);
        replay_result(r, ret);
        replay_free(r);
    }
    if (rc)
        printf("%s: %s\n", file ? file : "built-in", e.msg);
    return rc == 0;
}

static void measure(const char *trace, const struct sim_trace *t, enum sched_kind kind, const char *file, double target)
{
    double best = 0, spent = 0;
    int rounds = getenv("BENCH_ROUNDS") ? atoi(getenv("BENCH_ROUNDS")) : 200;
    struct replay_result r = { 0 };
    for (int round = 0; round < rounds && (round < (rounds < 3 ? rounds : 3) || spent < 0.6); round++) {
        double t0 = cpu_s();
        if (!run_once(t, kind, file, &r))
            return;
        double took = cpu_s() - t0;
        spent += took;
        if (best == 0 || took < best)
            best = took;
    }
    const char *base = file ? strrchr(file, '/') : NULL;
    double rate = (double)t->n_requests / best;
    printf("%-10s %-18s %9.0f req/s  %6.2f us each  %zu events, %llu calls%s%s\n", trace,
           file ? (base ? base + 1 : file) : sched_kind_name(kind), rate, best * 1e6 / (double)t->n_requests, r.events,
           (unsigned long long)r.policy.calls, rate >= target ? "" : "  BELOW",
           r.policy.errors + r.policy.budget + r.policy.ejections ? "  FAULTS" : "");
}

int main(int argc, char **argv)
{
    static const char *const shipped[] = { "residency", "aging", "fair", "greedydual", "warm-route", "gather", "office-hours" };
    const char *path = argc > 1 ? argv[1] : "policies/day.trace.jsonl";
    struct error e = { 0 };
    struct sim_trace day, synth;
    if (sim_trace_read(path, &day, &e) < 0) {
        printf("%s\n", e.msg);
        return 2;
    }
    struct strbuf b = STRBUF(1u << 28);
    sim_trace_synth(&b, 20000, 5, 7, 5);
    double t0 = cpu_s();
    if (sim_trace_parse(strbuf_str(&b), &synth, &e) < 0) {
        printf("%s\n", e.msg);
        return 2;
    }
    double took = cpu_s() - t0;
    printf("%-10s %-18s %9.0f req/s  %6.2f us each\n", "synth", "parse", 20000 / took, took * 1e6 / 20000);
    strbuf_fini(&b);
    const struct {
        const char *name;
        const struct sim_trace *t;
    } traces[] = { { "day", &day }, { "synth", &synth } };
    for (size_t i = 0; i < 2; i++) {
        if (argc <= 2) {
            measure(traces[i].name, traces[i].t, SCHED_KIND_SERIAL, NULL, 200000);
            measure(traces[i].name, traces[i].t, SCHED_KIND_FIFO, NULL, 200000);
        }
        for (int k = 2; k < argc; k++)
            measure(traces[i].name, traces[i].t, traces[i].t->kind, argv[k], 50000);
        for (size_t k = 0; argc <= 2 && k < sizeof(shipped) / sizeof(shipped[0]); k++) {
            char file[80];
            snprintf(file, sizeof(file), "policies/%s.lua", shipped[k]);
            measure(traces[i].name, traces[i].t, traces[i].t->kind, file, 50000);
        }
    }
    sim_trace_fini(&day);
    sim_trace_fini(&synth);
    return 0;
}
