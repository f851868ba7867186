/* warm.c: see warm.h. */
#include "proxy/warm.h"

#include "proxy/model.h"
#include "proxy/server.h"

struct wish {
    ticket_id ticket;
    model_id model;
};

/* As the scheduler sees them: what it is about to decide upon. */
static enum resolve_state state_of(void *ud, size_t model)
{
    struct request *req = ud;
    const struct model *m = server_model_at(req->srv, req->cfg, model);
    return m ? (enum resolve_state)sched_model_state(req->srv->dispatch.sched, m->id) : RESOLVE_STOPPED;
}

/* Where it would go now; NULL when that is where it waits. */
static struct model *better(struct request *req)
{
    const struct resolve_target *t = &req->target;
    if (!req->ticket || !req->retarget || t->selector == CONFIG_NONE ||
        req->cfg->selectors[t->selector].strategy != CONFIG_WARM)
        return NULL;
    struct resolve_ctx ctx = { .cfg = req->cfg, .profile = CONFIG_NONE, .state = state_of, .ud = req };
    struct resolve_target now = *t;
    resolve_again(&ctx, &now);
    if (now.kind != RESOLVE_LOCAL || now.model == t->model)
        return NULL;
    req->warmer = now;
    return server_model_at(req->srv, req->cfg, now.model);
}

void warm_look(struct server *srv, void (*move)(void *ud, ticket_id t, model_id m), void *ud)
{
    struct wish *wishes = NULL; /* first all, then the moves: a move may lead to grants, which change the list */
    size_t n = 0, cap = 0;
    LIST_FOREACH(it, &srv->by_state[REQ_QUEUED]) {
        struct request *req = LIST_ENTRY(it, struct request, node);
        struct model *m = better(req);
        if (!m)
            continue;
        if (n == cap) {
            cap = cap ? cap * 2 : 16;
            wishes = mem_resize(wishes, cap, sizeof *wishes);
        }
        wishes[n++] = (struct wish){ req->ticket, m->id };
    }
    for (size_t i = 0; i < n; i++)
        move(ud, wishes[i].ticket, wishes[i].model);
    free(wishes);
}
