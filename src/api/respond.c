/* respond.c: the few shapes in which the handlers answer. Errors are req_fail's business (proxy/request.h). */
#include "api/api.h"

#include "base/check.h"
#include "codec/http_write.h"

str api_tail(const struct request *req, const struct route *r)
{
    size_t prefix = strlen(r->path);
    ASSERT(prefix > 0 && r->path[prefix - 1] == '*');
    str path = http_req_head(req->http)->path;
    return str_sub(path, prefix - 1, path.len);
}

void api_reply_json(struct request *req, int status, struct strbuf *json)
{
    strbuf_addc(json, '\n');
    if (json->full)
        req_fail(req, 500, NULL, S("the answer is too large"));
    else
        req_reply(req, status, S("application/json"), strbuf_str(json));
    strbuf_fini(json);
}

void api_redirect(struct request *req, int status, str location)
{
    req_to(req, REQ_REPLY);
    struct strbuf *h = http_req_head_begin(req->http, status, http_reason(status));
    http_head_add(h, S("Location"), location);
    http_req_head_end(req->http, HTTP_BODY_LENGTH, 0);
    http_req_finish(req->http);
}
