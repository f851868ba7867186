/* process_rig_test.c: see process_rig.h; and the test that the rig itself sees what it should. */
#include "process_rig.h"

#include "base/log.h"
#include "base/rand.h"
#include "process/tree.h"
#include "spec.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct strbuf logged;

static void log_here(void *ud, enum log_level level, str scope, str text)
{
    strbuf_addf(&logged, "%s " STR_FMT ": " STR_FMT "\n", log_level_name(level), STR_ARG(scope),
                STR_ARG(text));
}

str rig_log(void)
{
    return strbuf_str(&logged);
}

static void on_state(void *ud, struct proc *p, const struct proc_event *ev)
{
    struct rig *g = ud;
    g->last = *ev;
    snprintf(g->last_text, sizeof g->last_text, "%s", ev->text);
    strbuf_addf(&g->lives, "%s%s>%s", g->lives.len ? " " : "", proc_state_name(ev->from),
                proc_state_name(ev->to));
    if (ev->tag)
        strbuf_addf(&g->lives, "(%" PRIu64 ")", ev->tag);
    if (ev->code)
        strbuf_addf(&g->lives, "!%s", err_name(ev->code) + 4);
    io_loop_stop(g->loop);
}

static void on_output(void *ud, struct proc *p, str bytes)
{
    struct rig *g = ud;
    g->out_bytes += bytes.len;
    strbuf_add(&g->out, bytes);
    io_loop_stop(g->loop);
}

static void on_closed(void *ud, struct proc *p)
{
    struct rig *g = ud;
    g->closed = true;
    io_loop_stop(g->loop);
}

static void on_limit(void *ud)
{
    struct rig *g = ud;
    g->late = true;
    io_loop_stop(g->loop);
}

void rig_conf(struct rig *g, struct proc_conf *conf, const char *cmd)
{
    static str env[1];
    uint64_t n;
    *g = (struct rig){ 0 };
    rand_bytes(&n, sizeof n);
    snprintf(g->tag, sizeof g->tag, "SPEC_TAG=%016" PRIx64, n);
    env[0] = str_c(g->tag);
    *conf = (struct proc_conf){
        .id = S("rig"),
        .cmd = str_c(cmd),
        .proxy = S("http://127.0.0.1:1"),
        .check_endpoint = S("none"),
        .health_timeout_ms = 15000,
        .env = env,
        .n_env = 1,
    };
}

void rig_open(struct rig *g, const struct proc_conf *conf)
{
    static const struct proc_cb cb = { on_state, on_output, on_closed };
    strbuf_init(&g->lives, 1 << 20);
    strbuf_init(&g->out, 1 << 20);
    strbuf_fini(&logged);
    strbuf_init(&logged, 1 << 20);
    log_set_sink(log_here, NULL);
    log_set_level(LOG_DEBUG);
    g->loop = io_loop_new();
    g->limit = io_timer_new(g->loop, "limit of a test", on_limit, g);
    g->p = proc_new(g->loop, conf, &cb, g);
}

void rig_start(struct rig *g, const char *cmd)
{
    struct proc_conf conf;
    rig_conf(g, &conf, cmd);
    rig_open(g, &conf);
    proc_start(g->p, 1);
    rig_until_life(g, "starting>ready(1)");
}

void rig_turns(struct rig *g, msec ms)
{
    io_timer_set(g->limit, ms);
    for (g->late = false; !g->late;)
        io_loop_run(g->loop);
}

void rig_until(struct rig *g, bool (*done)(struct rig *g), const char *what)
{
    g->late = false;
    io_timer_set(g->limit, 10000);
    while (!done(g)) {
        if (g->late)
            spec_miss(__FILE__, __LINE__,
                      "waited in vain for %s; life " STR_FMT "; last text %s; output " STR_FMT,
                      what, STR_ARG(strbuf_str(&g->lives)), g->last_text,
                      STR_ARG(str_sub(strbuf_str(&g->out), 0, 1000)));
        io_loop_run(g->loop);
    }
    io_timer_clear(g->limit);
}

static const char *wanted;

static bool life_ends(struct rig *g)
{
    return str_ends(strbuf_str(&g->lives), str_c(wanted));
}

void rig_until_life(struct rig *g, const char *end)
{
    wanted = end;
    rig_until(g, life_ends, end);
}

static bool output_has(struct rig *g)
{
    return str_find(strbuf_str(&g->out), str_c(wanted)) >= 0;
}

void rig_until_output(struct rig *g, const char *part)
{
    wanted = part;
    rig_until(g, output_has, part);
}

static bool is_closed(struct rig *g)
{
    return g->closed;
}

size_t rig_alive(const struct rig *g)
{
    struct tree t;
    size_t n = 0;
    tree_init(&t);
    CHECK_TRUE(tree_scan(&t));
    for (size_t i = 0; i < t.n; i++)
        n += t.procs[i].state != 'Z' && tree_has_env(t.procs[i].pid, str_c(g->tag));
    tree_fini(&t);
    return n;
}

void rig_wait_alive(const struct rig *g, size_t at_least)
{
    struct timespec nap = { 0, 2000000 };
    for (msec until = clock_msec() + 5000; rig_alive(g) < at_least;) {
        if (clock_msec() > until)
            spec_miss(__FILE__, __LINE__, "%zu alive, not %zu", rig_alive(g), at_least);
        nanosleep(&nap, NULL);
    }
}

bool rig_gone_within(const struct rig *g, msec ms)
{
    struct timespec nap = { 0, 2000000 };
    for (msec until = clock_msec() + ms; rig_alive(g);) {
        if (clock_msec() > until)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

void rig_end(struct rig *g)
{
    proc_close(g->p);
    rig_until(g, is_closed, "closed");
    CHECK_UINT(0, rig_alive(g));
    io_timer_free(g->limit);
    struct strbuf open = STRBUF(4096);
    io_loop_handles(g->loop, &open);
    if (str_find(strbuf_str(&open), S(" active")) >= 0 &&
        str_find(strbuf_str(&open), S("process")) >= 0)
        spec_miss(__FILE__, __LINE__, "open: " STR_FMT, STR_ARG(strbuf_str(&open)));
    strbuf_fini(&open);
    io_loop_free(g->loop);
    log_set_sink(NULL, NULL);
    log_set_level(LOG_INFO);
    strbuf_fini(&logged);
    strbuf_fini(&g->lives);
    strbuf_fini(&g->out);
}

TEST(the_rig_sees_a_process_and_its_end_from_outside)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    CHECK_UINT(1, rig_alive(&g));
    CHECK_TRUE(proc_pid(g.p) > 0);
    rig_end(&g);
}
