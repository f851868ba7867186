/* policy_glue.c: see policy_glue.h. */
#include "proxy/policy_glue.h"

#include "base/check.h"
#include "base/rand.h"
#include "codec/http_write.h"
#include "codec/json.h"
#include "codec/json_scan.h"
#include "http/client.h"
#include "proxy/model.h"
#include "proxy/server.h"

#include <stdio.h>
#include <stdlib.h>

#define HEADERS_MAX 64
#define IDLE_BUDGET_US 200
#define ANSWER_MAX (1024u * 1024)

/* --- what a policy may want done --- */

static void on_log(void *ud, enum policy_log_level level, const char *policy, const char *text)
{
    (void)ud;
    char scope[64];
    snprintf(scope, sizeof scope, "policy %s", policy);
    log_write((enum log_level)level, scope, "%s", text);
}

static bool model_facts(void *ud, model_id id, struct policy_model_facts *out)
{
    struct policy_glue *g = ud;
    struct model *m = server_model(g->srv, id);
    if (!m)
        return false;
    const struct config_params *meta = &m->conf->metadata;
    *out = (struct policy_model_facts){ 0 };
    for (size_t i = 0; i < meta->len; i++)
        if (str_eq(meta->at[i].name, S("vram_mb")) && meta->at[i].json.len < 32) {
            char text[32] = { 0 };
            memcpy(text, meta->at[i].json.ptr, meta->at[i].json.len);
            out->vram_mb = strtod(text, NULL);
        }
    strbuf_clear(&g->meta);
    struct json_out o;
    json_out_init(&o, &g->meta);
    json_out_object(&o);
    for (size_t i = 0; i < meta->len; i++) {
        json_out_key(&o, meta->at[i].name);
        json_out_raw(&o, meta->at[i].json);
    }
    json_out_end(&o, '}');
    out->meta_json = g->meta.full ? STR_NONE : strbuf_str(&g->meta);
    return true;
}

static void host_facts(void *ud, double *mem_free_mb, double *load1)
{
    (void)ud;
    double loads[1] = { 0 };
    (void)getloadavg(loads, 1);
    *load1 = loads[0];
    *mem_free_mb = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long kb;
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            *mem_free_mb = (double)kb / 1024;
    }
    if (f)
        fclose(f);
}

static void preload(void *ud, model_id m, bool evict, const char *why)
{
    struct policy_glue *g = ud;
    (void)why;
    struct sched_event ev = { .kind = SCHED_PRELOAD, .model = m, .evict = evict };
    dispatch_post(&g->srv->dispatch, &ev);
}

static void unload(void *ud, model_id m, const char *why)
{
    struct policy_glue *g = ud;
    (void)why;
    struct sched_event ev = { .kind = SCHED_UNLOAD, .models = &m, .n_models = 1 };
    dispatch_post(&g->srv->dispatch, &ev);
}

static void kick(void *ud)
{
    struct policy_glue *g = ud;
    struct sched_event ev = { .kind = SCHED_TICK };
    dispatch_post(&g->srv->dispatch, &ev);
}

static void refuse(struct request *req, const struct policy_answer *a)
{
    if (a->retry_after_s > 0)
        req->retry_after_s = (uint32_t)(a->retry_after_s + 0.999);
    req_fail(req, a->status, a->code[0] ? a->code : NULL, str_c(a->message));
}

static void cancel(void *ud, ticket_id t, const struct policy_answer *refusal)
{
    struct policy_glue *g = ud;
    struct request *req = dispatch_request(&g->srv->dispatch, t);
    if (req && !req->granted)
        refuse(req, refusal);
}

/* --- calls to other servers --- */

struct call {
    struct list node;
    struct policy_glue *g;
    uint64_t id;
    struct http_pool *pool;
    struct http_x *x;
    struct io_timer *limit;
    struct io_call later;
    char error[160]; /* "" = none */
    struct strbuf head, body, answer;
    int status;
};

static void call_free(struct call *c)
{
    io_call_cancel(&c->later);
    if (c->x)
        http_x_cancel(c->x);
    list_remove(&c->node);
    io_timer_free(c->limit);
    http_pool_free(c->pool);
    strbuf_fini(&c->head);
    strbuf_fini(&c->body);
    strbuf_fini(&c->answer);
    free(c);
}

/* At the end of the turn: the exchange is no more, so its pool may go. */
static void on_call_over(void *ud)
{
    struct call *c = ud;
    struct policy_glue *g = c->g;
    uint64_t id = c->id;
    struct strbuf body = c->answer;
    strbuf_init(&c->answer, ANSWER_MAX);
    char error[sizeof c->error];
    memcpy(error, c->error, sizeof error);
    struct policy_http_answer a = { .status = error[0] ? 0 : c->status, .body = strbuf_str(&body), .error = str_c(error) };
    call_free(c);
    policies_http_done(g->ps, id, &a, io_loop_now(g->srv->loop));
    strbuf_fini(&body);
    policy_glue_settled(g);
}

static void call_done(struct call *c, const char *error)
{
    c->x = NULL;
    io_timer_clear(c->limit);
    snprintf(c->error, sizeof c->error, "%.*s", (int)sizeof c->error - 1, error ? error : "");
    io_call_post(c->g->srv->loop, &c->later);
}

static void on_call_head(void *ud, struct http_x *x, const struct http_head *h)
{
    (void)x;
    ((struct call *)ud)->status = h->status;
}

static void on_call_body(void *ud, struct http_x *x, str bytes)
{
    (void)x;
    (void)strbuf_add(&((struct call *)ud)->answer, bytes);
}

static void on_call_end(void *ud, struct http_x *x, str trailers)
{
    struct call *c = ud;
    (void)x;
    (void)trailers;
    call_done(c, c->answer.full ? "the answer is larger than 1 MiB" : NULL);
}

static void on_call_fail(void *ud, struct http_x *x, enum http_stage at, const struct error *e)
{
    struct call *c = ud;
    (void)x;
    (void)at;
    call_done(c, e->msg);
}

static void on_call_limit(void *ud)
{
    struct call *c = ud;
    http_x_cancel(c->x);
    call_done(c, "timed out");
}

static bool http_start(void *ud, const struct policy_http_request *r)
{
    static const struct http_x_cb cb = { .head = on_call_head, .body = on_call_body, .end = on_call_end,
                                         .fail = on_call_fail };
    struct policy_glue *g = ud;
    struct gourl url;
    if (gourl_parse(r->url, &url, NULL) < 0 || !str_ieq(url.scheme, S("http")) || !url.host.len)
        return false;
    struct call *c = mem_zalloc(sizeof *c);
    struct http_pool_conf conf = { .host = url.host, .port = (int)url.port_num, .connect_ms = r->timeout_ms };
    c->g = g;
    c->id = r->id;
    strbuf_init(&c->head, 64u * 1024);
    strbuf_init(&c->body, ANSWER_MAX);
    strbuf_init(&c->answer, ANSWER_MAX);
    strbuf_addf(&c->head, STR_FMT " " STR_FMT "%s" STR_FMT " HTTP/1.1\r\nHost: " STR_FMT ":%u\r\n", STR_ARG(r->method),
                STR_ARG(url.path.len ? url.path : S("/")), url.query.len ? "?" : "", STR_ARG(url.query), STR_ARG(url.host),
                url.port_num);
    for (size_t i = 0; i < r->n_headers; i++)
        (void)http_head_add(&c->head, r->headers[i].name, r->headers[i].value);
    strbuf_addf(&c->head, "Content-Length: %zu\r\nConnection: close\r\n\r\n", r->body.len);
    strbuf_add(&c->body, r->body);
    io_call_init(&c->later, on_call_over, c);
    list_push_back(&g->calls, &c->node);
    c->pool = http_pool_new(g->srv->loop, &conf);
    c->limit = io_timer_new(g->srv->loop, "policy http", on_call_limit, c);
    io_timer_set(c->limit, r->timeout_ms);
    str part = strbuf_str(&c->body);
    c->x = http_x_start(c->pool, strbuf_str(&c->head), &part, part.len ? 1 : 0, str_eq(r->method, S("HEAD")), &cb, c);
    return true;
}

static void http_cancel(void *ud, uint64_t id)
{
    struct policy_glue *g = ud;
    LIST_FOREACH(it, &g->calls) {
        struct call *c = LIST_ENTRY(it, struct call, node);
        if (c->id == id) {
            call_free(c);
            return;
        }
    }
}

static void on_exit_wish(void *ud, const char *policy)
{
    struct policy_glue *g = ud;
    log_error("", "policy %s was ejected and is configured with on_eject: exit", policy);
    g->srv->exit_code = 1;
    server_stop(g->srv, false);
}

/* --- life --- */

static void conf_of(struct policy_glue *g, const struct config *cfg, struct policies_conf *out)
{
    *out = (struct policies_conf){
        .files = cfg->policies,
        .n_files = cfg->n_policies,
        .scheduler = cfg->scheduler == CONFIG_SCHED_FIFO ? "fifo" : "serial",
        .observe_only = cfg->scheduler == CONFIG_SCHED_SERIAL && !cfg->serial.reorder,
        .no_gpu = true,
        .host = &g->host,
    };
}

static void on_timer(void *ud)
{
    struct policy_glue *g = ud;
    policies_tick(g->ps, io_loop_now(g->srv->loop));
    policies_idle(g->ps, IDLE_BUDGET_US);
    policy_glue_settled(g);
}

static int load(struct policy_glue *g, struct error *e)
{
    struct policies_conf conf;
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
    policy_glue_settled(g);
    return 0;
}

int policy_glue_init(struct policy_glue *g, struct server *srv, struct error *e)
{
    g->srv = srv;
    list_init(&g->calls);
    strbuf_init(&g->meta, 256u * 1024);
    rand_bytes(&srv->key_seed, sizeof srv->key_seed);
    g->host = (struct policy_host){ .ud = g, .log = on_log, .model_facts = model_facts, .host_facts = host_facts,
                                    .preload = preload, .unload = unload, .kick = kick, .cancel = cancel,
                                    .http_start = http_start, .http_cancel = http_cancel, .exit = on_exit_wish };
    return srv->cfg->n_policies ? load(g, e) : 0;
}

int policy_glue_reconfigure(struct policy_glue *g, struct error *e)
{
    if (!g->ps)
        return g->srv->cfg->n_policies ? load(g, e) : 0;
    struct policies_conf conf;
    conf_of(g, g->srv->cfg, &conf);
    int rc = policies_reconfigure(g->ps, &conf, io_loop_now(g->srv->loop), e);
    if (rc == 0) {
        config_unref(g->cfg);
        g->cfg = config_ref(g->srv->cfg);
    }
    policy_glue_settled(g);
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
    LIST_FOREACH(it, &g->calls)
        call_free(LIST_ENTRY(it, struct call, node));
    io_timer_free(g->timer);
    g->timer = NULL;
    strbuf_fini(&g->meta);
    if (g->ps)
        sched_set_ops(g->srv->dispatch.sched, NULL, NULL);
    policies_free(g->ps);
    g->ps = NULL;
    config_unref(g->cfg);
    g->cfg = NULL;
}

void policy_glue_settled(struct policy_glue *g)
{
    if (!g->ps)
        return;
    msec now = io_loop_now(g->srv->loop);
    policies_settle(g->ps, now);
    msec next = policies_next(g->ps);
    if (next == MSEC_NEVER)
        io_timer_clear(g->timer);
    else
        io_timer_set(g->timer, next > now ? next - now : 0);
}

/* --- requests --- */

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
    return arena_printf(http_req_arena(req->http), "k%08llx",
                        (unsigned long long)(str_hash(seen, req->srv->key_seed) & 0xFFFFFFFFu));
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

static void describe(struct request *req, str asked, str body, struct policy_request_info *ret)
{
    const struct http_head *h = http_req_head(req->http);
    struct arena *a = http_req_arena(req->http);
    struct policy_header *headers = ARENA_NEWN(a, HEADERS_MAX, struct policy_header);
    *ret = (struct policy_request_info){
        .id = req->id, .model = asked, .asked = asked, .path = h->path, .kind = kind_of(h->path), .key = key_label(req),
        .client = http_req_peer(req->http), .stream = req->streaming, .bytes = (int64_t)body.len,
        .tokens_in = (int64_t)(body.len / 4), .max_tokens = -1, .messages = -1, .deadline_s = -1, .attempt = 1,
        .arrived = io_loop_now(req->srv->loop), .headers = headers, .body = body,
    };
    for (size_t i = 0; i < h->n_headers && ret->n_headers < HEADERS_MAX; i++) {
        if (secret(&h->headers[i]))
            continue;
        str name = arena_dup(a, h->headers[i].name);
        for (size_t k = 0; k < name.len; k++)
            ((char *)(uintptr_t)name.ptr)[k] = chr_lower(name.ptr[k]);
        headers[ret->n_headers++] = (struct policy_header){ name, h->headers[i].value };
    }
    for (size_t i = 0; i < req->cfg->n_session_id && !ret->session.len; i++) {
        const struct http_header *s = http_find_name(h, req->cfg->session_id[i]);
        if (s)
            ret->session = s->value;
    }
    struct json_want want[] = { { .name = S("max_tokens") }, { .name = S("messages") }, { .name = S("tools") } };
    if (json_scan_top(body, want, ARRAY_LEN(want), NULL, NULL) < 0)
        return;
    int64_t n;
    if (str_to_i64(json_want_value(body, &want[0]), &n))
        ret->max_tokens = n;
    str messages = json_want_value(body, &want[1]);
    ret->messages = count_items(messages);
    ret->has_tools = count_items(json_want_value(body, &want[2])) > 0;
    ret->has_images = str_find(messages, S("image_url")) >= 0 || str_find(messages, S("\"image\"")) >= 0;
}

static str routed_name(struct request *req, const struct policy_answer *a, str asked)
{
    for (size_t i = 0; i < a->n_models; i++) {
        str name = str_c(a->models[i]);
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
        refuse(req, a);
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
    if (take_answer(req, a->kind, a, &name))
        req->route_go_on(req, name);
}

bool policy_glue_route(struct request *req, str asked, str body, str *ret_name, void (*go_on)(struct request *req, str name))
{
    struct policy_glue *g = &req->srv->policy;
    *ret_name = asked;
    if (!g->ps)
        return true;
    req->policy_info = ARENA_NEW(http_req_arena(req->http), struct policy_request_info);
    describe(req, asked, body, req->policy_info);
    if (!policies_wants(g->ps, POLICY_ROUTE))
        return true;
    struct policy_answer *a = ARENA_NEW(http_req_arena(req->http), struct policy_answer);
    req->route_go_on = go_on;
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
    if (!g->ps || !req->policy_info)
        return true;
    struct policy_answer *a = ARENA_NEW(http_req_arena(req->http), struct policy_answer);
    req->policy_info->model = req->model->name;
    enum policy_answer_kind kind = policies_on_request(g->ps, req->ticket, req->policy_info, io_loop_now(req->srv->loop), a);
    policy_glue_settled(g);
    if (kind == POLICY_REFUSED) {
        refuse(req, a);
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
    struct policy_outcome o = { .status = http_req_status(req->http), .tokens_in = -1, .tokens_out = -1, .cost = -1 };
    policies_outcome(g->ps, t, &o);
}

void policy_glue_request_end(struct request *req)
{
    struct policy_glue *g = &req->srv->policy;
    if (req->route_job)
        policies_route_cancel(g->ps, req->route_job);
    req->route_job = NULL;
    if (g->ps && req->policy_info)
        policies_request_end(g->ps, req->id);
}

/* --- for the API --- */

void policy_glue_status(struct policy_glue *g, struct strbuf *out)
{
    if (g->ps) {
        policies_status_json(g->ps, io_loop_now(g->srv->loop), out);
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
    policy_glue_settled(g);
    return rc;
}
