/* policy_show.c: what policies have to do with what people ask: who decides, why, how often. */
#include "proxy/server.h"

void policy_glue_in_charge(struct policy_glue *g, struct strbuf *out)
{
    if (g->ps)
        policies_in_charge(g->ps, out);
    else
        strbuf_addf(out, "builtin:%s", g->srv->cfg->scheduler == CONFIG_SCHED_FIFO ? "fifo" : "serial");
}

void policy_glue_why(struct policy_glue *g, ticket_id t, uint64_t id, struct strbuf *out)
{
    policies_why_json(g->ps, t, id, out);
}

void policy_glue_metrics(struct policy_glue *g, struct strbuf *out)
{
    policies_metrics(g->ps, out);
}
