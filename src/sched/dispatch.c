/* Who is next, and whom to stop for it: policy.md 2.4. The row in charge answers, this file checks and commits. */
#include "sched/loop.h"

#include "base/check.h"

#include <math.h>

enum step { STEP_BLOCKED, STEP_JOINED, STEP_GRANTED, STEP_STARTED, STEP_REJECTED };

const struct policy_ops *dispatch_row(const struct sched *s)
{
    bool may = s->kind != SCHED_KIND_SERIAL || s->serial_reorder;
    return s->ops && !s->stalled && may ? s->ops : s->builtin;
}

msec dispatch_patience(const struct sched *s)
{
    if (dispatch_row(s) != s->builtin)
        return s->policy_starve_ms;
    return s->kind == SCHED_KIND_FIFO ? s->fifo_max_wait_ms : 0;
}

/* Strict order leaves nothing to batch: serial is never classic. */
bool dispatch_classic(const struct sched *s)
{
    return s->kind != SCHED_KIND_SERIAL && (dispatch_row(s)->flags & OPS_CLASSIC) != 0;
}

static void *ctx_of(const struct sched *s, const struct policy_ops *row)
{
    return row == s->ops ? s->ops_ctx : NULL;
}

static void invalid(struct sched *s, const char *text)
{
    loop_note(s, &(struct sched_note){ .kind = NOTE_INVALID, .model = MODEL_NONE, .text = text });
}

/* ---- candidates ---- */

static bool held(const struct sched *s, const struct smodel *m)
{
    return s->reserved_for != 0 && m->held == s->held_stamp;
}

static bool full(const struct sched *s, const struct smodel *m)
{
    uint32_t limit = view_limit(s, m);
    return limit > 0 && m->inflight >= limit;
}

static bool candidate(const struct sched *s, const struct smodel *m, enum cand_filter f)
{
    if (m->blocked == s->round || !m->queue.root || m->swap || m->victim_of > 0 || m->frozen > 0 ||
        held(s, m))
        return false;
    if (m->state == MODEL_READY)
        return f != CAND_COLD && model_ready(s, m) && !full(s, m) &&
               model_admits(s, m, model_ticket(queue_first(&m->queue)));
    return f != CAND_READY && m->state != MODEL_SHUTDOWN;
}

static const struct ticket *first_after(const struct sched *s, const struct qkey *after,
                                        enum cand_filter f, model_id only)
{
    const struct ticket *best = NULL;
    for (struct list *it = s->waiting.next; it != &s->waiting; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, waiting_link);
        if ((only != MODEL_NONE && m->self != only) || !candidate(s, m, f))
            continue;
        const struct ticket *t =
            model_ticket(after ? queue_after(&m->queue, *after) : queue_first(&m->queue));
        if (t && (!best || qkey_cmp(t->in_model.key, best->in_model.key) < 0))
            best = t;
    }
    return best;
}

const struct ticket *sched_cand_first(const struct sched *s, enum cand_filter f, model_id only)
{
    return first_after(s, NULL, f, only);
}

const struct ticket *sched_cand_next(const struct sched *s, const struct ticket *t,
                                     enum cand_filter f, model_id only)
{
    return first_after(s, &t->in_model.key, f, only);
}

size_t sched_cand_count(const struct sched *s, enum cand_filter f, model_id only)
{
    size_t n = 0;
    for (struct list *it = s->waiting.next; it != &s->waiting; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, waiting_link);
        if ((only == MODEL_NONE || m->self == only) && candidate(s, m, f))
            n += model_queued(m);
    }
    return n;
}

/* ---- plans ---- */

void sched_builtin_plan(const struct sched *s, model_id target, struct ops_plan *ret)
{
    s->builtin->plan_swap(NULL, s, target, ret);
}

/* Invariants I3 and I4 of policy.md for what a row answered. */
static const char *plan_fault(struct sched *s, const struct smodel *m, const struct ops_plan *plan)
{
    for (size_t i = 0; i < plan->n_evict; i++) {
        const struct smodel *v = view_model(s, plan->evict[i]);
        if (!v || v == m)
            return "plan_swap: a victim is unknown or the target itself";
        if (!v->present)
            return "plan_swap: a victim does not run";
        if (v->conf.pinned)
            return "plan_swap: a victim is pinned";
        if (v->conf.group_persistent && v->conf.group != m->conf.group &&
            s->evict == &evict_group && s->kind != SCHED_KIND_SERIAL)
            return "plan_swap: a victim is in a persistent group";
        for (size_t j = 0; j < i; j++)
            if (plan->evict[j] == v->self)
                return "plan_swap: a victim is named twice";
    }
    size_t n = view_running(s, m->self, true, s->scratch_check), left = 0;
    for (size_t i = 0; i < n; i++) {
        bool goes = false;
        for (size_t j = 0; j < plan->n_evict && !goes; j++)
            goes = plan->evict[j] == s->scratch_check[i];
        if (!goes)
            s->scratch_check[left++] = s->scratch_check[i];
    }
    if (s->kind == SCHED_KIND_SERIAL)
        return left > 0 ? "plan_swap: under serial all others must go" : NULL;
    return s->evict->legal(s->evict_ctx, s, m->self, s->scratch_check, left)
               ? NULL
               : "plan_swap: the models that stay may not run together";
}

/* evict_cost infinite: not now. */
static bool too_dear(struct sched *s, const struct policy_ops *row, const struct ops_plan *plan,
                     model_id target)
{
    if (!row->evict_cost)
        return false;
    for (size_t i = 0; i < plan->n_evict; i++) {
        double cost;
        if (row->evict_cost(ctx_of(s, row), s, plan->evict[i], target, &cost) == OPS_VALUE &&
            isinf(cost) && cost > 0)
            return true;
    }
    return false;
}

/* Somebody waits because the row wants it so: ask again by then. */
static void arm_hold(struct sched *s, msec ms)
{
    s->row_held = true;
    msec least = ms <= 0 ? SCHED_HEARTBEAT_MS : ms < SCHED_HOLD_MIN_MS ? SCHED_HOLD_MIN_MS : ms;
    if (s->hold_limit_ms > 0 && least > s->hold_limit_ms)
        least = s->hold_limit_ms;
    if (s->now + least < s->hold_until)
        s->hold_until = s->now + least;
}

static enum ops_answer ask_plan(struct sched *s, struct smodel *m, struct ops_plan *plan)
{
    const struct policy_ops *row = dispatch_row(s);
    if (row != s->builtin && row->plan_swap) {
        enum ops_answer a = row->plan_swap(ctx_of(s, row), s, m->self, plan);
        if (a == OPS_HOLD) {
            arm_hold(s, plan->hold_ms);
            return a;
        }
        if (a == OPS_REJECT)
            return a;
        if (a == OPS_VALUE) {
            const char *fault = plan_fault(s, m, plan);
            if (!fault)
                return a;
            invalid(s, fault);
        }
    }
    plan->n_evict = 0;
    plan->when = PLAN_IDLE;
    plan->grace_ms = 0;
    sched_builtin_plan(s, m->self, plan);
    if (too_dear(s, row, plan, m->self)) {
        arm_hold(s, SCHED_HEARTBEAT_MS);
        return OPS_HOLD;
    }
    return OPS_VALUE;
}

static bool clashes(const struct sched *s, const struct smodel *m, const struct ops_plan *plan,
                    ticket_id who)
{
    bool reserved = s->reserved_for != 0 && s->reserved_for != who;
    if (m->victim_of > 0 || (reserved && held(s, m)))
        return true;
    for (size_t i = 0; i < plan->n_evict; i++) {
        const struct smodel *v = s->models[plan->evict[i]];
        if (v->swap || v->victim_of > 0)
            return true;
        if (reserved && (held(s, v) || v->self == s->reserved_target))
            return true;
    }
    return false;
}

static bool victims_busy(const struct sched *s, const struct ops_plan *plan)
{
    for (size_t i = 0; i < plan->n_evict; i++)
        if (s->models[plan->evict[i]]->inflight > 0)
            return true;
    return false;
}

static void cut_side_lane(struct sched *s, const struct ops_plan *plan)
{
    for (size_t i = 0; i < plan->n_evict; i++) {
        const struct smodel *v = s->models[plan->evict[i]];
        for (struct list *it = v->active.next; it != &v->active; it = it->next)
            view_guard(s, LIST_ENTRY(it, struct ticket, link), s->now + v->conf.unload_grace_ms,
                       "another model is wanted");
    }
}

bool dispatch_side_open(const struct sched *s, const struct smodel *m)
{
    return s->kind == SCHED_KIND_SERIAL && model_ready(s, m) && !m->swap && m->victim_of == 0;
}

/* The one that waited too long cannot go yet: its victims get no new work, its way is kept free. */
static void reserve(struct sched *s, const struct ticket *t, const struct ops_plan *plan)
{
    s->held_stamp++;
    s->reserved_for = t->id;
    s->reserved_target = t->model;
    for (size_t i = 0; i < plan->n_evict; i++)
        s->models[plan->evict[i]]->held = s->held_stamp;
}

void dispatch_forget(struct sched *s, const struct ticket *t)
{
    if (s->reserved_for == t->id) {
        s->reserved_for = 0;
        s->walk_due = true;
    }
}

/* ---- one step ---- */

static void commit_swap(struct sched *s, model_id target, struct ticket *owner, enum swap_by by,
                        const struct ops_plan *plan)
{
    swap_begin(s, target, owner, by, plan);
    swap_advance_all(s);
}

/* Takes t (NEW or QUEUED) as far as it can go now. */
static enum step step(struct sched *s, struct ticket *t, bool forced)
{
    struct smodel *m = s->models[t->model];
    bool classic = dispatch_classic(s);
    if (m->swap) {
        if (!classic)
            return STEP_BLOCKED;
        loop_detach(s, t);
        view_wait(s, t, m->swap);
        return STEP_JOINED;
    }
    if (m->frozen > 0)
        return STEP_BLOCKED; /* nobody is stopped for one that may not start yet */
    bool ready = model_ready(s, m);
    struct ops_plan plan = { .evict = s->scratch_plan };
    if (!ready || (dispatch_row(s)->flags & OPS_PLAN_READY)) {
        enum ops_answer a = ask_plan(s, m, &plan);
        if (a == OPS_HOLD)
            return STEP_BLOCKED;
        if (a == OPS_REJECT) {
            loop_detach(s, t);
            size_t at = s->out->len;
            loop_reject(s, t, plan.code ? plan.code : ERR_AGAIN, plan.text);
            s->out->at[at].status = plan.status;
            return STEP_REJECTED;
        }
    }
    bool way_free = !clashes(s, m, &plan, t->id) && !(m->state == MODEL_READY && !ready);
    if (way_free && ready && plan.n_evict == 0) {
        if ((!classic && full(s, m)) || !model_admits(s, m, t))
            return STEP_BLOCKED;
        loop_detach(s, t);
        loop_grant(s, t);
        return STEP_GRANTED;
    }
    if (way_free && s->kind == SCHED_KIND_SERIAL && victims_busy(s, &plan)) {
        plan.when = PLAN_DRAIN; /* busy with the side lane only: it has to make way */
        cut_side_lane(s, &plan);
    }
    if (way_free && plan.when == PLAN_IDLE && victims_busy(s, &plan)) {
        way_free = forced;
        plan.when = PLAN_DRAIN;
    }
    if (!way_free) {
        if (forced)
            reserve(s, t, &plan);
        return STEP_BLOCKED;
    }
    if (forced)
        loop_note(s, &(struct sched_note){ .kind = NOTE_OVERRIDE, .ticket = t, .model = t->model });
    loop_detach(s, t);
    commit_swap(s, m->self, t, SWAP_BY_REQUEST, &plan);
    return STEP_STARTED;
}

static struct ticket *oldest_aged(const struct sched *s)
{
    msec wait = dispatch_patience(s);
    if (wait <= 0 || list_empty(&s->by_age))
        return NULL;
    struct ticket *t = LIST_ENTRY(s->by_age.next, struct ticket, by_age);
    return s->now - t->arrived >= wait ? t : NULL;
}

/* ---- classic ---- */

void dispatch_arrival(struct sched *s, struct ticket *t)
{
    if (step(s, t, false) == STEP_BLOCKED)
        view_enqueue(s, t);
}

/* The next one behind `after` whose model was not given up for this round. */
static struct ticket *walk_next(const struct sched *s, struct qkey after)
{
    struct ticket *best = NULL;
    for (struct list *it = s->waiting.next; it != &s->waiting; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, waiting_link);
        if (m->blocked == s->round)
            continue;
        struct ticket *t = model_ticket(queue_after(&m->queue, after));
        if (t && (!best || qkey_cmp(t->in_model.key, best->in_model.key) < 0))
            best = t;
    }
    return best;
}

/* As if each one in the line were looked at in order. What is decided depends on the model alone until a
 * swap starts, so one look per model and swap is enough. */
static void walk(struct sched *s)
{
    s->walk_due = s->row_held = false;
    s->hold_until = MSEC_NEVER;
    s->reserved_for = 0;
    struct ticket *t;
    while ((t = oldest_aged(s)) && step(s, t, true) != STEP_BLOCKED)
        continue;
    s->round++;
    struct qkey at = { INT64_MIN, 0 };
    while ((t = walk_next(s, at))) {
        struct smodel *m = s->models[t->model];
        at = t->in_model.key;
        switch (step(s, t, false)) {
        case STEP_BLOCKED:
            m->blocked = s->round;
            break;
        case STEP_STARTED:
            s->round++;
            break; /* the rest of the line sees another world */
        case STEP_JOINED:
        case STEP_GRANTED:
        case STEP_REJECTED:
            break;
        }
    }
}

/* ---- eager, and serial ---- */

/* Serial: may a new decision be made? A load whose owner left is adopted or aborted here. */
static bool serial_free(struct sched *s)
{
    if (s->inflight > s->n_side)
        return false;
    if (s->n_swaps > 0) {
        struct swap *sw = LIST_ENTRY(s->swaps.next, struct swap, link);
        if (!swap_owner(sw))
            swap_orphaned(s, sw);
        if (s->n_swaps > 0)
            return false;
    }
    return s->now >= s->backoff_until;
}

static struct ticket *builtin_pick(struct sched *s, const struct policy_ops *row)
{
    enum cand_filter f = row->flags & OPS_FAST_READY ? CAND_COLD : CAND_ANY;
    const struct ticket *best = sched_cand_first(s, f, MODEL_NONE);
    if (row->score) {
        double top = -INFINITY;
        for (const struct ticket *t = best; t; t = sched_cand_next(s, t, f, MODEL_NONE)) {
            double score = 0;
            if (row->score(ctx_of(s, row), s, t, &score) != OPS_VALUE || isnan(score))
                score = 0;
            if (score > top) {
                top = score;
                best = t;
            }
        }
    }
    return best ? view_ticket(s, best->id) : NULL;
}

static bool going_on(const struct sched *s)
{
    return s->inflight > 0 || s->n_swaps > 0;
}

/* False: the hold stands. True: it breaks a rule, the built-in picks. */
static bool hold_refused(struct sched *s, msec ms)
{
    if (ms <= 0 && !going_on(s)) {
        invalid(s, "pick_next: hold without an end on an idle machine");
        return true;
    }
    if (ms > 0)
        arm_hold(s, ms);
    return false;
}

/* Who only watches sees these decisions too. */
static void show_pick(const struct sched *s)
{
    if (s->ops && s->ops->watch_pick && sched_cand_first(s, CAND_ANY, MODEL_NONE))
        s->ops->watch_pick(s->ops_ctx, s);
}

static struct ticket *choose(struct sched *s, bool *ret_forced)
{
    struct ticket *t = oldest_aged(s);
    *ret_forced = t && candidate(s, s->models[t->model], CAND_ANY);
    if (*ret_forced)
        return t;
    const struct policy_ops *row = dispatch_row(s);
    if (s->kind == SCHED_KIND_SERIAL && row == s->builtin) {
        show_pick(s);
        t = line_ticket(queue_first(&s->line));
        return candidate(s, s->models[t->model], CAND_ANY) ? t
                                                           : NULL; /* nobody overtakes the first */
    }
    if (!sched_cand_first(s, CAND_ANY, MODEL_NONE))
        return NULL;
    if (row->flags & OPS_FAST_READY) {
        const struct ticket *r = sched_cand_first(s, CAND_READY, MODEL_NONE);
        if (r)
            return view_ticket(s, r->id);
    }
    if (row->pick_next) {
        struct ops_pick pick = { 0 };
        enum ops_answer a = row->pick_next(ctx_of(s, row), s, &pick);
        if (a == OPS_HOLD && !hold_refused(s, pick.hold_ms))
            return NULL;
        if (a == OPS_VALUE) {
            t = view_ticket(s, pick.ticket);
            if (t && t->state == TICKET_QUEUED && candidate(s, s->models[t->model], CAND_ANY))
                return t;
            invalid(s, "pick_next: not a candidate");
        }
    }
    return builtin_pick(s, dispatch_row(s));
}

static void eager(struct sched *s)
{
    s->walk_due = s->row_held = false;
    s->hold_until = MSEC_NEVER;
    s->reserved_for = 0;
    s->round++;
    size_t budget = queue_len(&s->line) + s->n_models + 8;
    while (s->line.root && budget-- > 0) {
        if (s->kind == SCHED_KIND_SERIAL && !serial_free(s))
            return;
        bool forced;
        struct ticket *t = choose(s, &forced);
        if (!t)
            return;
        struct smodel *m = s->models[t->model];
        if (m->alone_wait > 0 && s->kind != SCHED_KIND_SERIAL) /* whoever was picked: they come first */
            t = model_ticket(queue_first(&m->queue));
        if (step(s, t, forced) == STEP_BLOCKED)
            m->blocked = s->round;
    }
}

static void decide(struct sched *s)
{
    if (!dispatch_classic(s)) {
        eager(s);
        s->walk_due = false;
        return;
    }
    while (s->walk_due) {
        show_pick(s);
        walk(s);
    }
}

/* An idle machine, somebody who could go, and a row that does not want it: for how long? */
static bool stalls(struct sched *s)
{
    if (!s->line.root || !s->row_held || going_on(s)) {
        s->idle_hold_since = MSEC_NEVER;
        return false;
    }
    if (s->idle_hold_since == MSEC_NEVER)
        s->idle_hold_since = s->now;
    return s->hold_limit_ms > 0 && s->now - s->idle_hold_since >= s->hold_limit_ms;
}

void dispatch(struct sched *s)
{
    decide(s);
    if (!stalls(s))
        return;
    s->stalled = true;
    loop_note(s, &(struct sched_note){ .kind = NOTE_STALL,
                                       .model = MODEL_NONE,
                                       .text = "held an idle machine for too long" });
    s->walk_due = true;
    decide(s);
}

/* ---- the rest ---- */

static bool preload_waits(struct sched *s, struct smodel *m)
{
    if (m->conf.retired || m->swap || m->state == MODEL_READY || m->state == MODEL_STARTING)
        return false; /* done, or being done */
    if (m->state == MODEL_STOPPING || m->frozen > 0 || s->line.root || s->now < s->backoff_until)
        return true;
    if (s->kind == SCHED_KIND_SERIAL && going_on(s))
        return true;
    struct ops_plan plan = { .evict = s->scratch_plan };
    sched_builtin_plan(s, m->self, &plan);
    bool harm = false;
    for (size_t i = 0; i < plan.n_evict; i++)
        harm = harm || s->models[plan.evict[i]]->state != MODEL_STOPPING;
    if (harm && !m->preload_evict)
        return false; /* somebody else has the place */
    if (clashes(s, m, &plan, 0) || victims_busy(s, &plan))
        return true;
    commit_swap(s, m->self, NULL, SWAP_BY_PRELOAD, &plan);
    return false;
}

static struct smodel *next_preload(const struct sched *s, uint64_t after)
{
    struct smodel *next = NULL;
    for (size_t i = 0; i < s->n_models; i++) {
        struct smodel *m = s->models[i];
        if (m->preload && m->preload_seq > after && (!next || m->preload_seq < next->preload_seq))
            next = m;
    }
    return next;
}

void dispatch_preloads(struct sched *s)
{
    s->preloads = false;
    uint64_t at = 0;
    struct smodel *m;
    while ((m = next_preload(s, at))) {
        at = m->preload_seq;
        m->preload = preload_waits(s, m);
        s->preloads = s->preloads || m->preload;
    }
}

bool dispatch_would_wait(const struct sched *s, model_id id)
{
    const struct smodel *m = view_model(s, id);
    if (!m || m->swap || !model_ready(s, m) || m->victim_of > 0 || held(s, m) || full(s, m) ||
        m->alone_wait + m->excluding > 0)
        return true;
    if (s->kind == SCHED_KIND_SERIAL)
        return s->inflight > s->n_side || s->n_swaps > 0 || s->line.root ||
               s->now < s->backoff_until || view_running(s, id, true, s->scratch_check) > 0;
    struct ops_plan plan = { .evict = s->scratch_plan };
    sched_builtin_plan(s, id, &plan);
    return plan.n_evict > 0;
}
