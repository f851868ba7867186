/* respond.c: the few shapes in which the handlers answer. Errors are req_fail's business (proxy/request.h). */
#include "api/api.h"

#include "base/check.h"
#include "codec/http_write.h"
#include "codec/url.h"

#define LOCATION_MAX (512u * 1024)

str api_tail(const struct request *req, const struct route *r)
{
    str pattern = str_c(r->path), path = http_req_head(req->http)->path;
    ptrdiff_t star = str_chr(pattern, '*');
    ASSERT(star >= 0 && path.len + 1 >= pattern.len);
    return str_sub(path, (size_t)star, path.len + 1 - pattern.len);
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
    struct strbuf ascii = STRBUF(LOCATION_MAX);
    if (!url_ascii(&ascii, location)) { /* of what the client wrote raw */
        req_fail(req, 414, NULL, S("the path is too long to be redirected"));
        strbuf_fini(&ascii);
        return;
    }
    req_to(req, REQ_REPLY);
    struct strbuf *h = http_req_head_begin(req->http, status, http_reason(status));
    http_head_add(h, S("Location"), strbuf_str(&ascii));
    http_req_head_end(req->http, HTTP_BODY_LENGTH, 0);
    http_req_finish(req->http);
    strbuf_fini(&ascii);
}

void api_redirect_path(struct request *req, int status, struct strbuf *path)
{
    const struct http_head *h = http_req_head(req->http);
    if (h->has_query) {
        strbuf_addc(path, '?');
        strbuf_add(path, h->query);
    }
    if (path->full)
        req_fail(req, 414, NULL, S("the path is too long to be redirected"));
    else
        api_redirect(req, status, strbuf_str(path));
    strbuf_fini(path);
}
