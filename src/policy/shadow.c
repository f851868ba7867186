/* Policies in shadow: asked beside those that decide, compared, and not listened to. */
#include "policy/priv.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define SCORED_MAX 256 /* of the line that scores are compared for */

static bool watches(const struct policy *p, enum policy_hook h)
{
    return p->shadow && p->state == PS_ACTIVE && (p->present & 1u << h);
}

bool shadow_any(const struct policies *ps, enum policy_hook h)
{
    for (size_t i = 0; i < ps->n; i++)
        if (watches(ps->at[i], h))
            return true;
    return false;
}

static void differs(struct policy *p, enum policy_hook h, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void differs(struct policy *p, enum policy_hook h, const char *fmt, ...)
{
    p->disagree[h]++;
    if (p->n_diffs == POLICY_DIFFS)
        return;
    char *at = p->diffs[p->n_diffs++];
    size_t size = sizeof(p->diffs[0]);
    int n = snprintf(at, size, "%lld %s", (long long)p->ps->now, hook_name(h));
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(at + n, size - (size_t)n, fmt, ap);
    va_end(ap);
}

/* ---- the order ---- */

static void compare_pick(struct policy *p, ticket_id active)
{
    struct ops_pick other = { 0 };
    enum verdict v = ops_ask_pick(p, &other);
    if (v == V_ABSENT || v >= V_ERROR)
        return;
    ticket_id mine = v == V_VALUE ? other.ticket : v == V_HOLD ? 0 : active;
    if (mine == active)
        p->agree[POLICY_PICK_NEXT]++;
    else
        differs(p, POLICY_PICK_NEXT, ": ticket %llu, here %llu", (unsigned long long)active, (unsigned long long)mine);
}

/* Would its scores have put the same one first? */
static void compare_score(struct policy *p, const struct sched *s, ticket_id active)
{
    ticket_id mine = 0;
    double top = -INFINITY;
    size_t n = 0;
    for (const struct ticket *t = sched_cand_first(s, CAND_ANY, MODEL_NONE); t && n < SCORED_MAX;
         t = sched_cand_next(s, t, CAND_ANY, MODEL_NONE), n++) {
        double score;
        enum verdict v = ops_ask_score(p, preq_get(p->ps, t), t, &score);
        if (v >= V_ERROR)
            return;
        if (v != V_VALUE)
            score = 0;
        if (score > top) {
            top = score;
            mine = t->id;
        }
    }
    if (n < 2) /* nothing to choose */
        return;
    if (mine == active)
        p->agree[POLICY_SCORE]++;
    else
        differs(p, POLICY_SCORE, ": ticket %llu, here %llu", (unsigned long long)active, (unsigned long long)mine);
}

void shadow_pick(struct policies *ps, const struct sched *s, ticket_id active)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (watches(p, POLICY_PICK_NEXT))
            compare_pick(p, active);
        else if (watches(p, POLICY_SCORE) && active)
            compare_score(p, s, active);
    }
}

/* ---- victims ---- */

static bool same_plan(const struct ops_plan *a, const struct ops_plan *b)
{
    if (a->n_evict != b->n_evict)
        return false;
    for (size_t i = 0; i < a->n_evict; i++) {
        bool found = false;
        for (size_t k = 0; k < b->n_evict; k++)
            found = found || a->evict[i] == b->evict[k];
        if (!found)
            return false;
    }
    return true;
}

static void compare_plan(struct policy *p, const struct sched *s, model_id target, const struct ops_plan *active)
{
    struct ops_plan other = { .evict = p->ps->scratch2 };
    enum verdict v = ops_ask_plan(p, target, &other);
    if (v >= V_ERROR)
        return;
    if (v == V_NONE || (v == V_VALUE && same_plan(active, &other)))
        p->agree[POLICY_PLAN_SWAP]++;
    else
        differs(p, POLICY_PLAN_SWAP, " " STR_FMT ": %zu victims, here %s%zu", STR_ARG(s->models[target]->conf.id), active->n_evict,
                v == V_HOLD ? "hold, " : "", v == V_VALUE ? other.n_evict : 0);
}

/* The built-in plans once more, with the ranks of this one. */
static void compare_cost(struct policy *p, const struct sched *s, model_id target, const struct ops_plan *active)
{
    struct policies *ps = p->ps;
    struct policy *owner = ps->owner[POLICY_EVICT_COST], *holder = ps->holder;
    struct ops_plan other = { .evict = ps->scratch2 };
    const struct hook_stats *st = &p->stats[POLICY_EVICT_COST];
    uint64_t asked = st->n, failed = st->errors + st->budget + st->memory + st->invalid;
    ps->owner[POLICY_EVICT_COST] = p;
    enum ops_answer a = ops_builtin_plan(ps, s, target, &other);
    ps->owner[POLICY_EVICT_COST] = owner;
    ps->holder = holder;
    if (st->n == asked || st->errors + st->budget + st->memory + st->invalid != failed) /* nobody had to choose, or it could not */
        return;
    if (a == OPS_VALUE && same_plan(active, &other))
        p->agree[POLICY_EVICT_COST]++;
    else if (a == OPS_VALUE && other.n_evict > 0 && active->n_evict > 0)
        differs(p, POLICY_EVICT_COST, " " STR_FMT ": first " STR_FMT ", here " STR_FMT, STR_ARG(s->models[target]->conf.id),
                STR_ARG(s->models[active->evict[0]]->conf.id), STR_ARG(s->models[other.evict[0]]->conf.id));
    else
        differs(p, POLICY_EVICT_COST, " " STR_FMT ": %zu victims, here %s", STR_ARG(s->models[target]->conf.id), active->n_evict,
                a == OPS_HOLD ? "hold" : "other ones");
}

void shadow_plan(struct policies *ps, const struct sched *s, model_id target, const struct ops_plan *active, bool builtin)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (watches(p, POLICY_PLAN_SWAP))
            compare_plan(p, s, target, active);
        else if (builtin && watches(p, POLICY_EVICT_COST))
            compare_cost(p, s, target, active);
    }
}

/* ---- idle models ---- */

void shadow_ttl(struct policies *ps, const struct sched *s, model_id m, msec active)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        msec mine = active;
        if (!watches(p, POLICY_IDLE_TTL) || ops_ask_ttl(p, m, &mine) >= V_ERROR)
            continue;
        if (mine == active)
            p->agree[POLICY_IDLE_TTL]++;
        else
            differs(p, POLICY_IDLE_TTL, " " STR_FMT ": %lld ms, here %lld", STR_ARG(s->models[m]->conf.id), (long long)active,
                    (long long)mine);
    }
}
