/* sched_again_test.c: a request that comes again with the place that it had; why a model is stopped, and how long that may
 * take. */
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

static void arrive(struct rig *r, ticket_id t, model_id m, uint64_t place)
{
    post(r, (struct sched_event){ .kind = SCHED_ARRIVE, .ticket = t, .model = m, .place = place });
}

static void done(struct rig *r, ticket_id t)
{
    post(r, (struct sched_event){ .kind = SCHED_DONE, .ticket = t });
}

static void begin(struct rig *r, enum sched_kind kind)
{
    static const struct sched_model models[] = {
        { .id = S("a"), .limit = 3, .unload_grace_ms = 1000, .group_swap = true, .group_exclusive = true },
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

TEST(a_request_that_comes_again_stands_where_it_stood)
{
    struct rig r;
    begin(&r, SCHED_KIND_SERIAL);
    arrive(&r, 1, 0, 0);
    uint64_t place = sched_place(r.s, 1);
    CHECK_TRUE(place > 0);
    arrive(&r, 2, 0, 0);
    arrive(&r, 3, 0, 0);
    CHECK_INT(0, (int)sched_place(r.s, 77));
    done(&r, 1); /* the second one's turn */
    CHECK_INT(2, (int)did(&r, SCHED_GRANT)->ticket);
    arrive(&r, 4, 0, place); /* the first one again, although its model's limit is 3 */
    CHECK_TRUE(did(&r, SCHED_REJECT) == NULL);
    arrive(&r, 5, 0, 0);
    CHECK_TRUE(did(&r, SCHED_REJECT) != NULL);
    done(&r, 2);
    CHECK_INT(4, (int)did(&r, SCHED_GRANT)->ticket);
    done(&r, 4);
    CHECK_INT(3, (int)did(&r, SCHED_GRANT)->ticket);
    arrive(&r, 6, 0, 1u << 30); /* a place that nobody ever had is none */
    done(&r, 3);
    CHECK_INT(6, (int)did(&r, SCHED_GRANT)->ticket);
    end(&r);
}

TEST(why_a_model_is_stopped)
{
    struct rig r;
    begin(&r, SCHED_KIND_SERIAL);
    arrive(&r, 1, 1, 0);
    CHECK_TRUE(did(&r, SCHED_STOP) != NULL);
    CHECK_STR("swap", str_c(sched_stop_why(r.s, 0)));
    end(&r);
    begin(&r, SCHED_KIND_FIFO);
    post(&r, (struct sched_event){ .kind = SCHED_UNLOAD, .op = 1 });
    CHECK_TRUE(did(&r, SCHED_STOP) != NULL);
    CHECK_STR("admin", str_c(sched_stop_why(r.s, 0)));
    end(&r);
    begin(&r, SCHED_KIND_FIFO);
    static const model_id which = 0;
    post(&r, (struct sched_event){ .kind = SCHED_RECYCLE, .op = 1, .models = &which, .n_models = 1 });
    CHECK_TRUE(did(&r, SCHED_STOP) != NULL);
    CHECK_STR("reload", str_c(sched_stop_why(r.s, 0)));
    end(&r);
    begin(&r, SCHED_KIND_FIFO);
    post(&r, (struct sched_event){ .kind = SCHED_DRAIN });
    post(&r, (struct sched_event){ .kind = SCHED_UNLOAD, .op = 1 });
    CHECK_STR("shutdown", str_c(sched_stop_why(r.s, 0)));
    end(&r);
}

/* Whoever performs the stop may wait for something else first, so long. */
TEST(a_stop_counts_as_stuck_later_when_there_is_slack)
{
    static const msec slack[] = { 0, 30000 };
    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        begin(&r, SCHED_KIND_FIFO);
        sched_set_stop_slack(r.s, slack[i]);
        post(&r, (struct sched_event){ .kind = SCHED_UNLOAD, .op = 1 });
        r.now += 20000;
        post(&r, (struct sched_event){ .kind = SCHED_TICK });
        CHECK_TRUE((did(&r, SCHED_UNLOADED) != NULL) == (slack[i] == 0));
        r.now += 30000;
        post(&r, (struct sched_event){ .kind = SCHED_TICK });
        CHECK_TRUE((did(&r, SCHED_UNLOADED) != NULL) == (slack[i] != 0));
        end(&r);
    }
}
