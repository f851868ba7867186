/* policy_route_test.c: what waits: route with http, chains, time-outs, cancels; the hooks around a swap. */
#include "spec.h"

#include "base/mem.h"
#include "policy/policy.h"
#include "sched/ops.h"

#include <stdio.h>
#include <unistd.h>

struct world {
    struct policy_host host;
    struct policies *ps;
    struct sched *s;
    struct sched_actions out;
    uint64_t http[8];
    char url[8][200];
    size_t n_http, n_cancelled;
    struct policy_answer answer;
    int done, around_done;
    char log[4000];
};

static bool http_start(void *ud, const struct policy_http_request *r)
{
    struct world *w = ud;
    if (w->n_http == 8)
        return false;
    w->http[w->n_http] = r->id;
    snprintf(w->url[w->n_http++], 200, STR_FMT " " STR_FMT, STR_ARG(r->method), STR_ARG(r->url));
    return true;
}

static void http_cancel(void *ud, uint64_t id)
{
    struct world *w = ud;
    w->n_cancelled++;
}

static void on_log(void *ud, enum policy_log_level level, const char *policy, const char *text)
{
    struct world *w = ud;
    size_t len = strlen(w->log);
    snprintf(w->log + len, sizeof(w->log) - len, "%s: %s\n", policy, text);
}

static void on_done(void *ud, const struct policy_answer *a)
{
    struct world *w = ud;
    w->answer = *a;
    w->done++;
}

static void on_around(void *ud)
{
    struct world *w = ud;
    w->around_done++;
}

static const struct sched_model models[] = { { .id = { "a", 1 }, .group_swap = true, .group_exclusive = true },
                                             { .id = { "b", 1 }, .group_swap = true, .group_exclusive = true } };

static void open_world(struct world *w, const char *one, const char *two, bool required)
{
    memset(w, 0, sizeof(*w));
    w->host = (struct policy_host){ .ud = w, .log = on_log, .http_start = http_start, .http_cancel = http_cancel };
    const char *texts[2] = { one, two };
    char paths[2][32];
    static const str allow[] = { { "http://quota:9000/", 18 }, { "http://other", 12 } };
    struct config_policy files[2];
    size_t n = 0;
    for (size_t i = 0; i < 2 && texts[i]; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/tmp/policyXXXXXX");
        int fd = mkstemp(paths[i]);
        CHECK_TRUE(fd >= 0);
        CHECK_TRUE(write(fd, texts[i], strlen(texts[i])) == (ssize_t)strlen(texts[i]));
        close(fd);
        files[n++] = (struct config_policy){ .file = str_c(paths[i]), .required = required, .settings_json = S("{}"), .http_allow = allow,
                                             .n_http_allow = 2, .stop_hook_ms = 10000, .starve_after_ms = 600000, .hold_limit_ms = 60000 };
    }
    struct sched_conf sc = { .kind = SCHED_KIND_FIFO, .models = models, .n_models = 2 };
    w->s = sched_new(&sc);
    struct policies_conf pc = { .files = files, .n_files = n, .scheduler = "fifo", .seed = 1, .no_gpu = true, .host = &w->host };
    struct error e = { 0 };
    int rc = policies_new(&pc, false, 0, &w->ps, &e);
    for (size_t i = 0; i < n; i++)
        unlink(paths[i]);
    CHECK_STR("", e.msg);
    CHECK_INT(0, rc);
    policies_attach(w->ps, w->s, 0);
}

static void close_world(struct world *w)
{
    policies_free(w->ps);
    sched_free(w->s);
    sched_actions_fini(&w->out);
}

static struct policy_request_info request(uint64_t id, const char *model)
{
    return (struct policy_request_info){ .id = id, .model = str_c(model), .asked = str_c(model), .key = S("k"), .tokens_in = 7,
                                         .max_tokens = -1, .bytes = -1, .messages = -1, .deadline_s = -1, .attempt = 1 };
}

static enum policy_answer_kind route(struct world *w, uint64_t id, msec now, struct policy_route **job)
{
    struct policy_request_info info = request(id, "a");
    return policies_route(w->ps, &info, now, &w->answer, on_done, w, job);
}

#define POLICY(name, members) "return { api = 1, name = '" name "', " members " }"
#define ASK                                                                                        \
    "route = function(r) local res, err = luaswap.http.get('http://quota:9000/x?k=' .. r.key) "     \
    "if not res then luaswap.log.warn('%s', err) return nil end "                                   \
    "if res.status == 429 then return luaswap.reject(429, 'no', { retry_after = 5, code = 'q' }) end " \
    "assert(r.model == 'a' and r:header('x-y') == nil) return { model = res:json().model, priority = 4 } end"

TEST(a_route_waits_for_http_and_answers)
{
    struct world w;
    struct policy_route *job;
    open_world(&w, POLICY("p", ASK), NULL, false);
    CHECK_INT(POLICY_PENDING, route(&w, 1, 10, &job));
    CHECK_STR("GET http://quota:9000/x?k=k", w.url[0]);
    policies_http_done(w.ps, w.http[0], &(struct policy_http_answer){ .status = 200, .body = S("{\"model\":\"b\"}") }, 20);
    CHECK_INT(1, w.done);
    CHECK_INT(POLICY_ROUTED, w.answer.kind);
    CHECK_STR("b", w.answer.models[0]);
    CHECK_INT(4, w.answer.priority);
    policies_request_end(w.ps, 1);
    /* refused */
    CHECK_INT(POLICY_PENDING, route(&w, 2, 30, &job));
    policies_http_done(w.ps, w.http[1], &(struct policy_http_answer){ .status = 429 }, 40);
    CHECK_INT(POLICY_REFUSED, w.answer.kind);
    CHECK_INT(429, w.answer.status);
    CHECK_STR("q", w.answer.code);
    /* no answer: fails open */
    CHECK_INT(POLICY_PENDING, route(&w, 3, 50, &job));
    policies_http_done(w.ps, w.http[2], &(struct policy_http_answer){ .error = S("refused") }, 60);
    CHECK_INT(POLICY_PASS, w.answer.kind);
    CHECK_TRUE(strstr(w.log, "refused") != NULL);
    CHECK_INT(3, w.done);
    close_world(&w);
}

TEST(a_route_that_waits_too_long_is_given_up)
{
    struct world w;
    struct policy_route *job;
    open_world(&w, POLICY("p", ASK), POLICY("q", "route = function() return { model = 'b' } end"), false);
    CHECK_INT(POLICY_PENDING, route(&w, 1, 0, &job));
    CHECK_TRUE(policies_next(w.ps) <= 2000);
    policies_tick(w.ps, 2000);
    CHECK_INT(1, w.done); /* the next policy answered */
    CHECK_INT(1, w.n_cancelled);
    CHECK_STR("b", w.answer.models[0]);
    CHECK_STR("q", w.answer.policy);
    policies_http_done(w.ps, w.http[0], &(struct policy_http_answer){ .status = 200 }, 2001); /* late: nobody waits */
    CHECK_INT(1, w.done);
    close_world(&w);
}

TEST(a_required_route_that_fails_closes_the_door)
{
    struct world w;
    struct policy_route *job;
    open_world(&w, POLICY("p", ASK), NULL, true);
    CHECK_INT(POLICY_PENDING, route(&w, 1, 0, &job));
    policies_tick(w.ps, 2000);
    CHECK_INT(POLICY_REFUSED, w.answer.kind);
    CHECK_INT(503, w.answer.status);
    close_world(&w);
}

TEST(a_client_that_leaves_cancels_its_route)
{
    struct world w;
    struct policy_route *job;
    open_world(&w, POLICY("p", "route = function(r) local x <close> = setmetatable({}, { __close = function() luaswap.log.info('closed') end }) "
                               "luaswap.http.get('http://quota:9000/') end"), NULL, false);
    CHECK_INT(POLICY_PENDING, route(&w, 1, 0, &job));
    policies_route_cancel(w.ps, job);
    CHECK_INT(1, w.n_cancelled);
    CHECK_INT(0, w.done);
    CHECK_TRUE(strstr(w.log, "closed") != NULL);
    /* others are pending when everything ends: nothing is called back */
    CHECK_INT(POLICY_PENDING, route(&w, 2, 0, &job));
    close_world(&w);
    CHECK_INT(0, w.done);
}

TEST(a_policy_that_is_ejected_lets_its_routes_go_on)
{
    struct world w;
    struct policy_route *job;
    open_world(&w, POLICY("p", ASK ", on_model = function() error('x') end"), NULL, false);
    CHECK_INT(POLICY_PENDING, route(&w, 1, 0, &job));
    policies_disable(w.ps, S("p"), 10, NULL);
    CHECK_INT(1, w.done);
    CHECK_INT(POLICY_PASS, w.answer.kind);
    close_world(&w);
}

TEST(http_goes_only_where_it_may)
{
    struct world w;
    struct policy_route *job;
    open_world(&w,
               POLICY("p", "route = function() for _, u in ipairs { 'http://evil/', 'http://quota:9000@evil/', 'http://quota:9000/../x', "
                           "'ftp://quota:9000/', 'http://otherwise/', 'http://other.evil/', 'http://quota:9000/%2e%2e/', 'http://quota:9000/\\r\\nX', '', 'http://' } do "
                           "local res, err = luaswap.http.get(u) assert(res == nil and err:find 'http_allow', u) end "
                           "luaswap.log.info('all refused') return { model = 'b' } end"),
               NULL, false);
    CHECK_INT(POLICY_ROUTED, route(&w, 1, 0, &job));
    CHECK_UINT(0, w.n_http);
    CHECK_TRUE(strstr(w.log, "all refused") != NULL);
    close_world(&w);
}

TEST(http_where_nothing_can_wait_raises)
{
    struct world w;
    struct policy_route *job;
    open_world(&w, POLICY("p", "route = function() local ok, err = pcall(table.sort, { 2, 1 }, function() luaswap.http.get('http://quota:9000/') end) "
                               "assert(not ok and err:find 'not inside', err) return { model = 'b' } end"), NULL, false);
    CHECK_INT(POLICY_ROUTED, route(&w, 1, 0, &job));
    close_world(&w);
}

TEST(a_killed_coroutine_runs_no_code_without_its_hook)
{
    struct world w;
    struct policy_route *job;
    open_world(&w, POLICY("p", "route = function() local x <close> = setmetatable({}, { __close = function() while true do end end }) "
                               "while true do end end"), NULL, false);
    for (uint64_t id = 1; id <= 5; id++)
        CHECK_INT(POLICY_PASS, route(&w, id, 0, &job));
    CHECK_TRUE(strstr(w.log, "budget") != NULL);
    CHECK_TRUE(strstr(w.log, "ejected") != NULL);
    close_world(&w);
}

TEST(many_routes_wait_at_the_same_time)
{
    struct world w;
    struct policy_route *job[6];
    open_world(&w, POLICY("p", ASK), NULL, false);
    for (uint64_t i = 0; i < 6; i++)
        CHECK_INT(POLICY_PENDING, route(&w, i + 1, (msec)i, &job[i]));
    for (size_t i = 6; i-- > 0;) {
        policies_http_done(w.ps, w.http[i], &(struct policy_http_answer){ .status = 200, .body = S("{\"model\":\"b\"}") }, 100);
        CHECK_INT(POLICY_ROUTED, w.answer.kind);
    }
    CHECK_INT(6, w.done);
    close_world(&w);
}

TEST(the_hooks_around_a_swap_may_wait)
{
    struct world w;
    open_world(&w, POLICY("p", "before_stop = function(m, why) assert(m.id == 'a' and why == 'swap') "
                               "local res = luaswap.http.post('http://quota:9000/save', 'x') assert(m.id == 'a') luaswap.log.info('saved %d', res.status) end, "
                               "after_ready = function() end"), NULL, false);
    CHECK_TRUE(policies_around(w.ps, POLICY_BEFORE_STOP, 0, "swap", 10000, 0, on_around, &w));
    CHECK_INT(0, w.around_done);
    policies_http_done(w.ps, w.http[0], &(struct policy_http_answer){ .status = 200 }, 5);
    CHECK_INT(1, w.around_done);
    CHECK_TRUE(strstr(w.log, "saved 200") != NULL);
    CHECK_FALSE(policies_around(w.ps, POLICY_AFTER_READY, 0, "swap", 10000, 0, on_around, &w)); /* done at once */
    /* never answered: the swap goes on */
    CHECK_TRUE(policies_around(w.ps, POLICY_BEFORE_STOP, 0, "swap", 500, 10, on_around, &w));
    policies_tick(w.ps, 510);
    CHECK_INT(2, w.around_done);
    CHECK_FALSE(policies_around(NULL, POLICY_BEFORE_STOP, 0, "swap", 500, 10, on_around, &w));
    close_world(&w);
}

TEST(rewrite_and_on_failure_answer)
{
    struct world w;
    open_world(&w, "return { api = 1, name = 'p', requires = { 'body' }, rewrite = function(r, body) "
                   "if body.temperature then return { temperature = 0.5, seed = luaswap.json.null } end end, "
                   "on_failure = function(r, err) if err:find 'died' then return { retry = true, model = 'b', delay = 99 } end end }",
               NULL, false);
    struct policy_request_info info = request(1, "a");
    info.body = S("{\"temperature\":1,\"seed\":3}");
    struct strbuf b = STRBUF(1000);
    CHECK_TRUE(policies_rewrite(w.ps, 7, &info, 0, &b));
    CHECK_TRUE(strstr(b.ptr, "\"temperature\":0.5") && strstr(b.ptr, "\"seed\":null"));
    strbuf_clear(&b);
    info.body = S("{}");
    CHECK_FALSE(policies_rewrite(w.ps, 7, &info, 0, &b));
    strbuf_fini(&b);
    struct policy_retry retry;
    CHECK_TRUE(policies_on_failure(w.ps, 7, &info, S("it died"), 0, &retry));
    CHECK_STR("b", retry.model);
    CHECK_INT(30000, retry.delay_ms);
    CHECK_FALSE(policies_on_failure(w.ps, 7, &info, S("else"), 0, &retry));
    policies_ticket_end(w.ps, 7, "over", 0);
    close_world(&w);
}

TEST(an_accepted_request_that_never_arrives_gets_its_cancel)
{
    struct world w;
    open_world(&w, POLICY("p", "on_request = function(r) luaswap.log.info('in %d', r.id) end, on_cancel = function(r) luaswap.log.info('out %s', r.cause) end"),
               NULL, false);
    struct policy_request_info info = request(5, "a");
    struct policy_answer a;
    CHECK_INT(POLICY_PASS, policies_on_request(w.ps, 77, &info, 0, &a));
    policies_ticket_end(w.ps, 77, "limit", 1);
    policies_ticket_end(w.ps, 77, "limit", 1);
    CHECK_TRUE(strstr(w.log, "in 5") != NULL);
    char *out = strstr(w.log, "out limit");
    CHECK_TRUE(out != NULL && strstr(out + 1, "out limit") == NULL);
    close_world(&w);
}

TEST(nothing_is_done_for_no_policies)
{
    struct policy_answer a;
    struct policy_route *job;
    struct policy_request_info info = request(1, "a");
    CHECK_INT(POLICY_PASS, policies_route(NULL, &info, 0, &a, NULL, NULL, &job));
    CHECK_INT(POLICY_PASS, policies_on_request(NULL, 1, &info, 0, &a));
    policies_settle(NULL, 0);
    policies_tick(NULL, 0);
    policies_idle(NULL, 100);
    policies_ticket_end(NULL, 1, "", 0);
    policies_free(NULL);
    CHECK_TRUE(policies_next(NULL) == MSEC_NEVER);
    CHECK_FALSE(policies_wants(NULL, POLICY_ROUTE));
}

/* ---- an info that stays where it is: nothing is copied or found out before a policy asks ---- */

struct lazy {
    struct policy_request_info info;
    struct policy_source source;
    unsigned found; /* facts, each asked for once at most */
    int n_found, n_headers;
    char model[8], session[8];
};

static void lazy_find(struct policy_source *s, unsigned facts)
{
    struct lazy *z = s->ud;
    static const struct policy_header headers[] = { { { "x-y", 3 }, { "why", 3 } } };
    CHECK_INT(0, z->found & facts);
    z->found |= facts;
    z->n_found++;
    if (facts & POLICY_FACT_KEY)
        s->info->key = S("kk");
    if (facts & POLICY_FACT_COUNTS)
        s->info->messages = 3;
    if (facts & POLICY_FACT_SESSION)
        s->info->session = str_c(z->session);
    if (facts & POLICY_FACT_HEADERS) {
        s->info->headers = headers;
        s->info->n_headers = 1;
    }
}

static str lazy_header(struct policy_source *s, str name)
{
    struct lazy *z = s->ud;
    z->n_headers++;
    return str_ieq(name, S("x-y")) ? S("why") : STR_NONE;
}

static void lazy_init(struct lazy *z, uint64_t id)
{
    memset(z, 0, sizeof(*z));
    snprintf(z->model, sizeof(z->model), "a");
    snprintf(z->session, sizeof(z->session), "s1");
    z->info = request(id, z->model);
    z->info.key = STR_NONE;
    z->info.source = &z->source;
    z->source = (struct policy_source){ .info = &z->info, .find = lazy_find, .header = lazy_header, .ud = z };
}

TEST(facts_are_found_out_when_a_policy_reads_them)
{
    struct world w;
    struct policy_route *job;
    struct lazy z;
    lazy_init(&z, 1);
    open_world(&w, POLICY("p", "route = function(r) if r.tokens_in == 7 and r:header 'X-Y' == 'why' and not r:header 'x-api-key' then "
                               "return { model = 'b' } end end, on_request = function(r) if r.messages == 3 and r.messages == 3 "
                               "and r.model == 'b' then return { priority = 9 } end end"),
               NULL, false);
    CHECK_INT(POLICY_ROUTED, policies_route(w.ps, &z.info, 0, &w.answer, on_done, &w, &job));
    CHECK_INT(0, z.n_found);
    CHECK_INT(1, z.n_headers);
    z.info.model = S("b");
    CHECK_INT(POLICY_PASS, policies_on_request(w.ps, 70, &z.info, 0, &w.answer));
    CHECK_INT(9, w.answer.priority);
    CHECK_INT(POLICY_FACT_COUNTS, z.found);
    CHECK_INT(1, z.n_found);
    policies_request_end(w.ps, 1);
    policies_source_end(w.ps, &z.source); /* nobody will be told of its end: nothing is kept */
    CHECK_INT(1, z.n_found);
    CHECK_TRUE(z.source.rec == NULL);
    policies_ticket_end(w.ps, 70, "over", 1);
    close_world(&w);
}

TEST(what_is_told_of_a_request_outlives_its_source)
{
    struct world w;
    struct lazy *z = mem_zalloc(sizeof(*z));
    lazy_init(z, 2);
    open_world(&w, POLICY("p", "on_request = function(r) r.ctx.n = 5 end, on_cancel = function(r) luaswap.log.info('gone %s %s %s %s %d %d %s', "
                               "r.model, r.session, r.key, r:header 'x-y', r.messages, r.ctx.n, r:header 'x-z') end"),
               NULL, false);
    CHECK_INT(POLICY_PASS, policies_on_request(w.ps, 71, &z->info, 0, &w.answer));
    policies_source_end(w.ps, &z->source);
    policies_source_end(w.ps, &z->source);
    memset(z, 'z', sizeof(*z));
    free(z);
    policies_ticket_end(w.ps, 71, "client", 1);
    CHECK_TRUE(strstr(w.log, "gone a s1 kk why 3 5 nil") != NULL);
    close_world(&w);
}

TEST(an_answer_is_read_wherever_its_members_come_from)
{
    struct world w;
    struct policy_route *job;
    open_world(&w, POLICY("p", "route = function(r) local t = { model = 'b', priority = 3, class = 'c', [1] = 2, [true] = 4 } "
                               "if r.id == 1 then return setmetatable({ priority = 2 }, { __index = t }) end "
                               "if r.id == 2 then for i = 1, 50 do t['x' .. i] = i end end return t end"),
               NULL, false);
    for (uint64_t id = 1; id <= 3; id++) {
        CHECK_INT(POLICY_ROUTED, route(&w, id, 0, &job));
        CHECK_STR("b", w.answer.models[0]);
        CHECK_INT(id == 1 ? 2 : 3, w.answer.priority);
        CHECK_STR("c", w.answer.class_);
        policies_request_end(w.ps, id);
    }
    close_world(&w);
}
