/* running.c: what runs, and stopping it (http.md 1.5). */
#include "api/api.h"

#include "base/check.h"
#include "codec/json.h"
#include "proxy/model.h"
#include "route/path_lookup.h"

#define RUNNING_MAX (64u * 1024 * 1024)

void api_running(struct request *req, const struct route *r)
{
    (void)r;
    struct strbuf b = STRBUF(RUNNING_MAX);
    struct json_out o;
    json_out_init(&o, &b);
    json_out_object(&o);
    json_out_key(&o, S("running"));
    json_out_array(&o);
    for (size_t i = 0; i < req->cfg->n_models; i++) { /* sorted by id */
        const struct config_model *c = &req->cfg->models[i];
        enum proc_state state = model_state(server_model_at(req->srv, req->cfg, i));
        if (state == PROC_STOPPED || state == PROC_SHUTDOWN)
            continue;
        json_out_object(&o);
        json_out_kstr(&o, "model", c->id);
        json_out_kstr(&o, "state", str_c(proc_state_name(state)));
        json_out_kstr(&o, "cmd", c->cmd);
        json_out_kstr(&o, "proxy", c->proxy);
        json_out_kint(&o, "ttl", c->ttl_ms / 1000);
        json_out_kstr(&o, "name", c->name);
        json_out_kstr(&o, "description", c->description);
        json_out_end(&o, '}');
    }
    json_out_end(&o, ']');
    json_out_end(&o, '}');
    api_reply_json(req, 200, &b);
}

/* --- unloading: the answer waits until the processes are gone --- */

struct unload {
    struct unload_op op;
    struct request *req;
    bool as_json;
};

static void unload_over(struct request *req)
{
    struct unload *u = req->local;
    dispatch_unload_forget(&u->op);
}

static void unload_done(void *ud)
{
    struct unload *u = ud;
    if (u->op.code < 0) {
        req_fail_err(u->req, u->op.code, S("a process does not end"));
        return;
    }
    if (u->as_json)
        req_reply(u->req, 200, S("application/json"), S("{\"msg\":\"ok\"}\n"));
    else
        req_reply(u->req, 200, S("text/plain; charset=utf-8"), S("OK"));
}

static void unload(struct request *req, const model_id *models, size_t n, bool as_json)
{
    struct unload *u = ARENA_NEW(http_req_arena(req->http), struct unload);
    u->req = req;
    u->as_json = as_json;
    u->op.done = unload_done;
    u->op.ud = u;
    req_local(req, u, unload_over, NULL);
    dispatch_unload(&req->srv->dispatch, &u->op, models, n);
}

void api_unload_all(struct request *req, const struct route *r)
{
    (void)r;
    unload(req, NULL, 0, false);
}

void api_unload_all_json(struct request *req, const struct route *r)
{
    (void)r;
    unload(req, NULL, 0, true);
}

/* The whole rest of the path is the name: with segments left over, a prefix that happens to be a model must not
 * be stopped by mistake. */
void api_unload_one(struct request *req, const struct route *r)
{
    str name;
    struct error e = { 0 };
    int rc = path_decode(http_req_arena(req->http), api_tail(req, r), &name, &e);
    if (rc < 0) {
        req_fail_err(req, rc, str_c(e.msg));
        return;
    }
    size_t index = config_find_model(req->cfg, name);
    struct model *m = index == CONFIG_NONE ? NULL : server_model_at(req->srv, req->cfg, index);
    if (!m) {
        req_fail(req, 404, NULL, S("model not found"));
        return;
    }
    unload(req, &m->id, 1, false);
}

/* --- cancelling: /api/inflight/{id}/cancel --- */

void api_cancel(struct request *req, const struct route *r)
{
    str id = api_tail(req, r);
    uint64_t n;
    if (!str_to_u64(id, &n) || !req_cancel(req->srv, n)) {
        req_fail(req, 404, NULL, S("no such request"));
        return;
    }
    req_reply(req, 200, S("application/json"), S("{\"msg\":\"ok\"}\n"));
}
