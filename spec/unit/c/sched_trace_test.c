/* Events and actions as lines, both ways, and the ring of the last ones. */
#include "spec.h"

#include "sched/trace.h"

#include <stdio.h>

static void same_event(const struct sched_event *ev)
{
    struct strbuf a = STRBUF(4096), b = STRBUF(4096);
    CHECK_TRUE(trace_event_line(&a, ev));
    struct trace_line l;
    struct error e;
    CHECK_INT(0, trace_parse(strbuf_str(&a), &l, &e));
    CHECK_TRUE(l.is_event);
    CHECK_INT(ev->kind, l.ev.kind);
    CHECK_TRUE(trace_event_line(&b, &l.ev));
    CHECK_STR(strbuf_str(&a), strbuf_str(&b));
    strbuf_fini(&a);
    strbuf_fini(&b);
}

TEST(trace_event_lines_come_back)
{
    model_id some[] = { 3, 0, 7 };
    for (int k = SCHED_ARRIVE; k <= SCHED_DRAIN; k++) {
        struct sched_event ev = { .kind = (enum sched_ev_kind)k,
                                  .now = 123456789,
                                  .ticket = UINT64_MAX,
                                  .model = 4,
                                  .swap = 17,
                                  .priority = -5,
                                  .op = 99,
                                  .want_positions = true,
                                  .evict = true,
                                  .place = 1234567890123,
                                  .grace_ms = 250,
                                  .models = some,
                                  .n_models = 3 };
        if (k >= SCHED_MODEL_UP && k <= SCHED_MODEL_STUCK)
            ev.text = S("said \"no\"\n\\ and a \001 byte");
        same_event(&ev);
    }
    same_event(&(struct sched_event){ .kind = SCHED_ARRIVE, .now = -1, .model = MODEL_NONE });
    same_event(&(struct sched_event){ .kind = SCHED_UNLOAD, .op = 1 });
    same_event(&(struct sched_event){ .kind = SCHED_RETRY, .ticket = 3, .sent = true });
    same_event(&(struct sched_event){ .kind = SCHED_DONE, .ticket = 3, .died = true });
    same_event(&(struct sched_event){ .kind = SCHED_DRAIN, .grace_ms = 10000 });
    same_event(&(struct sched_event){ .kind = SCHED_UNLOAD, .op = 1, .models = some });
}

TEST(trace_event_line_is_readable)
{
    struct strbuf b = STRBUF(4096);
    model_id some[] = { 1, 2 };
    trace_event_line(&b,
                     &(struct sched_event){
                         .kind = SCHED_UNLOAD, .now = 5, .op = 3, .models = some, .n_models = 2 });
    CHECK_STR("UNLOAD now=5 op=3 models=1,2\n", strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(trace_action_lines_come_back)
{
    for (int k = SCHED_ADMIT; k <= SCHED_UNLOADED; k++) {
        struct sched_action a = { .kind = (enum sched_act_kind)k,
                                  .ticket = 8,
                                  .model = 2,
                                  .swap = 5,
                                  .op = 6,
                                  .at = 1000,
                                  .grace_ms = 30,
                                  .n = 12,
                                  .code = ERR_BUSY,
                                  .status = 429,
                                  .text = "why \"so\"" };
        struct strbuf one = STRBUF(4096), two = STRBUF(4096);
        CHECK_TRUE(trace_action_line(&one, &a));
        struct trace_line l;
        CHECK_INT(0, trace_parse(strbuf_str(&one), &l, NULL));
        CHECK_FALSE(l.is_event);
        CHECK_TRUE(trace_action_line(&two, &l.act));
        CHECK_STR(strbuf_str(&one), strbuf_str(&two));
        strbuf_fini(&one);
        strbuf_fini(&two);
    }
}

TEST(trace_parse_refuses_what_is_no_line)
{
    static const char *const bad[] = { "NONSENSE now=1",
                                       "ARRIVE now",
                                       "ARRIVE now=x",
                                       "ARRIVE ticket=-1",
                                       "ARRIVE model=4294967295",
                                       "ARRIVE colour=1",
                                       "REJECT text=\"open",
                                       "REJECT text=\"\\u12\"",
                                       "UNLOAD models=1,x",
                                       "ARRIVE priority=3000000000",
                                       "POSITION n=4294967296" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct trace_line l;
        struct error e = { 0 };
        CHECK_INT(ERR_SYNTAX, trace_parse(str_c(bad[i]), &l, &e));
        CHECK_TRUE(e.msg[0]);
    }
    struct trace_line l;
    CHECK_INT(ERR_NOTFOUND, trace_parse(S("  "), &l, NULL));
    CHECK_INT(ERR_NOTFOUND, trace_parse(S("# model 0"), &l, NULL));
}

TEST(trace_ring_keeps_the_last_events_with_their_actions)
{
    struct sched_ring *r = trace_ring_new();
    for (int i = 0; i < 3 * TRACE_EVENTS; i++) {
        trace_ring_event(
            r, &(struct sched_event){ .kind = SCHED_DONE, .now = i, .ticket = (ticket_id)i });
        trace_ring_action(
            r, &(struct sched_action){ .kind = SCHED_GRANT, .ticket = (ticket_id)i, .model = 1 });
    }
    struct strbuf b = STRBUF(1u << 20);
    trace_ring_dump(r, &b);
    size_t events = 0, actions = 0;
    str rest = strbuf_str(&b), line, first = STR_NONE;
    while (rest.len) {
        str_cut(rest, '\n', &line, &rest);
        if (events == 0)
            first = line;
        events += str_starts(line, S("DONE"));
        actions += str_starts(line, S("  GRANT"));
    }
    CHECK_UINT(TRACE_EVENTS, events);
    CHECK_UINT(TRACE_EVENTS, actions);
    char want[64];
    snprintf(want, sizeof(want), "DONE now=%d ticket=%d", 2 * TRACE_EVENTS, 2 * TRACE_EVENTS);
    CHECK_STR(want, first);
    strbuf_fini(&b);
    trace_ring_free(r);
}
