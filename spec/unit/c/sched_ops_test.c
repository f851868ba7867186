/* A row of one's own in charge of the loop (policy.md 2.4, 2.6): what it may decide, what is corrected, how its
 * patience ends. */
#include "spec.h"

#include "sched/view.h"

struct rig {
    struct sched *s;
    struct sched_actions out;
    struct policy_ops row;
    msec now;
    /* what the row answers */
    enum ops_answer pick, plan;
    ticket_id pick_ticket;
    msec hold_ms;
    model_id evict[4];
    size_t n_evict;
    enum plan_when when;
    double cost;
    msec ttl_ms;
    /* what it was asked and told */
    size_t picks, plans, notes[NOTE_KINDS];
    const char *fault;
};

static enum ops_answer on_pick(void *ctx, const struct sched *s, struct ops_pick *ret)
{
    struct rig *r = ctx;
    r->picks++;
    ret->ticket = r->pick_ticket;
    ret->hold_ms = r->hold_ms;
    return r->pick;
}

static enum ops_answer on_plan(void *ctx, const struct sched *s, model_id target,
                               struct ops_plan *ret)
{
    struct rig *r = ctx;
    r->plans++;
    for (size_t i = 0; i < r->n_evict; i++)
        ret->evict[ret->n_evict++] = r->evict[i];
    ret->when = r->when;
    ret->grace_ms = 100;
    ret->hold_ms = r->hold_ms;
    ret->code = ERR_BUSY;
    ret->status = 418;
    return r->plan;
}

static enum ops_answer on_cost(void *ctx, const struct sched *s, model_id victim, model_id target,
                               double *ret)
{
    struct rig *r = ctx;
    *ret = r->cost;
    return OPS_VALUE;
}

/* The newest first. */
static enum ops_answer on_score(void *ctx, const struct sched *s, const struct ticket *t,
                                double *ret)
{
    *ret = (double)t->id;
    return OPS_VALUE;
}

static enum ops_answer on_ttl(void *ctx, const struct sched *s, model_id m, msec *ret)
{
    struct rig *r = ctx;
    *ret = r->ttl_ms;
    return OPS_VALUE;
}

static void on_note(void *ctx, const struct sched *s, const struct sched_note *n)
{
    struct rig *r = ctx;
    r->notes[n->kind]++;
    if (n->kind == NOTE_INVALID)
        r->fault = n->text;
}

static void rig_init(struct rig *r, enum sched_kind kind, bool together)
{
    struct sched_model models[4] = { 0 };
    static const char *const ids[] = { "a", "b", "c", "d" };
    for (size_t i = 0; i < 4; i++)
        models[i] = (struct sched_model){ .id = str_c(ids[i]),
                                          .unload_grace_ms = 1000,
                                          .group_swap = !together,
                                          .group_exclusive = true,
                                          .preemptible = i == 0,
                                          .pinned = i == 3 };
    *r = (struct rig){ .plan = OPS_NONE, .pick = OPS_NONE };
    r->s = sched_new(&(struct sched_conf){ .kind = kind, .models = models, .n_models = 4 });
    r->row = (struct policy_ops){
        .name = "mine", .notes = ~0u, .pick_next = on_pick, .plan_swap = on_plan, .note = on_note
    };
    sched_set_ops(r->s, &r->row, r);
}

static void rig_fini(struct rig *r)
{
    struct error e = { 0 };
    sched_check(r->s, &e);
    CHECK_STR("", e.msg);
    sched_free(r->s);
    sched_actions_fini(&r->out);
}

static void post(struct rig *r, struct sched_event ev)
{
    ev.now = r->now;
    r->out.len = 0;
    sched_post(r->s, &ev, &r->out);
    struct error e = { 0 };
    sched_check(r->s, &e);
    CHECK_STR("", e.msg);
}

static void arrive(struct rig *r, ticket_id t, model_id m)
{
    post(r, (struct sched_event){ .kind = SCHED_ARRIVE, .ticket = t, .model = m });
}

static void tick(struct rig *r, msec at)
{
    r->now = at;
    post(r, (struct sched_event){ .kind = SCHED_TICK, .model = MODEL_NONE });
}

static void up(struct rig *r, model_id m)
{
    post(r,
         (struct sched_event){ .kind = SCHED_MODEL_UP, .model = m, .swap = r->s->models[m]->op });
}

static void down(struct rig *r, model_id m)
{
    post(r,
         (struct sched_event){ .kind = SCHED_MODEL_DOWN, .model = m, .swap = r->s->models[m]->op });
}

static void done(struct rig *r, ticket_id t)
{
    post(r, (struct sched_event){ .kind = SCHED_DONE, .ticket = t, .model = MODEL_NONE });
}

/* The first action of that kind in the last event, or NULL. */
static const struct sched_action *did(const struct rig *r, enum sched_act_kind kind)
{
    for (size_t i = 0; i < r->out.len; i++)
        if (r->out.at[i].kind == kind)
            return &r->out.at[i];
    return NULL;
}

static void ready(struct rig *r, model_id m)
{
    sched_adopt(r->s, m, MODEL_READY, r->now);
}

TEST(row_picks_and_the_loop_serves)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    ready(&r, 0);
    r.pick = OPS_VALUE;
    r.pick_ticket = 1;
    arrive(&r, 1, 0);
    CHECK_UINT(1, did(&r, SCHED_GRANT)->ticket);
    CHECK_UINT(0, r.plans); /* ready and no OPS_PLAN_READY */
    done(&r, 1);
    CHECK_UINT(1, r.notes[NOTE_SERVE_START]);
    CHECK_UINT(1, r.notes[NOTE_SERVE_DONE]);
    rig_fini(&r);
}

TEST(row_that_picks_no_candidate_is_corrected)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    ready(&r, 0);
    r.pick = OPS_VALUE;
    r.pick_ticket = 77;
    arrive(&r, 1, 0);
    CHECK_UINT(1, did(&r, SCHED_GRANT)->ticket);
    CHECK_UINT(1, r.notes[NOTE_INVALID]);
    rig_fini(&r);
}

TEST(score_orders_candidates)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, true);
    r.row.score = on_score;
    r.row.pick_next = NULL;
    r.hold_ms = 500;
    r.plan = OPS_HOLD;
    arrive(&r, 1, 0);
    arrive(&r, 2, 1);
    CHECK_NULL(did(&r, SCHED_START));
    r.plan = OPS_NONE;
    tick(&r, 500);
    CHECK_UINT(1, did(&r, SCHED_START)->model); /* ticket 2 */
    rig_fini(&r);
}

TEST(fast_ready_is_served_unasked)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    r.row.flags = OPS_FAST_READY;
    ready(&r, 0);
    arrive(&r, 1, 0);
    CHECK_TRUE(did(&r, SCHED_GRANT));
    CHECK_UINT(0, r.picks);
    rig_fini(&r);
}

TEST(hold_arms_one_wake_up)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    r.pick = OPS_HOLD;
    r.hold_ms = 1;
    arrive(&r, 1, 0);
    CHECK_NULL(did(&r, SCHED_START));
    CHECK_INT(SCHED_HOLD_MIN_MS, did(&r, SCHED_WAKE_AT)->at);
    r.pick = OPS_NONE;
    tick(&r, 10);
    CHECK_TRUE(did(&r, SCHED_START));
    rig_fini(&r);
}

TEST(hold_without_an_end_is_a_breach_on_an_idle_machine)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    r.pick = OPS_HOLD;
    arrive(&r, 1, 0);
    CHECK_TRUE(did(&r, SCHED_START));
    CHECK_UINT(1, r.notes[NOTE_INVALID]);
    arrive(&r, 2, 1); /* something is going on now */
    CHECK_UINT(1, r.notes[NOTE_INVALID]);
    rig_fini(&r);
}

TEST(holding_an_idle_machine_too_long_is_a_stall)
{
    for (int by_plan = 0; by_plan < 2; by_plan++) {
        struct rig r;
        rig_init(&r, SCHED_KIND_FIFO, false);
        sched_set_patience(r.s, 0, 3000);
        if (by_plan)
            r.plan = OPS_HOLD;
        else
            r.pick = OPS_HOLD;
        r.hold_ms = 1000;
        arrive(&r, 1, 0);
        for (msec t = 1000; t < 3000; t += 1000) {
            tick(&r, t);
            CHECK_NULL(did(&r, SCHED_START));
        }
        tick(&r, 3000);
        CHECK_TRUE(did(&r, SCHED_START));
        CHECK_UINT(1, r.notes[NOTE_STALL]);
        size_t asked = r.picks + r.plans;
        arrive(&r, 2, 1);
        CHECK_UINT(asked, r.picks + r.plans); /* it is asked no more */
        rig_fini(&r);
    }
}

TEST(one_that_waited_too_long_is_forced)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    sched_set_patience(r.s, 5000, 0);
    ready(&r, 0);
    arrive(&r, 1, 0);
    arrive(&r, 2, 1); /* waits for model 0 to be idle */
    CHECK_NULL(did(&r, SCHED_STOP));
    tick(&r, 5000);
    CHECK_UINT(1, r.notes[NOTE_OVERRIDE]);
    arrive(&r, 3, 0); /* no new work for the one that has to go */
    CHECK_NULL(did(&r, SCHED_GRANT));
    done(&r, 1);
    CHECK_UINT(0, did(&r, SCHED_STOP)->model);
    rig_fini(&r);
}

TEST(plan_drain_gives_victims_no_new_work)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    ready(&r, 1);
    arrive(&r, 1, 1);
    r.plan = OPS_VALUE;
    r.when = PLAN_DRAIN;
    r.evict[r.n_evict++] = 1;
    arrive(&r, 2, 0);
    CHECK_UINT(1, r.notes[NOTE_SWAP_START]);
    CHECK_NULL(did(&r, SCHED_STOP));
    r.plan = OPS_NONE;
    arrive(&r, 3, 1);
    CHECK_NULL(did(&r, SCHED_GRANT));
    done(&r, 1);
    CHECK_UINT(1, did(&r, SCHED_STOP)->model);
    down(&r, 1);
    up(&r, 0);
    CHECK_UINT(2, did(&r, SCHED_GRANT)->ticket);
    CHECK_UINT(1, r.notes[NOTE_SWAP_DONE]);
    rig_fini(&r);
}

TEST(plan_kill_stops_only_what_is_preemptible)
{
    for (model_id victim = 0; victim < 2; victim++) {
        struct rig r;
        rig_init(&r, SCHED_KIND_FIFO, false);
        ready(&r, victim);
        arrive(&r, 1, victim);
        r.plan = OPS_VALUE;
        r.when = PLAN_KILL;
        r.evict[r.n_evict++] = victim;
        arrive(&r, 2, 2);
        CHECK_NULL(did(&r, SCHED_STOP));
        tick(&r, 100);
        CHECK_TRUE((did(&r, SCHED_STOP) != NULL) == (victim == 0));
        done(&r, 1);
        rig_fini(&r);
    }
}

TEST(plans_that_break_a_rule_are_replaced)
{
    static const struct {
        model_id evict[2];
        size_t n;
        bool together;
        model_id up;
        const char *why;
    } bad[] = {
        { { 9 }, 1, false, 1, "unknown or the target itself" },
        { { 0 }, 1, false, 1, "unknown or the target itself" },
        { { 2 }, 1, false, 1, "does not run" },
        { { 1, 1 }, 2, false, 1, "named twice" },
        { { 3 }, 1, true, 3, "pinned" },
        { { 0 }, 0, false, 1, "may not run together" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct rig r;
        rig_init(&r, SCHED_KIND_FIFO, bad[i].together);
        ready(&r, bad[i].up);
        r.plan = OPS_VALUE;
        r.n_evict = bad[i].n;
        r.evict[0] = bad[i].evict[0];
        r.evict[1] = bad[i].evict[1];
        arrive(&r, 1, 0);
        CHECK_UINT(1, r.notes[NOTE_INVALID]);
        CHECK_TRUE(str_find(str_c(r.fault), str_c(bad[i].why)) >= 0);
        CHECK_UINT(1, r.notes[NOTE_SWAP_START]); /* with the built-in's plan */
        rig_fini(&r);
    }
}

TEST(plan_may_stop_more_than_the_groups_ask_for)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, true);
    ready(&r, 1);
    ready(&r, 2);
    r.plan = OPS_VALUE;
    r.evict[r.n_evict++] = 2;
    arrive(&r, 1, 0);
    CHECK_UINT(2, did(&r, SCHED_STOP)->model);
    CHECK_UINT(0, r.notes[NOTE_INVALID]);
    rig_fini(&r);
}

TEST(plan_refuses_a_request_with_its_own_status)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    r.plan = OPS_REJECT;
    arrive(&r, 1, 0);
    const struct sched_action *a = did(&r, SCHED_REJECT);
    CHECK_INT(ERR_BUSY, a->code);
    CHECK_INT(418, a->status);
    CHECK_UINT(1, r.notes[NOTE_CANCEL]);
    rig_fini(&r);
}

TEST(infinite_evict_cost_means_not_now)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    r.row.evict_cost = on_cost;
    r.cost = 1.0 / 0.0;
    ready(&r, 1);
    arrive(&r, 1, 0);
    CHECK_NULL(did(&r, SCHED_STOP));
    CHECK_INT(SCHED_HEARTBEAT_MS, did(&r, SCHED_WAKE_AT)->at); /* asked again by itself (I7) */
    r.cost = 5;
    tick(&r, SCHED_HEARTBEAT_MS);
    CHECK_TRUE(did(&r, SCHED_STOP));
    rig_fini(&r);
}

TEST(idle_ttl_of_the_row_replaces_the_configured_one)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    r.row.idle_ttl = on_ttl;
    r.ttl_ms = 250;
    arrive(&r, 1, 0);
    up(&r, 0);
    done(&r, 1);
    CHECK_INT(250, did(&r, SCHED_WAKE_AT)->at);
    tick(&r, 250);
    CHECK_UINT(0, did(&r, SCHED_STOP)->model);
    CHECK_UINT(1, r.notes[NOTE_UNLOAD]);
    rig_fini(&r);
}

TEST(under_serial_a_row_only_observes)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_SERIAL, false);
    r.pick = OPS_VALUE;
    r.pick_ticket = 2;
    ready(&r, 0);
    arrive(&r, 1, 0);
    arrive(&r, 2, 1);
    arrive(&r, 3, 0);
    done(&r, 1);
    CHECK_UINT(0, r.picks + r.plans);
    CHECK_UINT(1, did(&r, SCHED_STOP) ? 1 : 0);
    CHECK_UINT(1, r.notes[NOTE_SERVE_DONE]);
    rig_fini(&r);
}

TEST(under_serial_with_reorder_a_row_orders_but_never_two_run)
{
    struct sched_model models[2] = { { .id = S("a") }, { .id = S("b") } };
    struct rig r = { .pick = OPS_VALUE, .pick_ticket = 3 };
    r.s = sched_new(&(struct sched_conf){
        .kind = SCHED_KIND_SERIAL, .models = models, .n_models = 2, .serial_reorder = true });
    r.row =
        (struct policy_ops){ .name = "mine", .notes = ~0u, .pick_next = on_pick, .note = on_note };
    sched_set_ops(r.s, &r.row, &r);
    ready(&r, 0);
    arrive(&r, 1, 0);
    arrive(&r, 2, 1);
    arrive(&r, 3, 0);
    CHECK_NULL(did(&r, SCHED_GRANT));
    done(&r, 1);
    CHECK_UINT(3, did(&r, SCHED_GRANT)->ticket);
    CHECK_UINT(1, sched_inflight(r.s, MODEL_NONE));
    rig_fini(&r);
}

TEST(a_row_that_is_taken_away_leaves_the_line_to_the_built_in)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, false);
    r.pick = OPS_HOLD;
    r.hold_ms = 50000;
    arrive(&r, 1, 0);
    arrive(&r, 2, 0);
    sched_set_ops(r.s, NULL, NULL);
    tick(&r, 1);
    CHECK_TRUE(did(&r, SCHED_START));
    up(&r, 0);
    CHECK_UINT(2, sched_inflight(r.s, 0));
    rig_fini(&r);
}

TEST(candidates_are_what_could_go_now)
{
    struct rig r;
    rig_init(&r, SCHED_KIND_FIFO, true);
    ready(&r, 0);
    r.pick = OPS_HOLD;
    r.hold_ms = 1000;
    arrive(&r, 1, 1);
    arrive(&r, 2, 0);
    arrive(&r, 3, 1);
    r.s->round++; /* outside of a dispatch nothing is given up */
    CHECK_UINT(1, sched_cand_first(r.s, CAND_ANY, MODEL_NONE)->id);
    CHECK_UINT(2, sched_cand_first(r.s, CAND_READY, MODEL_NONE)->id);
    CHECK_UINT(2, sched_cand_first(r.s, CAND_ANY, 0)->id);
    const struct ticket *t = sched_cand_first(r.s, CAND_COLD, MODEL_NONE);
    t = sched_cand_next(r.s, t, CAND_COLD, MODEL_NONE);
    CHECK_UINT(3, t->id);
    CHECK_NULL(sched_cand_next(r.s, t, CAND_ANY, MODEL_NONE));
    CHECK_UINT(3, sched_cand_count(r.s, CAND_ANY, MODEL_NONE));
    CHECK_UINT(2, sched_cand_count(r.s, CAND_ANY, 1));
    CHECK_UINT(1, sched_cand_count(r.s, CAND_READY, MODEL_NONE));
    rig_fini(&r);
}
