/* sim_replay_test.c: traces read, made and imported; replays that repeat to the byte; rehearsal and its verdicts. */
#include "spec.h"

#include "sim/policy_cli.h"
#include "sim/rehearse.h"
#include "sim/trace_file.h"

#include <stdio.h>
#include <unistd.h>

static struct config_policy policy_file(char *path, const char *text)
{
    int fd = mkstemp(path);
    CHECK_TRUE(fd >= 0);
    CHECK_TRUE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return (struct config_policy){ .file = str_c(path), .settings_json = S("{}"), .memory_mb = 16, .instructions = 250000, .wall_ms = 50,
                                   .starve_after_ms = 600000, .hold_limit_ms = 60000 };
}

TEST(a_made_up_trace_replays_to_the_byte)
{
    struct strbuf text = STRBUF(1u << 20), logs[2] = { STRBUF(1u << 24), STRBUF(1u << 24) };
    sim_trace_synth(&text, 60, 4, 9, 5);
    char path[] = "/tmp/policyXXXXXX";
    struct config_policy f = policy_file(path, "return { api = 1, name = 'p', pick_next = function(q) local t = {} for r in q:each() do t[r.model] = r end "
                                               "for _, r in pairs(t) do return r end end, tick = function() return math.random() end }");
    for (int i = 0; i < 2; i++) {
        struct sim_trace t;
        struct error e = { 0 };
        CHECK_INT(0, sim_trace_parse(strbuf_str(&text), &t, &e));
        CHECK_UINT(60, t.n_requests);
        CHECK_UINT(5, t.n_models);
        struct replay_conf c = { .kind = t.kind, .seed = 3, .files = &f, .n_files = 1, .pairs = POLICY_PAIRS_SORTED, .keep_log = true, .check_all = true };
        struct replay *r;
        CHECK_INT(0, sim_trace_replay(&t, &c, &r, &e));
        CHECK_INT(0, replay_run(r, SIM_FOREVER, &e));
        struct replay_result res;
        replay_result(r, &res);
        CHECK_UINT(60, res.served);
        CHECK_TRUE(res.wait_s.p50 <= res.wait_s.p90 && res.wait_s.p99 <= res.wait_s.max && res.jain_keys <= 1.0001);
        strbuf_add(&logs[i], replay_log(r));
        replay_free(r);
        sim_trace_fini(&t);
    }
    CHECK_TRUE(logs[0].len > 1000 && str_eq(strbuf_str(&logs[0]), strbuf_str(&logs[1])));
    unlink(path);
    strbuf_fini(&text);
    strbuf_fini(&logs[0]);
    strbuf_fini(&logs[1]);
}

TEST(broken_traces_name_their_line)
{
    static const struct {
        const char *text, *with;
    } bad[] = { { "", "no models" }, { "{\"kind\":\"world\"}\nx", "line 2" }, { "{\"kind\":\"model\"}", "line 1" },
                { "{\"kind\":\"model\",\"id\":\"a\"}\n{\"kind\":\"req\",\"t\":1}", "line 2" },
                { "{\"kind\":\"model\",\"id\":\"a\",\"load_s\":-1}", "load_s" } };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct sim_trace t;
        struct error e = { 0 };
        CHECK_TRUE(sim_trace_parse(str_c(bad[i].text), &t, &e) < 0);
        CHECK_TRUE(strstr(e.msg, bad[i].with) != NULL);
    }
}

TEST(an_activity_log_becomes_a_trace_without_its_keys)
{
    struct strbuf out = STRBUF(1u << 20);
    struct error e = { 0 };
    CHECK_INT(0, sim_trace_import(S("ID,Timestamp,Model,Prompt,Generated,Duration,Key\n1,2026-08-01T10:00:05Z,\"qwen, big\",12,30,5000,sk-secret\n"
                                    "2,2026-08-01T10:00:09Z,small,1,2,1000,sk-secret\n"), &out, &e));
    CHECK_TRUE(strstr(out.ptr, "sk-secret") == NULL);
    struct sim_trace t;
    CHECK_INT(0, sim_trace_parse(strbuf_str(&out), &t, &e));
    CHECK_UINT(2, t.n_requests);
    CHECK_STR("qwen, big", t.requests[0].q.model);
    CHECK_INT(0, t.requests[0].at);
    CHECK_INT(8000, t.requests[1].at);
    CHECK_INT(5000, t.requests[0].q.serve_ms);
    sim_trace_fini(&t);
    strbuf_clear(&out);
    CHECK_TRUE(sim_trace_import(S("a,b\n1,2\n"), &out, &e) < 0);
    strbuf_fini(&out);
}

TEST(a_rehearsal_refuses_what_fails)
{
    static const struct {
        const char *text, *with;
    } cases[] = { { "return { api = 1, name = 'p', pick_next = function(q) return q:first() end }", NULL },
                  { "return { api = 1, name = 'p', pick_next = function() error('oh no') end }", "oh no" },
                  { "return { api = 1, name = 'p', pick_next = function() return luaswap.hold(5) end }", "rehearsal" },
                  { "return { api = 1, name = 'p', plan_swap = function() return { evict = {} } end }", "rehearsal" },
                  { "return { api = 1, name = 'p', score = function() while true do end end }", "budget" },
                  { "return 1", "table" } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char path[] = "/tmp/policyXXXXXX";
        struct config_policy f = policy_file(path, cases[i].text);
        struct error e = { 0 };
        int rc = rehearse_file(NULL, &f, &e);
        unlink(path);
        CHECK_INT(cases[i].with ? ERR_CONFIG : 0, rc);
        CHECK_TRUE(!cases[i].with || strstr(e.msg, cases[i].with) != NULL);
    }
}

TEST(the_commands_are_known)
{
    CHECK_TRUE(policy_cli_knows("simulate") && policy_cli_knows("check") && policy_cli_knows("policy") && policy_cli_knows("trace"));
    CHECK_FALSE(policy_cli_knows("serve"));
}
