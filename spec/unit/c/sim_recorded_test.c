/* sim_recorded_test.c: what live recording writes, read back: order of ends, measured times, a matrix, what nobody served. */
#include "spec.h"

#include "sim/rehearse.h"
#include "sim/trace_file.h"

#define WORLD "{\"v\":1,\"kind\":\"world\",\"scheduler\":\"serial\",\"max_queue\":5,\"max_serve_s\":7}\n"
#define MODELS "{\"kind\":\"model\",\"id\":\"a\",\"unload_timeout_s\":3}\n{\"kind\":\"model\",\"id\":\"b\"}\n"

static void run(const struct sim_trace *t, struct replay_result *ret)
{
    struct replay_conf c = { .kind = t->kind, .seed = 1, .check_all = true };
    struct replay *r;
    struct error e = { 0 };
    CHECK_INT(0, sim_trace_replay(t, &c, &r, &e));
    CHECK_INT(0, replay_run(r, SIM_FOREVER, &e));
    CHECK_STR("", str_c(e.msg));
    replay_result(r, ret);
    replay_free(r);
}

TEST(requests_are_numbered_as_they_came_not_as_they_ended)
{
    struct sim_trace t;
    struct error e = { 0 };
    str text = S(WORLD MODELS "{\"kind\":\"req\",\"t\":2,\"id\":9,\"model\":\"b\",\"serve_s\":1}\n"
                              "{\"kind\":\"req\",\"t\":1,\"id\":8,\"model\":\"a\",\"serve_s\":20,\"side\":true}\n"
                              "{\"kind\":\"req\",\"t\":1,\"id\":7,\"model\":\"a\",\"serve_s\":3}\n");
    CHECK_INT(0, sim_trace_parse(text, &t, &e));
    CHECK_INT(5, t.max_queue);
    CHECK_INT(7000, t.max_serve_ms);
    CHECK_TRUE(t.models[0].grace_s == 3);
    CHECK_INT(7, t.requests[0].q.id);
    CHECK_INT(8, t.requests[1].q.id);
    CHECK_INT(9, t.requests[2].q.id);
    CHECK_TRUE(t.requests[1].q.side && !t.requests[0].q.side);
    t.max_serve_ms = 0;
    struct replay_result r;
    run(&t, &r);
    CHECK_INT(3, r.served);
    CHECK_INT(2, r.loads);
    sim_trace_fini(&t);
}

TEST(the_nth_load_takes_as_long_as_the_nth_did)
{
    struct sim_trace t;
    struct error e = { 0 };
    str text = S(WORLD MODELS "{\"kind\":\"measure\",\"t\":1,\"model\":\"a\",\"load_s\":4}\n"
                              "{\"kind\":\"measure\",\"t\":2,\"model\":\"a\",\"stop_s\":2}\n"
                              "{\"kind\":\"measure\",\"t\":3,\"model\":\"b\",\"load_s\":0.5,\"failed\":true}\n"
                              "{\"kind\":\"measure\",\"t\":4,\"model\":\"a\",\"load_s\":8}\n"
                              "{\"kind\":\"measure\",\"t\":4,\"model\":\"gone\",\"load_s\":8}\n"
                              "{\"kind\":\"req\",\"t\":1,\"model\":\"a\",\"serve_s\":1}\n"
                              "{\"kind\":\"req\",\"t\":1.1,\"model\":\"b\",\"serve_s\":1}\n"
                              "{\"kind\":\"req\",\"t\":1.2,\"model\":\"a\",\"serve_s\":1}\n"
                              "{\"kind\":\"req\",\"t\":1.3,\"model\":\"b\",\"serve_s\":1}\n"
                              "{\"kind\":\"req\",\"t\":1.4,\"model\":\"a\",\"serve_s\":1}\n");
    CHECK_INT(0, sim_trace_parse(text, &t, &e));
    CHECK_TRUE(t.models[0].load_s == 6 && t.models[0].stop_s == 2);
    CHECK_TRUE(t.models[1].load_s == 10); /* it only failed: nothing is known */
    struct replay_result r;
    run(&t, &r);
    /* a 4 s, b fails, a 8 s, b 10 s, a on average 6 s */
    CHECK_INT(5, r.loads);
    CHECK_INT(4, r.served);
    CHECK_INT(1, r.rejected);
    CHECK_TRUE(r.load_s > 28.49 && r.load_s < 28.52);
    sim_trace_fini(&t);
}

TEST(who_was_never_served_takes_as_long_as_the_others)
{
    struct sim_trace t;
    struct error e = { 0 };
    str text = S(WORLD MODELS "{\"kind\":\"req\",\"t\":1,\"model\":\"a\",\"serve_s\":2}\n{\"kind\":\"req\",\"t\":2,\"model\":\"a\",\"serve_s\":4}\n"
                              "{\"kind\":\"req\",\"t\":3,\"model\":\"a\",\"cancel_t\":90}\n{\"kind\":\"req\",\"t\":3,\"model\":\"b\",\"status\":429}\n");
    CHECK_INT(0, sim_trace_parse(text, &t, &e));
    CHECK_INT(3000, t.requests[2].q.serve_ms);
    CHECK_INT(87000, t.requests[2].q.cancel_ms);
    CHECK_INT(1000, t.requests[3].q.serve_ms);
    sim_trace_fini(&t);
}

TEST(a_matrix_in_the_world_decides_who_must_go)
{
    const char *worlds[] = { "{\"kind\":\"world\",\"scheduler\":\"fifo\",\"matrix\":{\"vars\":{\"p\":\"a\"},\"sets\":{\"s\":\"p & b\"}}}\n",
                             "{\"kind\":\"world\",\"scheduler\":\"fifo\",\"matrix\":{\"sets\":{\"s\":\"a | b\"}}}\n" };
    size_t loads[2];
    for (int i = 0; i < 2; i++) {
        struct strbuf text = STRBUF(1u << 16);
        strbuf_add(&text, str_c(worlds[i]));
        strbuf_add(&text, S(MODELS));
        for (int k = 0; k < 6; k++)
            strbuf_addf(&text, "{\"kind\":\"req\",\"t\":%d,\"model\":\"%s\",\"serve_s\":1}\n", k * 30, k % 2 ? "b" : "a");
        struct sim_trace t;
        struct error e = { 0 };
        CHECK_INT(0, sim_trace_parse(strbuf_str(&text), &t, &e));
        CHECK_TRUE(t.matrix != NULL);
        struct replay_result r;
        run(&t, &r);
        loads[i] = r.loads;
        sim_trace_fini(&t);
        strbuf_fini(&text);
    }
    CHECK_INT(2, loads[0]);
    CHECK_INT(6, loads[1]);
    struct sim_trace t;
    struct error e = { 0 };
    CHECK_TRUE(sim_trace_parse(S("{\"kind\":\"world\",\"matrix\":{\"sets\":{\"s\":\"a &\"}}}\n" MODELS), &t, &e) < 0);
}

TEST(preloads_and_unloads_of_people_happen_again)
{
    struct sim_trace t;
    struct error e = { 0 };
    str text = S(WORLD MODELS "{\"kind\":\"fact\",\"t\":0,\"preload\":\"a\"}\n{\"kind\":\"fact\",\"t\":60,\"unload\":\"a\"}\n"
                              "{\"kind\":\"req\",\"t\":30,\"id\":1,\"model\":\"a\",\"serve_s\":1}\n"
                              "{\"kind\":\"req\",\"t\":90,\"id\":2,\"model\":\"a\",\"serve_s\":1}\n");
    CHECK_INT(0, sim_trace_parse(text, &t, &e));
    struct replay_result r;
    run(&t, &r);
    CHECK_INT(2, r.served);
    CHECK_INT(2, r.loads);
    CHECK_TRUE(r.wait_s.p50 > 9.9 && r.wait_s.mean < 5.1); /* the first one found it loaded */
    sim_trace_fini(&t);
}
