/* policy.c: what the Lua policies do, and switching them (policy.md 2.11). */
#include "api/api.h"

#include "base/check.h"

#include <stdio.h>

#define JSON_MAX (4u * 1024 * 1024)

void api_policy(struct request *req, const struct route *r)
{
    (void)r;
    struct strbuf b = STRBUF(JSON_MAX);
    policy_glue_status(&req->srv->policy, &b);
    api_reply_json(req, 200, &b);
    strbuf_fini(&b);
}

void api_policy_get(struct request *req, const struct route *r)
{
    str tail = api_tail(req, r), name, what;
    struct strbuf b = STRBUF(JSON_MAX);
    uint64_t n = 200;
    (void)str_cut(tail, '/', &name, &what);
    if (str_eq(tail, S("trace"))) {
        str q = http_req_head(req->http)->query;
        if (str_starts(q, S("n=")))
            (void)str_to_u64(str_sub(q, 2, q.len), &n);
        policy_glue_trace(&req->srv->policy, n > 10000 ? 10000 : (size_t)n, &b);
        api_reply_json(req, 200, &b);
    } else if (str_eq(what, S("dump")) && policy_glue_dump(&req->srv->policy, name, &b)) {
        api_reply_json(req, 200, &b);
    } else {
        req_fail(req, 404, NULL, S("no such policy"));
    }
    strbuf_fini(&b);
}

/* --- switching --- */

static void answer(struct request *req, int rc, const char *why)
{
    if (rc == ERR_NOTFOUND) {
        req_fail(req, 404, NULL, S("no such policy, or not one of reload, resume, disable"));
    } else if (rc < 0) {
        req_fail(req, 409, NULL, str_c(why));
    } else {
        struct strbuf b = STRBUF(64);
        strbuf_add(&b, S("{\"msg\":\"ok\"}"));
        api_reply_json(req, 200, &b);
        strbuf_fini(&b);
    }
}

/* A file comes (back) into force: it is rehearsed first, and the request waits for that. */
struct change {
    struct server *srv;
    struct request *req; /* NULL: its client left; the change is made all the same */
    char name[64], verb[16];
};

static void client_left(struct request *req)
{
    ((struct change *)req->local)->req = NULL;
}

static void on_rehearsed(void *ud, int rc, const char *why)
{
    struct change *c = ud;
    struct error e = { 0 };
    if (rc == 0 && c->srv->phase == SERVER_RUNNING) {
        rc = policy_glue_do(&c->srv->policy, str_c(c->name), str_c(c->verb), &e);
        why = e.msg;
    }
    if (rc < 0)
        log_warn("policy", "%s: %s is refused, what was in force stays: %s", c->name, c->verb, why);
    if (c->req) {
        c->req->on_end = NULL;
        answer(c->req, rc, why);
    }
    free(c);
}

void api_policy_post(struct request *req, const struct route *r)
{
    struct error e = { 0 };
    str name, verb;
    (void)str_cut(api_tail(req, r), '/', &name, &verb);
    if (str_eq(verb, S("reload")) || str_eq(verb, S("resume"))) {
        struct change *c = mem_zalloc(sizeof *c);
        *c = (struct change){ .srv = req->srv, .req = req };
        snprintf(c->name, sizeof c->name, STR_FMT, STR_ARG(name));
        snprintf(c->verb, sizeof c->verb, STR_FMT, STR_ARG(verb));
        if (policy_rehearse_one(req->srv, name, str_eq(verb, S("resume")), on_rehearsed, c)) {
            req_local(req, c, client_left, NULL);
            return;
        }
        free(c);
    }
    int rc = policy_glue_do(&req->srv->policy, name, verb, &e);
    answer(req, rc, e.msg);
}
