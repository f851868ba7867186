/* hostile_ops.h: a row of decisions drawn by lot: foreign tickets, victims that do not run, holds without an
 * end, refusals. Whatever it answers, the dispatcher's invariants must stand. */
#ifndef LUASWAP_SPEC_HOSTILE_OPS_H
#define LUASWAP_SPEC_HOSTILE_OPS_H

#include "base/rand.h"
#include "sched/view.h"

#include <math.h>

struct hostile {
    struct rand_state r;
    size_t invalid, stalls, started, done, serves, serves_done;
};

static inline uint64_t hostile_below(struct hostile *h, uint64_t n)
{
    return rand_below(&h->r, n);
}

static inline enum ops_answer hostile_pick(void *ctx, const struct sched *s, struct ops_pick *ret)
{
    struct hostile *h = ctx;
    const struct ticket *t = sched_cand_first(s, CAND_ANY, MODEL_NONE);
    switch (hostile_below(h, 8)) {
    case 0:
        return OPS_NONE;
    case 1:
        ret->hold_ms = 0;
        return OPS_HOLD;
    case 2:
        ret->hold_ms = (msec)hostile_below(h, 200);
        return OPS_HOLD;
    case 3:
        ret->hold_ms = 1000000;
        return OPS_HOLD;
    case 4:
        ret->ticket = hostile_below(h, 1000);
        return OPS_VALUE;
    case 5:
        for (const struct ticket *n; t && (n = sched_cand_next(s, t, CAND_COLD, MODEL_NONE)); t = n)
            continue;
        break;
    default:
        break;
    }
    ret->ticket = t ? t->id : 0;
    return OPS_VALUE;
}

static inline enum ops_answer hostile_plan(void *ctx, const struct sched *s, model_id target,
                                           struct ops_plan *ret)
{
    struct hostile *h = ctx;
    ret->when = (enum plan_when)hostile_below(h, 3);
    ret->grace_ms = (msec)hostile_below(h, 100);
    switch (hostile_below(h, 6)) {
    case 0:
        return OPS_NONE;
    case 1:
        ret->hold_ms = (msec)hostile_below(h, 50);
        return OPS_HOLD;
    case 2:
        if (hostile_below(h, 4) > 0)
            return OPS_NONE;
        ret->code = ERR_BUSY;
        ret->status = 418;
        return OPS_REJECT;
    case 3:
        for (size_t i = 0; i < s->n_models; i++)
            if (hostile_below(h, 2))
                ret->evict[ret->n_evict++] = (model_id)hostile_below(h, s->n_models + 2);
        return OPS_VALUE;
    default: {
        enum plan_when when = ret->when;
        sched_builtin_plan(s, target, ret);
        ret->when = when;
        return OPS_VALUE;
    }
    }
}

static inline enum ops_answer hostile_cost(void *ctx, const struct sched *s, model_id victim,
                                           model_id target, double *ret)
{
    struct hostile *h = ctx;
    *ret = hostile_below(h, 10) == 0 ? INFINITY : 1;
    return OPS_VALUE;
}

static inline enum ops_answer hostile_score(void *ctx, const struct sched *s,
                                            const struct ticket *t, double *ret)
{
    struct hostile *h = ctx;
    *ret = hostile_below(h, 10) == 0 ? NAN : (double)hostile_below(h, 5);
    return OPS_VALUE;
}

static inline enum ops_answer hostile_ttl(void *ctx, const struct sched *s, model_id m, msec *ret)
{
    struct hostile *h = ctx;
    *ret = (msec)hostile_below(h, 300) - 50;
    return OPS_VALUE;
}

static inline void hostile_note(void *ctx, const struct sched *s, const struct sched_note *n)
{
    struct hostile *h = ctx;
    h->invalid += n->kind == NOTE_INVALID;
    h->stalls += n->kind == NOTE_STALL;
    h->started += n->kind == NOTE_SWAP_START;
    h->done += n->kind == NOTE_SWAP_DONE;
    h->serves += n->kind == NOTE_SERVE_START;
    h->serves_done += n->kind == NOTE_SERVE_DONE;
}

/* Flags vary with n. */
static inline struct policy_ops hostile_row(unsigned n)
{
    return (struct policy_ops){ .name = "hostile",
                                .flags = n & 7,
                                .notes = ~0u,
                                .pick_next = n & 8 ? NULL : hostile_pick,
                                .plan_swap = hostile_plan,
                                .score = hostile_score,
                                .evict_cost = hostile_cost,
                                .idle_ttl = hostile_ttl,
                                .note = hostile_note };
}

#endif
