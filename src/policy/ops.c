/* The row of decisions that the scheduler asks, filled by whichever policies define them; notes for everybody. */
#include "policy/priv.h"

#include "base/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define SCHED_OPS                                                                                  \
    (1u << POLICY_SCORE | 1u << POLICY_PICK_NEXT | 1u << POLICY_PLAN_SWAP | 1u << POLICY_EVICT_COST | 1u << POLICY_IDLE_TTL)

void ops_note_decision(struct policies *ps, struct policy *p, enum policy_hook h, char source, uint64_t request,
                       model_id m, const char *fmt, ...)
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
    if (p)
        p->last[p->n_last++ % POLICY_DECISIONS] = *d;
    if (h == POLICY_PICK_NEXT || h == POLICY_PLAN_SWAP) {
        ps->by_policy += source == 'p';
        ps->by_builtin += source == 'b';
        ps->by_fallback += source == 'f';
    }
    ps->op_source[h][source == 'p' ? 0 : source == 'b' ? 1 : source == 'f' ? 2 : 3]++;
}

static struct policy *owner(struct policies *ps, enum policy_hook h)
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

static void compare_pick(struct policies *ps, struct policy *p, ticket_id active)
{
    struct ops_pick other = { 0 };
    struct call c = { .hook = POLICY_PICK_NEXT, .push = push_queue, .take = take_pick, .out = &other };
    enum verdict v = gate_call(p, &c);
    if (v == V_ABSENT || v >= V_ERROR)
        return;
    ticket_id mine = v == V_VALUE ? other.ticket : v == V_HOLD ? 0 : active;
    if (mine == active) {
        p->agree[POLICY_PICK_NEXT]++;
        return;
    }
    p->disagree[POLICY_PICK_NEXT]++;
    if (p->n_diffs < POLICY_DIFFS)
        snprintf(p->diffs[p->n_diffs++], sizeof(p->diffs[0]), "%lld pick_next: ticket %llu, here %llu",
                 (long long)ps->now, (unsigned long long)active, (unsigned long long)mine);
}

static bool shadows(const struct policies *ps, enum policy_hook h)
{
    for (size_t i = 0; i < ps->n; i++)
        if (ps->at[i]->shadow && ps->at[i]->state == PS_ACTIVE && (ps->at[i]->present & 1u << h))
            return true;
    return false;
}

static enum ops_answer row_pick(void *ctx, const struct sched *s, struct ops_pick *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    struct policy *p = owner(ps, POLICY_PICK_NEXT);
    enum verdict v = V_NONE;
    if (p) {
        struct call c = { .hook = POLICY_PICK_NEXT, .push = push_queue, .take = take_pick, .out = ret };
        v = gate_call(p, &c);
        if (v == V_HOLD) {
            ps->holder = p;
            ops_note_decision(ps, p, POLICY_PICK_NEXT, 'p', 0, MODEL_NONE, "hold");
        }
    }
    if (shadows(ps, POLICY_PICK_NEXT)) {
        const struct ticket *t = v == V_VALUE || v == V_HOLD ? NULL : sched_cand_first(s, CAND_ANY, MODEL_NONE);
        ticket_id active = v == V_VALUE ? ret->ticket : t ? t->id : 0;
        for (size_t i = 0; i < ps->n; i++)
            if (ps->at[i]->shadow)
                compare_pick(ps, ps->at[i], active);
    }
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
    struct policy *p = owner(k->ps, POLICY_EVICT_COST);
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
    struct policy *p = owner(ps, POLICY_EVICT_COST);
    bool busy = p && p->in_hook;
    if (busy)
        ps->owner[POLICY_EVICT_COST] = NULL;
    enum ops_answer a = fit_plan(ps, s, target, ret, cost, &k);
    if (busy)
        ps->owner[POLICY_EVICT_COST] = p;
    return a;
}

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

static void compare_plan(struct policies *ps, const struct sched *s, model_id target, const struct ops_plan *active)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (!p->shadow || !(p->present & 1u << POLICY_PLAN_SWAP))
            continue;
        struct ops_plan other = { .evict = ps->scratch2 };
        struct call c = { .hook = POLICY_PLAN_SWAP, .push = push_plan, .take = take_plan, .out = &other, .model = target };
        enum verdict v = gate_call(p, &c);
        if (v >= V_ERROR)
            continue;
        if (v == V_NONE || (v == V_VALUE && same_plan(active, &other))) {
            p->agree[POLICY_PLAN_SWAP]++;
            continue;
        }
        p->disagree[POLICY_PLAN_SWAP]++;
        if (p->n_diffs < POLICY_DIFFS)
            snprintf(p->diffs[p->n_diffs++], sizeof(p->diffs[0]), "%lld plan_swap " STR_FMT ": %zu victims, here %s%zu",
                     (long long)ps->now, STR_ARG(s->models[target]->conf.id), active->n_evict,
                     v == V_HOLD ? "hold, " : "", v == V_VALUE ? other.n_evict : 0);
    }
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
    struct policy *p = owner(ps, POLICY_PLAN_SWAP);
    enum verdict v = V_NONE;
    if (p && (cold || p->plan_ready)) {
        struct call c = { .hook = POLICY_PLAN_SWAP, .push = push_plan, .take = take_plan, .out = ret, .model = target };
        v = gate_call(p, &c);
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
            ps->holder = owner(ps, POLICY_EVICT_COST);
    }
    if (a == OPS_VALUE && cold && shadows(ps, POLICY_PLAN_SWAP))
        compare_plan(ps, s, target, ret);
    return a;
}

/* ---- score, evict_cost, idle_ttl ---- */

static int push_request(lua_State *L, struct call *c)
{
    view_push_request(L, c->p, c->req);
    return 1;
}

static enum ops_answer row_score(void *ctx, const struct sched *s, const struct ticket *t, double *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    struct policy *p = owner(ps, POLICY_SCORE);
    if (!p)
        return OPS_NONE;
    struct call c = { .hook = POLICY_SCORE, .push = push_request, .take = take_number, .req = preq_get(ps, t) };
    if (gate_call(p, &c) != V_VALUE)
        return OPS_NONE;
    *ret = c.number;
    return OPS_VALUE;
}

static enum ops_answer row_cost(void *ctx, const struct sched *s, model_id victim, model_id target, double *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    struct policy *p = owner(ps, POLICY_EVICT_COST);
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

static enum ops_answer row_ttl(void *ctx, const struct sched *s, model_id m, msec *ret)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    struct policy *p = owner(ps, POLICY_IDLE_TTL);
    if (!p)
        return OPS_NONE;
    struct call c = { .hook = POLICY_IDLE_TTL, .push = push_model, .take = take_number, .model = m };
    if (gate_call(p, &c) != V_VALUE)
        return OPS_NONE;
    *ret = c.number <= 0 ? 0 : c.number > 7 * 86400 ? (msec)7 * 86400 * 1000 : (msec)(c.number * 1000);
    ops_note_decision(ps, p, POLICY_IDLE_TTL, 'p', 0, m, "%lld ms", (long long)*ret);
    return OPS_VALUE;
}

/* ---- notes ---- */

static int push_note(lua_State *L, struct call *c)
{
    switch (c->hook) {
    case POLICY_ON_SWAP_START:
    case POLICY_ON_SWAP_DONE: view_push_swap(L, c->p, c->note->swap, c->note); return 1;
    case POLICY_ON_MODEL:
        view_push_model(L, c->p, c->model);
        lua_pushstring(L, c->text);
        lua_pushstring(L, c->text2);
        return 3;
    case POLICY_ON_UNLOAD:
        view_push_model(L, c->p, c->model);
        lua_pushstring(L, c->text);
        return 2;
    default: view_push_request(L, c->p, c->req); return 1;
    }
}

void ops_deliver(struct policies *ps, enum policy_hook h, struct preq *r, const struct sched_note *n, model_id m,
                 const char *text, const char *text2)
{
    if (!(ps->wants & 1u << h))
        return;
    for (size_t i = 0; i < ps->n; i++) {
        if (!(ps->at[i]->present & 1u << h))
            continue;
        struct call c = { .hook = h, .push = push_note, .req = r, .note = n, .model = m, .text = text, .text2 = text2 };
        gate_call(ps->at[i], &c);
    }
}

/* A record without the proxy's knowledge ends with its note. */
static void note_end(struct policies *ps, struct preq *r)
{
    r->live = NULL;
    r->ended_note = true;
    if (!r->known)
        preq_free(ps, r);
}

static void note_request(struct policies *ps, const struct sched_note *n)
{
    struct preq *r = preq_get(ps, n->ticket);
    r->live = view_ticket(ps->sched, n->ticket->id);
    switch (n->kind) {
    case NOTE_SERVE_START:
        r->granted = ps->now;
        ops_deliver(ps, POLICY_ON_SERVE_START, r, n, n->model, NULL, NULL);
        r->live = NULL;
        return;
    case NOTE_SERVE_DONE:
        r->done = true;
        r->granted = n->ticket->granted;
        ops_deliver(ps, POLICY_ON_SERVE_DONE, r, n, n->model, NULL, NULL);
        break;
    default:
        snprintf(r->cause, sizeof(r->cause), "%s", n->code == 0 ? "client gone" : n->text ? n->text : err_text(n->code));
        ops_deliver(ps, POLICY_ON_CANCEL, r, n, n->model, NULL, NULL);
        break;
    }
    note_end(ps, r);
}

/* The dispatcher refused an answer: whose was it? */
static void note_invalid(struct policies *ps, const char *text)
{
    enum policy_hook h = strncmp(text, "plan_swap", 9) == 0 ? POLICY_PLAN_SWAP : POLICY_PICK_NEXT;
    struct policy *p = owner(ps, h);
    if (!p)
        return;
    p->stats[h].invalid++;
    char msg[200];
    snprintf(msg, sizeof(msg), "%s.%s", p->name, text);
    if (p->n_last > 0)
        ops_note_decision(ps, p, h, 'f', 0, MODEL_NONE, "%s", text);
    eject_strike(p, h, V_INVALID, msg);
}

static void row_note(void *ctx, const struct sched *s, const struct sched_note *n)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    switch (n->kind) {
    case NOTE_SERVE_START:
    case NOTE_SERVE_DONE:
    case NOTE_CANCEL: note_request(ps, n); break;
    case NOTE_SWAP_START: ops_deliver(ps, POLICY_ON_SWAP_START, NULL, n, n->model, NULL, NULL); break;
    case NOTE_SWAP_DONE: ops_deliver(ps, POLICY_ON_SWAP_DONE, NULL, n, n->model, NULL, NULL); break;
    case NOTE_MODEL:
        ops_deliver(ps, POLICY_ON_MODEL, NULL, n, n->model, model_state_name(n->new), model_state_name(n->old));
        break;
    case NOTE_UNLOAD: {
        bool ours = n->model < ps->n_models && ps->models[n->model].unload_by[0];
        if (ours)
            ps->models[n->model].unload_by[0] = '\0';
        ops_deliver(ps, POLICY_ON_UNLOAD, NULL, n, n->model, ours ? "policy" : n->text, NULL);
        break;
    }
    case NOTE_INVALID: note_invalid(ps, n->text); break;
    case NOTE_STALL: {
        struct policy *p = ps->holder;
        char msg[200];
        snprintf(msg, sizeof(msg), "held an idle machine for more than %.1f s, %zu requests waiting",
                 (double)s->hold_limit_ms / 1000, sched_waiting(s));
        if (p)
            eject_fatal(p, POLICY_PICK_NEXT, "stall", msg);
        else
            ps->row_stale = true;
        break;
    }
    case NOTE_OVERRIDE: {
        ps->overrides++;
        struct policy *p = owner(ps, POLICY_PICK_NEXT);
        const struct preq *r = preq_find(ps, n->ticket->id);
        if (p)
            p->starve_overrides++;
        ops_note_decision(ps, p, POLICY_PICK_NEXT, 'o', r ? r->id : n->ticket->id, n->model, "waited too long, forced");
        break;
    }
    case NOTE_KINDS: break;
    }
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
    ps->wants = 0;
    bool any = false;
    msec starve = 600000, hold = 60000;
    bool patience = false;
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_ACTIVE)
            continue;
        any = true;
        ps->wants |= p->present;
        if (p->shadow)
            continue;
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
    struct policy_ops row = { .name = "policy", .note = row_note };
    if (ps->owner[POLICY_PICK_NEXT] || shadows(ps, POLICY_PICK_NEXT))
        row.pick_next = row_pick;
    if (ps->owner[POLICY_PLAN_SWAP] || shadows(ps, POLICY_PLAN_SWAP) || fits || ps->any_quarantine)
        row.plan_swap = row_plan;
    if (ps->owner[POLICY_SCORE])
        row.score = row_score;
    if (ps->owner[POLICY_EVICT_COST])
        row.evict_cost = row_cost;
    if (ps->owner[POLICY_IDLE_TTL])
        row.idle_ttl = row_ttl;
    row.flags = flags_of(ps);
    row.notes = 1u << NOTE_INVALID | 1u << NOTE_STALL | 1u << NOTE_OVERRIDE | 1u << NOTE_SERVE_DONE | 1u << NOTE_CANCEL |
                1u << NOTE_SERVE_START | 1u << NOTE_UNLOAD;
    if (ps->wants & 1u << POLICY_ON_MODEL)
        row.notes |= 1u << NOTE_MODEL;
    if (ps->wants & (1u << POLICY_ON_SWAP_START | 1u << POLICY_ON_SWAP_DONE))
        row.notes |= 1u << NOTE_SWAP_START | 1u << NOTE_SWAP_DONE;
    ps->row = row;
    ps->row_on = any || fits || ps->any_quarantine;
    if (ps->sched)
        sched_set_patience(ps->sched, starve, hold);
}

void ops_apply(struct policies *ps)
{
    if (!ps->sched)
        return;
    sched_set_ops(ps->sched, ps->row_on ? &ps->row : NULL, ps->row_on ? ps : NULL);
    ps->holder = NULL;
    ps->kick = true;
}
