/* policy.c: what a Lua policy costs per call. Not part of a test run.
 *
 * Prints nanoseconds per call (median of 21 batches) and the p99.9 of single calls for: an absent hook, an empty
 * note (the gate alone), a typical note, pick_next with q:first() at 1, 64, 500 and 1,000 queued, a plan. Targets:
 * absent 5 ns, gate 150, typical note 400, pick_next at 500 1 us, p99.9 of a note 10 us.
 */
#include "policy/policy.h"

#include "base/mem.h"
#include "sched/ops.h"
#include "sched/view.h"

#include <stdio.h>
#include <unistd.h>

#define BATCHES 21
#define CALLS 4000

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct bench {
    struct sched *s;
    struct policies *ps;
    struct sched_actions out;
};

static struct policies *load(const struct policy_host *host, const char *text)
{
    char path[] = "/tmp/benchXXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    fputs(text, f);
    fclose(f);
    struct config_policy file = { .file = str_c(path), .settings_json = S("{}"), .starve_after_ms = 600000, .hold_limit_ms = 60000 };
    struct policies_conf conf = { .files = &file, .n_files = 1, .scheduler = "fifo", .seed = 1, .host = host };
    struct policies *ps = NULL;
    struct error e = { 0 };
    if (policies_new(&conf, false, 0, &ps, &e) < 0)
        printf("%s\n", e.msg);
    unlink(path);
    return ps;
}

static void queue(struct bench *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sched_event ev = { .kind = SCHED_ARRIVE, .now = 1000, .ticket = i + 1, .model = (model_id)(i % 2) };
        b->out.len = 0;
        sched_post(b->s, &ev, &b->out);
    }
}

enum what { PICK, PLAN, NOTE };

static void call(struct bench *b, enum what w, model_id *evict)
{
    const struct policy_ops *row = b->s->ops;
    struct ops_pick pick = { 0 };
    struct ops_plan plan = { .evict = evict };
    struct sched_note note = { .kind = NOTE_MODEL, .model = 0, .old = MODEL_STARTING, .new = MODEL_READY };
    switch (w) {
    case PICK:
        if (row && row->pick_next)
            row->pick_next(b->ps, b->s, &pick);
        break;
    case PLAN: row->plan_swap(b->ps, b->s, 1, &plan); break;
    case NOTE:
        if (row && row->notes & 1u << NOTE_MODEL)
            row->note(b->ps, b->s, &note);
        break;
    }
}

static void measure(const char *name, const char *text, size_t queued, enum what w)
{
    struct policy_host host = { 0 };
    struct sched_model models[2] = { { .id = S("alpha"), .group_swap = true, .group_exclusive = true, .limit = 100000 },
                                     { .id = S("beta"), .group_swap = true, .group_exclusive = true, .limit = 100000 } };
    struct sched_conf conf = { .kind = SCHED_KIND_FIFO, .models = models, .n_models = 2 };
    struct bench b = { .s = sched_new(&conf) };
    queue(&b, queued + 2);
    b.ps = load(&host, text);
    if (!b.ps)
        return;
    policies_attach(b.ps, b.s, 1000);
    b.s->round++;
    model_id evict[4];
    double batch[BATCHES], *one = mem_calloc(CALLS * BATCHES, sizeof(*one));
    size_t n = 0;
    for (size_t k = 0; k < BATCHES; k++) {
        uint64_t t0 = clock_nsec();
        for (size_t i = 0; i < CALLS; i++)
            call(&b, w, evict);
        batch[k] = (double)(clock_nsec() - t0) / CALLS;
        for (size_t i = 0; i < CALLS; i++) {
            uint64_t t = clock_nsec();
            call(&b, w, evict);
            one[n++] = (double)(clock_nsec() - t);
            if (i % 8 == 0)
                policies_idle(b.ps, 200);
        }
    }
    qsort(batch, BATCHES, sizeof(*batch), by_value);
    qsort(one, n, sizeof(*one), by_value);
    printf("%-44s %9.1f ns   p99.9 %8.2f us   max %8.1f us\n", name, batch[BATCHES / 2], one[n - n / 1000] / 1000, one[n - 1] / 1000);
    free(one);
    policies_free(b.ps);
    sched_free(b.s);
    sched_actions_fini(&b.out);
}

#define POLICY(members) "local S = luaswap.state S.n = 0 return { api = 1, name = 'bench', " members " }"

int main(void)
{
    measure("absent hook", POLICY("tick = function() end"), 0, NOTE);
    measure("gate: empty note", POLICY("on_model = function() end"), 0, NOTE);
    measure("typical note: 3 fields, a table write", POLICY("on_model = function(m, new) if m.ready or new then S[m.id] = m.inflight end S.n = S.n + 1 end"), 0, NOTE);
    measure("note that allocates", POLICY("on_model = function(m, new, old) S.last = { new = new, old = old, t = { m.id } } end"), 0, NOTE);
    static const size_t depths[] = { 1, 64, 500, 1000 };
    for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
        char name[80];
        snprintf(name, sizeof(name), "pick_next: q:first(), %zu queued", depths[i]);
        measure(name, POLICY("pick_next = function(q) return q:first() end"), depths[i], PICK);
    }
    measure("pick_next: first('ready') or first(), 500", POLICY("pick_next = function(q) return q:first('ready') or q:first() end"), 500, PICK);
    measure("pick_next: Lua scan of 500", POLICY("pick_next = function(q) return q:best(function(r) return r.age end) end"), 500, PICK);
    measure("plan_swap: a fresh table", POLICY("plan_swap = function(m) return { evict = {}, when = 'idle' } end"), 1, PLAN);
    return 0;
}
