/* serial: strict arrival order, one request at a time, one model in memory. That the first in line is the next,
 * that nothing runs beside it, and who inherits a load whose request left, is the dispatcher's promise for this kind
 * (dispatch.c, swap.c); the row says whom a load pushes out: all others, whatever groups and sets allow. */
#include "sched/view.h"

static enum ops_answer plan_swap(void *ctx, const struct sched *s, model_id target,
                                 struct ops_plan *ret)
{
    ret->n_evict = 0;
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (m->self != target && model_alive(m))
            ret->evict[ret->n_evict++] = m->self;
    }
    return OPS_VALUE;
}

const struct policy_ops serial_ops = {
    .name = "serial",
    .flags = OPS_PLAN_READY,
    .plan_swap = plan_swap,
};
