/* The row of decisions that the scheduler asks, filled by whichever policies define them; notes for everybody. */
#include "policy/priv.h"

#include "base/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define SCHED_OPS                                                                                  \
    (1u << POLICY_SCORE | 1u << POLICY_PICK_NEXT | 1u << POLICY_PLAN_SWAP | 1u << POLICY_EVICT_COST | 1u << POLICY_IDLE_TTL)

static struct decision *decision_new(struct policies *ps, struct policy *p, enum policy_hook h, char source,
                                     uint64_t request, model_id m)
{
    struct decision *d = &ps->trace[ps->n_trace++ % POLICY_TRACE];
    d->now = ps->now;
    d->hook = h;
    d->source = source;
    d->request = request;
    d->model = m;
    if (p)
        memcpy(d->policy, p->name, sizeof(d->policy));
    else
        d->policy[0] = '\0';
    return d;
}

static void decision_done(struct policies *ps, struct policy *p, const struct decision *d)
{
    enum policy_hook h = d->hook;
    char source = d->source;
    if (p)
        p->last[p->n_last++ % POLICY_DECISIONS] = *d;
    if (h == POLICY_PICK_NEXT || h == POLICY_PLAN_SWAP) {
        ps->by_policy += source == 'p';
        ps->by_builtin += source == 'b';
        ps->by_fallback += source == 'f';
    }
    ps->op_source[h][source == 'p' ? 0 : source == 'b' ? 1 : source == 'f' ? 2 : 3]++;
}

void ops_note_decision(struct policies *ps, struct policy *p, enum policy_hook h, char source, uint64_t request,
                       model_id m, const char *fmt, ...)
{
    struct decision *d = decision_new(ps, p, h, source, request, m);
    if (strchr(fmt, '%')) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(d->text, sizeof(d->text), fmt, ap);
        va_end(ap);
    } else { /* nearly always; printing would cost more than the decision */
        size_t len = strlen(fmt);
        if (len >= sizeof(d->text))
            len = sizeof(d->text) - 1;
        memcpy(d->text, fmt, len);
        d->text[len] = '\0';
    }
    decision_done(ps, p, d);
}

void ops_note_routed(struct policies *ps, struct policy *p, uint64_t request, const char *model)
{
    static const char what[] = "routed to ";
    struct decision *d = decision_new(ps, p, POLICY_ROUTE, 'p', request, MODEL_NONE);
    size_t len = strlen(model), room = sizeof(d->text) - sizeof(what);
    len = len < room ? len : room;
    memcpy(d->text, what, sizeof(what) - 1);
    memcpy(d->text + sizeof(what) - 1, model, len);
    d->text[sizeof(what) - 1 + len] = '\0';
    decision_done(ps, p, d);
}

struct policy *ops_owner(struct policies *ps, enum policy_hook h)
{
    struct policy *p = ps->owner[h];
    return p && p->state == PS_ACTIVE ? p : NULL;
}

/* ---- pick_next ---- */

static int push_queue(lua_State *L, struct call *c)
{
    view_push_queue(L, c->p, false);
    return 1;
}

static void take_hold(lua_State *L, struct call *c)
{
    const struct hold *h = convert_hold(L, -1);
    c->verdict = V_HOLD;
    /* 0 stands for "until something happens" */
    c->number = !h->given ? 0 : h->sec * 1000 < 1 ? 1 : h->sec * 1000;
}

static void take_pick(lua_State *L, struct call *c)
{
    struct ops_pick *ret = c->out;
    if (lua_isnil(L, -1))
        return;
    if (convert_is_hold(L, -1)) {
        take_hold(L, c);
        ret->hold_ms = (msec)c->number;
        return;
    }
    const struct preq *r = view_to_request(L, -1);
    if (!r) {
        c->verdict = V_INVALID;
        c->text2 = "a request of the queue, hold() or nil expected";
        return;
    }
    c->verdict = V_VALUE;
    ret->ticket = r->ticket;
}

enum verdict ops_ask_pick(struct policy *p, struct ops_pick *ret)
{
    struct call c = { .hook = POLICY_PICK_NEXT, .push = push_queue, .take = take_pick, .out = ret };
    return gate_call(p, &c);
}

static bool watched_pick(const struct policies *ps)
{
    return shadow_any(ps, POLICY_PICK_NEXT) || shadow_any(ps, POLICY_SCORE);
}

/* Whom the built-in order takes, by score if a policy gives scores. */
static ticket_id builtin_pick(struct policies *ps, const struct sched *s)
{
    const struct ticket *best = sched_cand_first(s, CAND_ANY, MODEL_NONE);
    double top = -INFINITY;
    for (const struct ticket *t = best; t && ps->row.score; t = sched_cand_next(s, t, CAND_ANY, MODEL_NONE)) {
        double score = 0;
        if (ps->row.score(ps, s, t, &score) != OPS_VALUE)
            score = 0;
        if (score > top) {
            top = score;
            best = t;
        }
    }
    return best ? best->id : 0;
}

static enum ops_answer row_pick(void *ctx, const struct sched *s, struct ops_pick *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    struct policy *p = ops_owner(ps, POLICY_PICK_NEXT);
    enum verdict v = V_NONE;
    if (p) {
        v = ops_ask_pick(p, ret);
        if (v == V_HOLD) {
            ps->holder = p;
            ops_note_decision(ps, p, POLICY_PICK_NEXT, 'p', 0, MODEL_NONE, "hold");
        }
    }
    if (watched_pick(ps))
        shadow_pick(ps, s, v == V_VALUE ? ret->ticket : v == V_HOLD ? 0 : builtin_pick(ps, s));
    if (v == V_HOLD)
        return OPS_HOLD;
    if (v == V_VALUE) {
        const struct ticket *t = view_ticket(s, ret->ticket);
        const struct preq *r = preq_find(ps, ret->ticket);
        ops_note_decision(ps, p, POLICY_PICK_NEXT, 'p', r ? r->id : ret->ticket, t ? t->model : MODEL_NONE, "picked");
        return OPS_VALUE;
    }
    if (p)
        ops_note_decision(ps, p, POLICY_PICK_NEXT, v >= V_ERROR ? 'f' : 'b', 0, MODEL_NONE, "built-in");
    return OPS_NONE;
}

/* The built-in order decides: what would the shadows have picked? */
static void row_watch(void *ctx, const struct sched *s)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    if (sched_cand_first(s, CAND_ANY, MODEL_NONE))
        shadow_pick(ps, s, builtin_pick(ps, s));
}

/* ---- plan_swap ---- */

static int push_plan(lua_State *L, struct call *c)
{
    view_push_model(L, c->p, c->model);
    view_push_queue(L, c->p, false);
    return 2;
}

static void take_plan(lua_State *L, struct call *c)
{
    struct ops_plan *ret = c->out;
    if (lua_isnil(L, -1))
        return;
    if (convert_is_hold(L, -1)) {
        take_hold(L, c);
        ret->hold_ms = (msec)c->number;
        return;
    }
    const struct refusal *r = convert_refusal(L, -1);
    if (r) {
        c->verdict = V_REJECT;
        ret->status = r->status;
        ret->code = r->status == 429 ? ERR_BUSY : ERR_AGAIN;
        snprintf(ret->text, sizeof(ret->text), "%.150s", r->message);
        return;
    }
    const char *fault = NULL;
    char *why = c->model < c->p->ps->n_models ? c->p->ps->models[c->model].swap_why : NULL;
    if (why && !c->p->shadow)
        why[0] = '\0';
    if (!convert_plan(L, -1, c->p->ps, ret, c->p->shadow ? NULL : why, &fault)) {
        c->verdict = V_INVALID;
        c->text2 = fault;
        return;
    }
    c->verdict = V_VALUE;
}

static int push_cost(lua_State *L, struct call *c)
{
    view_push_model(L, c->p, c->model);
    view_push_model(L, c->p, c->other);
    return 2;
}

static void take_number(lua_State *L, struct call *c)
{
    if (lua_isnil(L, -1))
        return;
    double v = lua_tonumber(L, -1);
    if (lua_type(L, -1) != LUA_TNUMBER || isnan(v)) {
        c->verdict = V_INVALID;
        c->text2 = "a number or nil expected";
        return;
    }
    c->verdict = V_VALUE;
    c->number = v;
}

struct cost_of {
    struct policies *ps;
    model_id target;
};

/* The rank of a victim: the policy's number, else the least recently used goes first. */
static double cost(void *ud, model_id victim)
{
    const struct cost_of *k = ud;
    struct policy *p = ops_owner(k->ps, POLICY_EVICT_COST);
    if (p) {
        struct call c = { .hook = POLICY_EVICT_COST, .push = push_cost, .take = take_number, .model = victim, .other = k->target };
        if (gate_call(p, &c) == V_VALUE)
            return c.number;
    }
    const struct sched *s = k->ps->sched;
    return (double)s->models[victim]->last_used - (double)s->now;
}

enum ops_answer ops_builtin_plan(struct policies *ps, const struct sched *s, model_id target, struct ops_plan *ret)
{
    ret->n_evict = 0;
    ret->when = PLAN_IDLE;
    ret->grace_ms = 0;
    sched_builtin_plan(s, target, ret);
    if (s->kind == SCHED_KIND_SERIAL)
        return OPS_VALUE;
    struct cost_of k = { ps, target };
    /* Lua may be at work already (luaswap.builtin.plan_swap): then the order of use must do. */
    struct policy *p = ops_owner(ps, POLICY_EVICT_COST);
    bool busy = p && p->in_hook;
    if (busy)
        ps->owner[POLICY_EVICT_COST] = NULL;
    enum ops_answer a = fit_plan(ps, s, target, ret, cost, &k);
    if (busy)
        ps->owner[POLICY_EVICT_COST] = p;
    return a;
}

enum verdict ops_ask_plan(struct policy *p, model_id target, struct ops_plan *ret)
{
    struct call c = { .hook = POLICY_PLAN_SWAP, .push = push_plan, .take = take_plan, .out = ret, .model = target };
    return gate_call(p, &c);
}

static bool quarantined(const struct policies *ps, model_id m)
{
    return ps->any_quarantine && m < ps->n_models && ps->models[m].quarantined_until > ps->now;
}

static enum ops_answer row_plan(void *ctx, const struct sched *s, model_id target, struct ops_plan *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    policies_fit(ps);
    bool cold = s->models[target]->state != MODEL_READY;
    if (cold && quarantined(ps, target)) {
        ret->status = 503;
        ret->code = ERR_NOTREADY;
        snprintf(ret->text, sizeof(ret->text), "the model is quarantined by a policy");
        return OPS_REJECT;
    }
    struct policy *p = ops_owner(ps, POLICY_PLAN_SWAP);
    enum verdict v = V_NONE;
    if (p && (cold || p->plan_ready)) {
        v = ops_ask_plan(p, target, ret);
    }
    struct model_extra *x = target < ps->n_models ? &ps->models[target] : NULL;
    enum ops_answer a = v == V_VALUE ? OPS_VALUE : v == V_HOLD ? OPS_HOLD : v == V_REJECT ? OPS_REJECT : OPS_NONE;
    if (x)
        snprintf(x->swap_by, sizeof(x->swap_by), "%s", a == OPS_VALUE ? "policy" : "builtin");
    if (a == OPS_HOLD)
        ps->holder = p;
    if (p && (cold || a != OPS_VALUE || ret->n_evict > 0))
        ops_note_decision(ps, p, POLICY_PLAN_SWAP, a != OPS_NONE ? 'p' : v >= V_ERROR ? 'f' : 'b', 0, target,
                          a == OPS_HOLD     ? "hold"
                          : a == OPS_REJECT ? "refused"
                          : a == OPS_VALUE  ? "planned"
                                            : "built-in");
    if (a == OPS_NONE) {
        a = ops_builtin_plan(ps, s, target, ret);
        if (a == OPS_HOLD)
            ps->holder = ops_owner(ps, POLICY_EVICT_COST);
    }
    if (a == OPS_VALUE && cold)
        shadow_plan(ps, s, target, ret, v != V_VALUE);
    return a;
}

/* ---- score, evict_cost, idle_ttl ---- */

static int push_request(lua_State *L, struct call *c)
{
    if (c->shown)
        preq_show(c->req, c->shown);
    view_push_request(L, c->p, c->req);
    return 1;
}

enum verdict ops_ask_score(struct policy *p, struct preq *r, const struct ticket *t, double *ret)
{
    struct call c = { .hook = POLICY_SCORE, .push = push_request, .take = take_number, .req = r, .shown = t };
    enum verdict v = gate_call(p, &c);
    *ret = c.number;
    return v;
}

static enum ops_answer row_score(void *ctx, const struct sched *s, const struct ticket *t, double *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    struct policy *p = ops_owner(ps, POLICY_SCORE);
    if (!p)
        return OPS_NONE;
    struct preq *r = preq_get(ps, t);
    if (r->score_round != s->round || r->score_inflight != s->inflight || r->score_swaps != s->n_swaps) {
        r->score = 0;
        r->scored = ops_ask_score(p, r, t, &r->score) == V_VALUE;
        r->score_round = s->round; /* asked again only when the dispatcher did something since */
        r->score_inflight = s->inflight;
        r->score_swaps = s->n_swaps;
    }
    *ret = r->score;
    return r->scored ? OPS_VALUE : OPS_NONE;
}

static enum ops_answer row_cost(void *ctx, const struct sched *s, model_id victim, model_id target, double *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    struct policy *p = ops_owner(ps, POLICY_EVICT_COST);
    if (!p)
        return OPS_NONE;
    struct call c = { .hook = POLICY_EVICT_COST, .push = push_cost, .take = take_number, .model = victim, .other = target };
    if (gate_call(p, &c) != V_VALUE)
        return OPS_NONE;
    if (isinf(c.number) && c.number > 0)
        ps->holder = p;
    *ret = c.number;
    return OPS_VALUE;
}

static int push_model(lua_State *L, struct call *c)
{
    view_push_model(L, c->p, c->model);
    return 1;
}

enum verdict ops_ask_ttl(struct policy *p, model_id m, msec *ret)
{
    struct call c = { .hook = POLICY_IDLE_TTL, .push = push_model, .take = take_number, .model = m };
    enum verdict v = gate_call(p, &c);
    if (v == V_VALUE)
        *ret = c.number <= 0 ? 0 : c.number > 7 * 86400 ? (msec)7 * 86400 * 1000 : (msec)(c.number * 1000);
    return v;
}

static enum ops_answer row_ttl(void *ctx, const struct sched *s, model_id m, msec *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    struct policy *p = ops_owner(ps, POLICY_IDLE_TTL);
    bool own = p && ops_ask_ttl(p, m, ret) == V_VALUE;
    if (shadow_any(ps, POLICY_IDLE_TTL))
        shadow_ttl(ps, s, m, own ? *ret : s->models[m]->conf.pinned ? 0 : s->models[m]->conf.ttl_ms);
    if (!own)
        return OPS_NONE;
    ops_note_decision(ps, p, POLICY_IDLE_TTL, 'p', 0, m, "%lld ms", (long long)*ret);
    return OPS_VALUE;
}

/* ---- the row ---- */

static unsigned flags_of(const struct policies *ps)
{
    bool decides = ps->owner[POLICY_PICK_NEXT] || ps->owner[POLICY_SCORE] || ps->owner[POLICY_PLAN_SWAP];
    if (!decides) /* notes, a planner's ranks: the loop stays what it was */
        return ps->sched ? sched_builtin_ops(ps->sched->kind)->flags : 0;
    unsigned flags = 0;
    const struct policy *pick = ps->owner[POLICY_PICK_NEXT] ? ps->owner[POLICY_PICK_NEXT] : ps->owner[POLICY_SCORE];
    const struct policy *plan = ps->owner[POLICY_PLAN_SWAP];
    const struct policy *main = pick ? pick : plan;
    if (pick && pick->fast_ready)
        flags |= OPS_FAST_READY;
    if (main->classic)
        flags |= OPS_CLASSIC;
    if (plan && plan->plan_ready)
        flags |= OPS_PLAN_READY;
    /* Classic without a planner of its own is the reference's walk, which asks the planner for loaded models too. */
    if (main->classic && !plan)
        flags |= OPS_PLAN_READY;
    return flags;
}

void ops_rebuild(struct policies *ps)
{
    memset(ps->owner, 0, sizeof(ps->owner));
    ps->face.wants = 0;
    ps->face.body = false;
    bool any = false;
    msec starve = 600000, hold = 60000;
    bool patience = false;
    msec slack = 0;
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->required && (p->state == PS_EJECTED || p->state == PS_REFUSED))
            ps->face.wants |= 1u << POLICY_ROUTE | 1u << POLICY_ON_REQUEST; /* it must be seen to refuse */
        if (p->state != PS_ACTIVE)
            continue;
        any = true;
        ps->face.wants |= p->present;
        ps->face.body = ps->face.body || p->needs_body;
        if (p->shadow)
            continue;
        if ((p->present & 1u << POLICY_BEFORE_STOP) && p->conf.stop_hook_ms > slack)
            slack = p->conf.stop_hook_ms;
        for (int h = 0; h < POLICY_HOOKS; h++)
            if ((SCHED_OPS & p->present & 1u << h) && !ps->owner[h])
                ps->owner[h] = p;
        if (!(p->present & SCHED_OPS))
            continue;
        if (!patience || p->conf.starve_after_ms < starve)
            starve = p->conf.starve_after_ms;
        if (p->conf.hold_limit_ms > 0 && (!patience || p->conf.hold_limit_ms < hold))
            hold = p->conf.hold_limit_ms;
        patience = true;
    }
    bool fits = ps->host->gpu && ps->host->model_facts;
    struct policy_ops row = { .name = "policy", .note = ops_note };
    if (ps->owner[POLICY_PICK_NEXT] || watched_pick(ps))
        row.pick_next = row_pick;
    if (watched_pick(ps))
        row.watch_pick = row_watch;
    if (ps->owner[POLICY_PLAN_SWAP] || shadow_any(ps, POLICY_PLAN_SWAP) || shadow_any(ps, POLICY_EVICT_COST) || fits || ps->any_quarantine)
        row.plan_swap = row_plan;
    if (ps->owner[POLICY_SCORE])
        row.score = row_score;
    if (ps->owner[POLICY_EVICT_COST] || shadow_any(ps, POLICY_EVICT_COST))
        row.evict_cost = row_cost;
    if (ps->owner[POLICY_IDLE_TTL] || shadow_any(ps, POLICY_IDLE_TTL))
        row.idle_ttl = row_ttl;
    row.flags = flags_of(ps);
    row.notes = 1u << NOTE_INVALID | 1u << NOTE_STALL | 1u << NOTE_OVERRIDE | 1u << NOTE_SERVE_DONE | 1u << NOTE_CANCEL |
                1u << NOTE_SERVE_START | 1u << NOTE_UNLOAD;
    if (ps->face.wants & 1u << POLICY_ON_MODEL)
        row.notes |= 1u << NOTE_MODEL;
    if (ps->face.wants & (1u << POLICY_ON_SWAP_START | 1u << POLICY_ON_SWAP_DONE))
        row.notes |= 1u << NOTE_SWAP_START | 1u << NOTE_SWAP_DONE;
    ps->row = row;
    ps->row_on = any || fits || ps->any_quarantine;
    if (!ps->sched)
        return;
    if (!patience) /* nobody decides: the order stays what it was */
        starve = ps->sched->kind == SCHED_KIND_FIFO ? ps->sched->fifo_max_wait_ms : 0;
    sched_set_patience(ps->sched, starve, hold);
    sched_set_stop_slack(ps->sched, slack);
}

void ops_apply(struct policies *ps)
{
    if (!ps->sched)
        return;
    sched_set_ops(ps->sched, ps->row_on ? &ps->row : NULL, ps->row_on ? ps : NULL);
    ps->holder = NULL;
    ps->kick = true;
}
