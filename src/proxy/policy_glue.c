/* policy_glue.c: see policy_glue.h. What policies want done is in policy_host.c, their http calls in policy_http.c. */
#include "proxy/policy_glue.h"

#include "base/check.h"
#include "base/rand.h"
#include "codec/json_scan.h"
#include "proxy/gpu_watch.h"
#include "proxy/model.h"
#include "proxy/server.h"

#include <stdlib.h>

#define HEADERS_MAX 64
#define IDLE_BUDGET_US 200

/* --- life --- */

static void conf_of(struct policy_glue *g, const struct config *cfg, struct policies_conf *out)
{
    *out = (struct policies_conf){
        .files = cfg->policies,
        .n_files = cfg->n_policies,
        .scheduler = cfg->scheduler == CONFIG_SCHED_FIFO ? "fifo" : "serial",
        .observe_only = cfg->scheduler == CONFIG_SCHED_SERIAL && !cfg->serial.reorder,
        .live = g->srv->http != NULL,
        .no_gpu = g->gpus_known ? !gpu_watch_any(g->gpus) : !gpu_watch_possible(),
        .host = &g->host,
    };
}

static void replan(struct policy_glue *g)
{
    g->plan = UINT64_MAX;
    policy_glue_settled(g);
}

static void on_timer(void *ud)
{
    struct policy_glue *g = ud;
    policies_tick(g->ps, io_loop_now(g->srv->loop));
    policies_idle(g->ps, IDLE_BUDGET_US);
    replan(g);
}

static void gpus_on(struct policy_glue *g)
{
    if (!g->gpus_known) /* at the start nobody is served yet: wait for the first look */
        g->gpus = gpu_watch_new(g->srv->loop, !g->srv->http);
    g->gpus_known = true;
    policy_host_gpus(g);
}

static int load(struct policy_glue *g, struct error *e)
{
    struct policies_conf conf;
    gpus_on(g);
    conf_of(g, g->srv->cfg, &conf);
    int rc = policies_new(&conf, false, io_loop_now(g->srv->loop), &g->ps, e);
    if (rc < 0) {
        g->ps = NULL;
        return rc;
    }
    g->cfg = config_ref(g->srv->cfg);
    if (!g->timer)
        g->timer = io_timer_new(g->srv->loop, "policies", on_timer, g);
    if (conf.observe_only)
        log_info("", "policies observe scheduling but do not decide it: the scheduler is serial (serial.reorder: true lets "
                     "them order requests)");
    policies_attach(g->ps, g->srv->dispatch.sched, io_loop_now(g->srv->loop));
    replan(g);
    g->watched = getenv("LUASWAP_LOOP_STATS") != NULL; /* costs half a microsecond a turn */
    if (g->watched)
        io_loop_watch(g->srv->loop, true);
    return 0;
}

int policy_glue_init(struct policy_glue *g, struct server *srv, struct error *e)
{
    g->srv = srv;
    policy_http_init(g);
    strbuf_init(&g->meta, 256u * 1024);
    rand_bytes(&srv->key_seed, sizeof srv->key_seed);
    policy_host_fill(g);
    return srv->cfg->n_policies ? load(g, e) : 0;
}

int policy_glue_reconfigure(struct policy_glue *g, struct error *e)
{
    if (!g->ps)
        return g->srv->cfg->n_policies ? load(g, e) : 0;
    struct policies_conf conf;
    gpus_on(g);
    conf_of(g, g->srv->cfg, &conf);
    int rc = policies_reconfigure(g->ps, &conf, io_loop_now(g->srv->loop), e);
    if (rc == 0) {
        config_unref(g->cfg);
        g->cfg = config_ref(g->srv->cfg);
    }
    if (rc == 0 && conf.n_files == 0) { /* nobody is left to look at it */
        g->host.gpu = NULL;
        gpu_watch_free(g->gpus);
        g->gpus = NULL;
        g->gpus_known = false;
    }
    replan(g);
    return rc;
}

int policy_glue_check(struct policy_glue *g, const struct config *next, struct error *e)
{
    if (next->n_policies == 0)
        return 0;
    struct policies_conf conf;
    struct policies *ps = NULL;
    conf_of(g, next, &conf);
    int rc = policies_new(&conf, false, io_loop_now(g->srv->loop), &ps, e);
    if (rc == 0)
        policies_free(ps);
    return rc;
}

void policy_glue_fini(struct policy_glue *g)
{
    if (!g->srv)
        return;
    if (g->ps)
        policies_stop(g->ps, "shutdown", io_loop_now(g->srv->loop));
    policy_http_fini(g);
    gpu_watch_free(g->gpus);
    g->gpus = NULL;
    io_timer_free(g->timer);
    g->timer = NULL;
    strbuf_fini(&g->meta);
    if (g->ps)
        sched_set_ops(g->srv->dispatch.sched, NULL, NULL);
    g->host.aside = NULL; /* the loop ends */
    policies_free(g->ps);
    g->ps = NULL;
    config_unref(g->cfg);
    g->cfg = NULL;
}

void policy_glue_settled(struct policy_glue *g)
{
    if (!g->ps)
        return;
    bool changed = policies_unsettled(g->ps);
    if (!changed && policies_plan(g->ps) == g->plan) /* nothing happened that could have changed when they are called */
        return;
    msec now = io_loop_now(g->srv->loop);
    policies_settle(g->ps, now);
    g->plan = policies_plan(g->ps);
    msec next = policies_next(g->ps);
    if (next == MSEC_NEVER)
        io_timer_clear(g->timer);
    else
        io_timer_set(g->timer, next > now ? next - now : 0);
}

/* --- requests --- */

void policy_glue_refuse(struct request *req, const struct policy_answer *a)
{
    if (a->retry_after_s > 0)
        req->retry_after_s = (uint32_t)(a->retry_after_s + 0.999);
    record_turned_away(req, a->policy, a->message);
    req_fail(req, a->status, a->code[0] ? a->code : NULL, str_c(a->message));
}

static str kind_of(str path)
{
    static const struct {
        const char *part, *kind;
    } kinds[] = { { "chat/completions", "chat" }, { "/messages", "chat" }, { "/responses", "chat" },
                  { "completion", "completion" }, { "/infill", "completion" }, { "embeddings", "embedding" },
                  { "rerank", "rerank" }, { "images/", "image" }, { "/sdapi/", "image" }, { "audio", "audio" } };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_find(path, str_c(kinds[i].part)) >= 0)
            return str_c(kinds[i].kind);
    return S("other");
}

static bool secret(const struct http_header *h)
{
    return h->id == HDR_AUTHORIZATION || h->id == HDR_X_API_KEY || h->id == HDR_PROXY_AUTHORIZATION ||
           h->id == HDR_COOKIE;
}

/* A key as policies see it: a keyed hash, stable as long as the program runs, from which nobody gets the key back. */
static str key_label(struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    str auth = http_value(h, HDR_AUTHORIZATION), key = http_value(h, HDR_X_API_KEY);
    str seen = auth.len ? auth : key;
    if (!seen.len)
        return STR_NONE;
    static const char digits[] = "0123456789abcdef";
    uint32_t hash = (uint32_t)str_hash(seen, req->srv->key_seed);
    char text[9] = { 'k' };
    for (int d = 8; d > 0; d--, hash >>= 4)
        text[d] = digits[hash & 15];
    return arena_dup(http_req_arena(req->http), str_n(text, sizeof text));
}

static int64_t count_items(str array)
{
    int64_t n = 0;
    if (!array.len || array.ptr[0] != '[')
        return -1;
    for (size_t i = 1; i < array.len;) {
        while (i < array.len && (chr_space(array.ptr[i]) || array.ptr[i] == ','))
            i++;
        size_t len = json_skip_value(str_sub(array, i, array.len));
        if (len == 0)
            break;
        n++;
        i += len;
    }
    return n;
}

/* --- what a request looks like: at once what is at hand, the rest when a policy reads it --- */

static void find_headers(struct request *req, struct policy_request_info *info)
{
    const struct http_head *h = http_req_head(req->http);
    struct arena *a = http_req_arena(req->http);
    struct policy_header *headers = ARENA_NEWN(a, HEADERS_MAX, struct policy_header);
    info->headers = headers;
    for (size_t i = 0; i < h->n_headers && info->n_headers < HEADERS_MAX; i++) {
        if (secret(&h->headers[i]))
            continue;
        str name = arena_dup(a, h->headers[i].name);
        for (size_t k = 0; k < name.len; k++)
            ((char *)(uintptr_t)name.ptr)[k] = chr_lower(name.ptr[k]);
        headers[info->n_headers++] = (struct policy_header){ name, h->headers[i].value };
    }
}

static void find_counts(struct policy_request_info *info)
{
    struct json_want want[] = { { .name = S("max_tokens") }, { .name = S("messages") } };
    int64_t n;
    if (json_scan_top(info->body, want, ARRAY_LEN(want), NULL, NULL) < 0)
        return;
    if (str_to_i64(json_want_value(info->body, &want[0]), &n))
        info->max_tokens = n;
    info->messages = count_items(json_want_value(info->body, &want[1]));
}

static void find_content(struct policy_request_info *info)
{
    struct json_want want[] = { { .name = S("messages") }, { .name = S("tools") } };
    if (json_scan_top(info->body, want, ARRAY_LEN(want), NULL, NULL) < 0)
        return;
    str messages = json_want_value(info->body, &want[0]);
    info->has_tools = count_items(json_want_value(info->body, &want[1])) > 0;
    info->has_images = str_find(messages, S("image_url")) >= 0 || str_find(messages, S("\"image\"")) >= 0;
}

static void find(struct policy_source *source, unsigned facts)
{
    struct request *req = source->ud;
    struct policy_request_info *info = source->info;
    const struct http_head *h = http_req_head(req->http);
    if (facts & POLICY_FACT_KIND)
        info->kind = kind_of(h->path);
    if (facts & POLICY_FACT_KEY)
        info->key = key_label(req);
    if (facts & POLICY_FACT_HEADERS && !info->headers)
        find_headers(req, info);
    if (facts & POLICY_FACT_COUNTS)
        find_counts(info);
    if (facts & POLICY_FACT_CONTENT && policies_need_body(req->srv->policy.ps))
        find_content(info);
    for (size_t i = 0; facts & POLICY_FACT_SESSION && i < req->cfg->n_session_id && !info->session.len; i++) {
        const struct http_header *s = http_find_name(h, req->cfg->session_id[i]);
        if (s)
            info->session = s->value;
    }
}

static str header(struct policy_source *source, str name)
{
    const struct request *req = source->ud;
    const struct http_head *h = http_req_head(req->http);
    for (size_t i = 0; i < h->n_headers; i++)
        if (h->headers[i].name.len == name.len && str_ieq(h->headers[i].name, name) && !secret(&h->headers[i]))
            return h->headers[i].value.ptr ? h->headers[i].value : S("");
    return STR_NONE;
}

static void describe(struct request *req, str asked, str body)
{
    struct arena *a = http_req_arena(req->http);
    struct described {
        struct policy_request_info info;
        struct policy_source source;
    } *d = ARENA_NEW(a, struct described);
    struct policy_request_info *info = &d->info;
    struct policy_source *source = &d->source;
    *source = (struct policy_source){ .info = info, .find = find, .header = header, .ud = req };
    *info = (struct policy_request_info){
        .source = source, .id = req->id, .model = asked, .asked = asked, .path = http_req_head(req->http)->path,
        .client = http_req_peer(req->http), .stream = req->streaming, .bytes = (int64_t)body.len,
        .tokens_in = (int64_t)(body.len / 4), .max_tokens = -1, .messages = -1, .deadline_s = -1, .attempt = 1,
        .arrived = io_loop_now(req->srv->loop), .body = body,
    };
    req->policy_info = info;
}

static str routed_name(struct request *req, const struct policy_answer *a, str asked)
{
    for (size_t i = 0; i < a->n_models; i++) {
        str name = str_c(a->models[i]);
        if (str_eq(name, asked))
            return asked;
        if (config_base(req->cfg, name) || config_find_selector(req->cfg, name) != CONFIG_NONE)
            return arena_dup(http_req_arena(req->http), name);
    }
    if (a->n_models)
        log_warn("", "policy %s routed to %s, which is not configured; going on with " STR_FMT, a->policy, a->models[0],
                 STR_ARG(asked));
    return asked;
}

static bool take_answer(struct request *req, enum policy_answer_kind kind, const struct policy_answer *a, str *ret_name)
{
    if (kind == POLICY_REFUSED) {
        policy_glue_refuse(req, a);
        return false;
    }
    if (kind == POLICY_ROUTED) {
        *ret_name = routed_name(req, a, req->asked);
        if (a->has_priority) {
            req->policy_priority = a->priority;
            req->has_policy_priority = true;
        }
    }
    return true;
}

static void on_routed(void *ud, const struct policy_answer *a)
{
    struct request *req = ud;
    req->route_job = NULL;
    str name = req->asked;
    if (req->state > REQ_QUEUED)
        return; /* answered meanwhile */
    if (take_answer(req, a->kind, a, &name))
        req->route_go_on(req, name);
}

bool policy_glue_route(struct request *req, str asked, str body, str *ret_name, void (*go_on)(struct request *req, str name))
{
    struct policy_glue *g = &req->srv->policy;
    *ret_name = asked;
    if (!g->ps)
        return true;
    if (!req->policy_info)
        describe(req, asked, body);
    req->policy_info->model = asked;
    req->route_go_on = go_on;
    if (!policies_wants(g->ps, POLICY_ROUTE))
        return true;
    struct policy_answer answer, *a = &answer;
    enum policy_answer_kind kind = policies_route(g->ps, req->policy_info, io_loop_now(req->srv->loop), a, on_routed, req,
                                                  &req->route_job);
    policy_glue_settled(g);
    if (kind == POLICY_PENDING)
        return false;
    req->route_job = NULL;
    return take_answer(req, kind, a, ret_name);
}

bool policy_glue_admit(struct request *req)
{
    struct policy_glue *g = &req->srv->policy;
    if (!g->ps)
        return true;
    if (!req->policy_info) /* no inference: the path names the model, nothing is routed */
        describe(req, req->asked.len ? req->asked : req->model->name, STR_NONE);
    struct policy_answer answer, *a = &answer;
    req->policy_info->model = req->model->name;
    enum policy_answer_kind kind = policies_on_request(g->ps, req->ticket, req->policy_info, io_loop_now(req->srv->loop), a);
    policy_glue_settled(g);
    if (kind == POLICY_REFUSED) {
        policy_glue_refuse(req, a);
        return false;
    }
    if (a->has_priority) {
        req->policy_priority = a->priority;
        req->has_policy_priority = true;
    }
    return true;
}

void policy_glue_ticket_end(struct request *req, ticket_id t)
{
    struct policy_glue *g = &req->srv->policy;
    if (!g->ps || !req->policy_info)
        return;
    int status = http_req_status(req->http);
    struct usage_tokens n = usage_end(&req->usage);
    struct policy_outcome o = { .status = status ? status : req->fail_status ? req->fail_status : req->failure.len ? 502 : 0,
                                .tokens_in = n.in, .tokens_out = n.out, .cost = -1, .error = req->failure };
    policies_outcome(g->ps, t, &o);
}

bool policy_glue_counts(const struct request *req)
{
    return req->srv->policy.ps && req->policy_info && policies_wants(req->srv->policy.ps, POLICY_ON_SERVE_DONE);
}

void policy_glue_note_failure(struct request *req, str error)
{
    if (req->policy_info)
        req->failure = arena_dup(http_req_arena(req->http), str_sub(error, 0, 160));
}

void policy_glue_request_end(struct request *req)
{
    struct policy_glue *g = &req->srv->policy;
    if (req->route_job)
        policies_route_cancel(g->ps, req->route_job);
    req->route_job = NULL;
    if (!g->ps || !req->policy_info)
        return;
    policies_request_end(g->ps, req->id);
    policies_source_end(g->ps, req->policy_info->source);
}

/* --- for the API --- */

void policy_glue_status(struct policy_glue *g, struct strbuf *out)
{
    if (g->ps) {
        policies_status_json(g->ps, io_loop_now(g->srv->loop), out);
        if (g->watched && !out->full && out->len > 0 && out->ptr[out->len - 1] == '}') { /* what policies may do to everybody else */
            out->len--;
            strbuf_addf(out, ",\"loop\":{\"longest_turn_ms\":%.3f}}", (double)io_loop_longest_us(g->srv->loop) / 1000);
        }
        return;
    }
    strbuf_addf(out, "{\"api_level\":%d,\"scheduler\":{\"in_charge\":\"builtin:%s\",\"configured\":null},\"policies\":[]}",
                POLICY_API_LEVEL, sched_kind_name(g->srv->cfg->scheduler == CONFIG_SCHED_FIFO ? SCHED_KIND_FIFO
                                                                                             : SCHED_KIND_SERIAL));
}

bool policy_glue_dump(struct policy_glue *g, str name, struct strbuf *out)
{
    return g->ps && policies_dump_json(g->ps, name, io_loop_now(g->srv->loop), out);
}

void policy_glue_trace(struct policy_glue *g, size_t n, struct strbuf *out)
{
    if (g->ps)
        policies_trace_json(g->ps, n, out);
    else
        strbuf_add(out, S("[]"));
}

int policy_glue_do(struct policy_glue *g, str name, str verb, struct error *e)
{
    msec now = io_loop_now(g->srv->loop);
    int rc = error_set(e, ERR_NOTFOUND, "no such policy");
    if (g->ps && str_eq(verb, S("reload")))
        rc = policies_reload(g->ps, name, now, e);
    else if (g->ps && str_eq(verb, S("resume")))
        rc = policies_resume(g->ps, name, now, e);
    else if (g->ps && str_eq(verb, S("disable")))
        rc = policies_disable(g->ps, name, now, e);
    replan(g);
    return rc;
}
