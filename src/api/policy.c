/* policy.c: what the Lua policies do, and switching them (policy.md 2.11). */
#include "api/api.h"

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

void api_policy_post(struct request *req, const struct route *r)
{
    struct error e = { 0 };
    str name, verb;
    (void)str_cut(api_tail(req, r), '/', &name, &verb);
    int rc = policy_glue_do(&req->srv->policy, name, verb, &e);
    if (rc == ERR_NOTFOUND) {
        req_fail(req, 404, NULL, S("no such policy, or not one of reload, resume, disable"));
        return;
    }
    if (rc < 0) {
        req_fail(req, 409, NULL, str_c(e.msg));
        return;
    }
    struct strbuf b = STRBUF(64);
    strbuf_add(&b, S("{\"msg\":\"ok\"}"));
    api_reply_json(req, 200, &b);
    strbuf_fini(&b);
}
