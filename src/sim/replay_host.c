/* replay_host.c: what policies see of a replayed world, and what they ask it for. */
#include "sim/replay_priv.h"

#include "base/check.h"
#include "sched/view.h"

static void host_log(void *ud, enum policy_log_level level, const char *policy, const char *text)
{
    struct replay *r = ud;
    if (r->conf.log)
        r->conf.log(r->conf.log_ud, policy, text);
}

static void host_wall(void *ud, msec now, int64_t *unix_s, int32_t *zone_s)
{
    const struct replay *r = ud;
    *unix_s = r->conf.start_unix + now / 1000;
    *zone_s = r->conf.zone_s;
}

static size_t host_gpu(void *ud, struct policy_gpu *out, size_t max)
{
    const struct replay *r = ud;
    if (r->conf.gpu_mb <= 0 || max == 0)
        return 0;
    double used = r->foreign_mb;
    for (size_t i = 0; r->sim && i < r->conf.n_models; i++)
        if (sim_process(r->sim, (model_id)i) != MODEL_STOPPED)
            used += r->models[i].vram_mb;
    *out = (struct policy_gpu){ .total_mb = r->conf.gpu_mb, .used_mb = used, .foreign_mb = r->foreign_mb,
                                .sampled_at = r->sim ? sim_now(r->sim) : 0 };
    memcpy(out->name, "simulated", sizeof("simulated"));
    return 1;
}

static bool host_facts(void *ud, model_id m, struct policy_model_facts *out)
{
    const struct replay *r = ud;
    if (m >= r->conf.n_models)
        return false;
    const struct replay_model *k = &r->models[m];
    *out = (struct policy_model_facts){ .vram_mb = k->vram_mb, .load_s = k->load_s, .stop_s = k->stop_s, .meta_json = k->meta_json };
    return true;
}

static void host_preload(void *ud, model_id m, bool evict, const char *why)
{
    struct replay *r = ud;
    sim_preload(r->sim, sim_now(r->sim), m, evict);
}

static void host_unload(void *ud, model_id m, const char *why)
{
    struct replay *r = ud;
    sim_unload(r->sim, sim_now(r->sim), &m, 1);
}

void replay_host_kick(struct replay *r)
{
    struct sched_event ev = { .kind = SCHED_TICK, .model = MODEL_NONE };
    sim_noise(r->sim, sim_now(r->sim), &ev);
}

static void host_kick(void *ud)
{
    replay_host_kick(ud);
}

static void host_cancel(void *ud, ticket_id t, const struct policy_answer *refusal)
{
    struct replay *r = ud;
    if (t >= 1 && t <= r->n_reqs && r->reqs[t - 1].state == 'w') {
        r->reqs[t - 1].state = 'r';
        r->reqs[t - 1].ended = sim_now(r->sim);
    }
    sim_leave(r->sim, sim_now(r->sim), t);
}

void replay_host_fill(struct replay *r)
{
    r->host = (struct policy_host){ .ud = r, .log = host_log, .wall = host_wall, .preload = host_preload, .unload = host_unload,
                                    .kick = host_kick, .cancel = host_cancel, .model_facts = host_facts };
    if (r->conf.gpu_mb > 0)
        r->host.gpu = host_gpu;
}

int replay_hook_fault(void *ud, enum policy_hook h)
{
    struct replay *r = ud;
    if (r->conf.instructions && ++r->hook_calls % 256 == 0 && r->ps) {
        struct policies_stats s;
        policies_stats(r->ps, &s);
        r->too_long = s.instructions_sum > r->conf.instructions;
    }
    if (r->too_long)
        return 3;
    if (!r->conf.hook_faults || rand_below(&r->faults, 10000) >= r->conf.hook_faults)
        return 0;
    return 1 + (int)rand_below(&r->faults, 2);
}
