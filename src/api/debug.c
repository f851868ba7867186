/* debug.c: looking inside the running program. */
#include "api/api.h"

#define DUMP_MAX (32u * 1024 * 1024)
#define TRACE_MAX (16u * 1024 * 1024)

void api_debug_state(struct request *req, const struct route *r)
{
    (void)r;
    struct strbuf b = STRBUF(DUMP_MAX);
    server_dump(req->srv, &b);
    api_reply_json(req, 200, &b);
}

/* Lines of sched/trace.h: what is in a bug report can be fed to the simulator. */
void api_debug_sched(struct request *req, const struct route *r)
{
    (void)r;
    struct strbuf b = STRBUF(TRACE_MAX);
    sched_dump(req->srv->dispatch.sched, &b); /* cut when it is too long */
    req_reply(req, 200, S("text/plain; charset=utf-8"), strbuf_str(&b));
    strbuf_fini(&b);
}
