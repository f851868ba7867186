/* Policies that only watch: a shadow, or notes alone. The built-in order goes on as if they were not there. */
#include "spec.h"

#include "policy/policy.h"
#include "sched/view.h"

#include <stdio.h>
#include <unistd.h>

struct rig {
    char path[32];
    struct config_policy file;
    struct policy_host host;
    struct sched *s;
    struct policies *ps;
    struct sched_actions out;
};

static void rig_open(struct rig *r, enum sched_kind kind, const char *text, enum config_policy_mode mode)
{
    static const struct sched_model models[] = {
        { .id = S("a"), .group = 1, .group_swap = true, .group_exclusive = true },
        { .id = S("b"), .group = 1, .group_swap = true, .group_exclusive = true },
    };
    *r = (struct rig){ .path = "/tmp/shadowXXXXXX" };
    int fd = mkstemp(r->path);
    CHECK_TRUE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    r->file = (struct config_policy){ .file = str_c(r->path), .settings_json = S("{}"), .memory_mb = 16, .instructions = 250000,
                                      .wall_ms = 50, .starve_after_ms = 600000, .hold_limit_ms = 60000, .mode = mode };
    struct sched_conf sc = { .kind = kind, .models = models, .n_models = 2, .fifo_max_wait_ms = 1234 };
    struct policies_conf pc = { .files = &r->file, .n_files = 1, .scheduler = sched_kind_name(kind),
                                .observe_only = kind == SCHED_KIND_SERIAL, .seed = 1, .virtual_time = true, .no_gpu = true,
                                .host = &r->host };
    struct error e = { 0 };
    r->s = sched_new(&sc);
    CHECK_INT(0, policies_new(&pc, false, 0, &r->ps, &e));
    policies_attach(r->ps, r->s, 0);
    policies_settle(r->ps, 0);
}

static void rig_close(struct rig *r)
{
    sched_set_ops(r->s, NULL, NULL);
    policies_free(r->ps);
    sched_free(r->s);
    sched_actions_fini(&r->out);
    unlink(r->path);
}

static void post(struct rig *r, struct sched_event ev)
{
    sched_post(r->s, &ev, &r->out);
    policies_settle(r->ps, ev.now);
}

static swap_id last(const struct rig *r, enum sched_act_kind kind)
{
    for (size_t i = r->out.len; i-- > 0;)
        if (r->out.at[i].kind == kind)
            return kind == SCHED_GRANT ? r->out.at[i].ticket : r->out.at[i].swap;
    return 0;
}

static const char shade[] = "return { api = 1, name = 'shade', pick_next = function(q) return luaswap.hold(30) end }";

TEST(a_shadow_is_shown_what_the_builtin_order_picks)
{
    static const enum sched_kind kinds[] = { SCHED_KIND_SERIAL, SCHED_KIND_FIFO };
    for (int i = 0; i < 2; i++) {
        struct rig r;
        rig_open(&r, kinds[i], shade, CONFIG_POLICY_SHADOW);
        post(&r, (struct sched_event){ .kind = SCHED_ARRIVE, .now = 1, .ticket = 1, .model = 0 });
        post(&r, (struct sched_event){ .kind = SCHED_MODEL_UP, .now = 5, .model = 0, .swap = last(&r, SCHED_START) });
        CHECK_UINT(1, last(&r, SCHED_GRANT));
        post(&r, (struct sched_event){ .kind = SCHED_ARRIVE, .now = 6, .ticket = 2, .model = 1 });
        post(&r, (struct sched_event){ .kind = SCHED_DONE, .now = 9, .ticket = 1 });
        post(&r, (struct sched_event){ .kind = SCHED_MODEL_DOWN, .now = 10, .model = 0, .swap = last(&r, SCHED_STOP) });
        post(&r, (struct sched_event){ .kind = SCHED_MODEL_UP, .now = 12, .model = 1, .swap = last(&r, SCHED_START) });
        CHECK_UINT(2, last(&r, SCHED_GRANT)); /* its hold() changed nothing */
        struct strbuf b = STRBUF(1u << 20);
        policies_status_json(r.ps, 20, &b);
        CHECK_TRUE(str_find(strbuf_str(&b), S("\"agreement\":{\"pick_next\":{\"same\":0,\"other\":")) > 0);
        CHECK_TRUE(str_find(strbuf_str(&b), S("\"state\":\"active\"")) > 0);
        strbuf_fini(&b);
        rig_close(&r);
    }
}

TEST(who_only_watches_leaves_the_patience_of_fifo_alone)
{
    struct rig r;
    rig_open(&r, SCHED_KIND_FIFO, shade, CONFIG_POLICY_SHADOW);
    CHECK_INT(1234, r.s->policy_starve_ms);
    rig_close(&r);
    rig_open(&r, SCHED_KIND_FIFO, "return { api = 1, name = 'n', on_serve_done = function() end }", CONFIG_POLICY_ENFORCE);
    CHECK_INT(1234, r.s->policy_starve_ms);
    rig_close(&r);
    rig_open(&r, SCHED_KIND_FIFO, "return { api = 1, name = 'p', pick_next = function(q) return q:first() end }", CONFIG_POLICY_ENFORCE);
    CHECK_INT(600000, r.s->policy_starve_ms);
    rig_close(&r);
}
