/* sched_dying_test.c: the command of a ready model has ended and its descendants have not: nobody is sent to it. */
#include "spec.h"

#include "sched/sched.h"

struct rig {
    struct sched *s;
    struct sched_actions out;
    msec now;
};

static void post(struct rig *r, struct sched_event ev)
{
    struct error e = { 0 };
    ev.now = r->now;
    r->out.len = 0;
    sched_post(r->s, &ev, &r->out);
    sched_check(r->s, &e);
    CHECK_STR("", e.msg);
}

static const struct sched_action *did(const struct rig *r, enum sched_act_kind kind)
{
    for (size_t i = 0; i < r->out.len; i++)
        if (r->out.at[i].kind == kind)
            return &r->out.at[i];
    return NULL;
}

static void arrive(struct rig *r, ticket_id t, model_id m)
{
    post(r, (struct sched_event){ .kind = SCHED_ARRIVE, .ticket = t, .model = m });
}

static void tell(struct rig *r, enum sched_ev_kind kind, model_id m, swap_id swap)
{
    r->now += 10;
    post(r, (struct sched_event){ .kind = kind, .model = m, .swap = swap });
}

/* Two models, the first one ready and serving nobody. */
static void begin(struct rig *r, enum sched_kind kind)
{
    static const struct sched_model models[] = {
        { .id = S("a"), .unload_grace_ms = 1000, .group_swap = true, .group_exclusive = true },
        { .id = S("b"), .unload_grace_ms = 1000, .group_swap = true, .group_exclusive = true },
    };
    *r = (struct rig){ .now = 100 };
    r->s = sched_new(&(struct sched_conf){ .kind = kind, .models = models, .n_models = 2 });
    sched_adopt(r->s, 0, MODEL_READY, r->now);
}

static void end(struct rig *r)
{
    sched_free(r->s);
    sched_actions_fini(&r->out);
}

static void for_both(void (*fn)(struct rig *r))
{
    static const enum sched_kind kinds[] = { SCHED_KIND_SERIAL, SCHED_KIND_FIFO };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct rig r;
        begin(&r, kinds[i]);
        fn(&r);
        end(&r);
    }
}

static void wait_for_end(struct rig *r)
{
    tell(r, SCHED_MODEL_DYING, 0, 0);
    CHECK_INT(MODEL_STOPPING, sched_model_state(r->s, 0));
    CHECK_TRUE(did(r, SCHED_STOP) == NULL); /* it is being ended already, and nobody is in a hurry */
    arrive(r, 1, 0);
    CHECK_TRUE(did(r, SCHED_GRANT) == NULL);
    CHECK_TRUE(did(r, SCHED_START) == NULL);
    const struct sched_action *stop = did(r, SCHED_STOP); /* now somebody is */
    CHECK_TRUE(stop != NULL);
    CHECK_INT(1000, stop->grace_ms);
    tell(r, SCHED_MODEL_DOWN, 0, stop->swap);
    const struct sched_action *start = did(r, SCHED_START);
    CHECK_TRUE(start != NULL);
    tell(r, SCHED_MODEL_UP, 0, start->swap);
    CHECK_UINT(1, did(r, SCHED_GRANT)->ticket);
}

TEST(a_request_for_a_dying_model_waits_for_its_end_and_then_loads_it)
{
    for_both(wait_for_end);
}

static void end_alone(struct rig *r)
{
    tell(r, SCHED_MODEL_DYING, 0, 0);
    tell(r, SCHED_MODEL_DYING, 0, 0); /* said twice: no matter */
    tell(r, SCHED_MODEL_DOWN, 0, 0);
    CHECK_INT(MODEL_STOPPED, sched_model_state(r->s, 0));
    tell(r, SCHED_MODEL_DYING, 0, 0); /* late: no matter */
    CHECK_INT(MODEL_STOPPED, sched_model_state(r->s, 0));
    arrive(r, 1, 1);
    CHECK_TRUE(did(r, SCHED_START) != NULL);
}

TEST(a_dying_model_that_nobody_wants_just_ends)
{
    for_both(end_alone);
}

static void other(struct rig *r)
{
    tell(r, SCHED_MODEL_DYING, 0, 0);
    arrive(r, 1, 1);
    CHECK_TRUE(did(r, SCHED_START) == NULL); /* never beside what is still alive */
    CHECK_INT(1, sched_start_ahead(r->s));
    tell(r, SCHED_MODEL_DOWN, 0, 0);
    CHECK_INT(1, did(r, SCHED_START)->model);
    CHECK_TRUE(sched_start_ahead(r->s) == MODEL_NONE);
}

TEST(another_model_waits_for_the_end_of_a_dying_one)
{
    for_both(other);
}

static void cut_requests(struct rig *r)
{
    arrive(r, 1, 0);
    CHECK_UINT(1, did(r, SCHED_GRANT)->ticket);
    tell(r, SCHED_MODEL_DYING, 0, 0);
    post(r, (struct sched_event){ .kind = SCHED_RETRY, .ticket = 1, .model = MODEL_NONE, .sent = true });
    CHECK_TRUE(did(r, SCHED_GRANT) == NULL);
    tell(r, SCHED_MODEL_DOWN, 0, 0);
    const struct sched_action *start = did(r, SCHED_START);
    CHECK_TRUE(start != NULL);
    tell(r, SCHED_MODEL_UP, 0, start->swap);
    CHECK_UINT(1, did(r, SCHED_GRANT)->ticket);
}

TEST(what_a_dying_model_served_comes_again_when_it_has_been_loaded)
{
    for_both(cut_requests);
}
