/* Which models must go so that the target's memory fits beside those that stay. Works on top of the built-in plan
 * (groups, matrix), and only where sizes and a GPU sample are known. */
#include "policy/priv.h"

#include <math.h>

double fit_vram(struct policies *ps, model_id m)
{
    struct policy_model_facts f = { 0 };
    if (!ps->host->model_facts || !ps->host->model_facts(ps->host->ud, m, &f))
        return 0;
    return f.vram_mb > 0 ? f.vram_mb : 0;
}

static double room_mb(struct policies *ps)
{
    struct policy_gpu rows[16];
    size_t n = ps->host->gpu ? ps->host->gpu(ps->host->ud, rows, ARRAY_LEN(rows)) : 0;
    double room = 0;
    for (size_t i = 0; i < n && i < ARRAY_LEN(rows); i++)
        room += rows[i].total_mb - (rows[i].foreign_mb > 0 ? rows[i].foreign_mb : 0);
    return room;
}

static bool goes(const struct ops_plan *plan, model_id m)
{
    for (size_t i = 0; i < plan->n_evict; i++)
        if (plan->evict[i] == m)
            return true;
    return false;
}

/* May it be stopped for somebody's load? */
static bool stoppable(const struct sched *s, const struct smodel *m, model_id target)
{
    return m->self != target && model_alive(m) && !m->swap && m->victim_of == 0 && !m->conf.pinned &&
           !(m->conf.group_persistent && s->models[target]->conf.group != m->conf.group);
}

enum ops_answer fit_plan(struct policies *ps, const struct sched *s, model_id target, struct ops_plan *plan,
                         double (*cost)(void *ud, model_id victim), void *ud)
{
    if (s->models[target]->state == MODEL_READY)
        return OPS_VALUE;
    double want = fit_vram(ps, target), room = want > 0 ? room_mb(ps) : 0;
    if (want <= 0 || room <= 0)
        return OPS_VALUE;
    double used = want;
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (m->self != target && !goes(plan, m->self) && (m->victim_of == 0 || m->swap))
            used += fit_vram(ps, m->self);
    }
    while (used > room) {
        /* The idle before the busy, then by cost. */
        model_id best = MODEL_NONE;
        double least = 0;
        bool best_busy = false;
        for (struct list *it = s->present.next; it != &s->present; it = it->next) {
            const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
            if (goes(plan, m->self) || !stoppable(s, m, target) || fit_vram(ps, m->self) <= 0)
                continue;
            double c = cost(ud, m->self);
            if (isinf(c) && c > 0)
                continue;
            bool busy = m->inflight > 0;
            if (best == MODEL_NONE || busy < best_busy || (busy == best_busy && c < least)) {
                best = m->self;
                least = c;
                best_busy = busy;
            }
        }
        if (best == MODEL_NONE) {
            if (plan->n_evict == 0 && used - want <= 0)
                return OPS_VALUE; /* alone and still too large: let the load itself say so */
            plan->hold_ms = SCHED_HEARTBEAT_MS;
            return OPS_HOLD;
        }
        plan->evict[plan->n_evict++] = best;
        used -= fit_vram(ps, best);
    }
    return OPS_VALUE;
}
