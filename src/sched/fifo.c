/* fifo: the first in line that can move; what is ready is served in parallel, who wants what is being loaded
 * joins. Who must go for a load is the planner's business (evict.h). Decision for decision the reference. */
#include "sched/view.h"

static enum ops_answer pick_next(void *ctx, const struct sched *s, struct ops_pick *ret)
{
    const struct ticket *t = sched_cand_first(s, CAND_ANY, MODEL_NONE);
    if (!t)
        return OPS_NONE;
    ret->ticket = t->id;
    return OPS_VALUE;
}

static enum ops_answer plan_swap(void *ctx, const struct sched *s, model_id target,
                                 struct ops_plan *ret)
{
    size_t n = view_running(s, target, false, s->scratch_running);
    ret->n_evict = s->evict->plan(s->evict_ctx, s, target, s->scratch_running, n, ret->evict);
    return OPS_VALUE;
}

const struct policy_ops fifo_ops = {
    .name = "fifo",
    .flags = OPS_PLAN_READY | OPS_CLASSIC,
    .pick_next = pick_next,
    .plan_swap = plan_swap,
};
