/* policy_hooks.c: the hooks around the work itself: rewrite, on_failure, after_ready, before_stop.
 *
 * What the core keeps whatever they answer: a request is answered once; it is tried at most ATTEMPTS_MAX times in all and
 * only while no byte of an answer went out; a rewritten body keeps the model that was routed; no process is waited for
 * longer than HOOK_MAX_MS, and one that ends by itself ends the wait.
 */
#include "codec/json_edit.h"
#include "proxy/model.h"
#include "proxy/policy_glue.h"
#include "proxy/server.h"
#include "route/resolve.h"

#define ATTEMPTS_MAX 3u
#define REWRITE_BODY_MAX (1024u * 1024)
#define REWRITE_OPS_MAX 256u
#define HOOK_MAX_MS 60000
#define HOOK_SHUTDOWN_MS 5000 /* of the time that processes get for their end */

/* --- rewrite --- */

static str joined(struct request *req)
{
    if (req->n_parts == 1)
        return req->parts[0];
    char *all = arena_try(http_req_arena(req->http), req->parts_len + 1);
    size_t at = 0;
    for (size_t i = 0; all && i < req->n_parts; i++) {
        memcpy(all + at, req->parts[i].ptr, req->parts[i].len);
        at += req->parts[i].len;
    }
    return all ? str_n(all, at) : STR_NONE;
}

/* The path that means just this member, whatever is in its name. */
static str member_path(struct arena *a, str name)
{
    struct strbuf b = STRBUF(64u * 1024);
    strbuf_addc(&b, ':');
    for (size_t i = 0; i < name.len; i++) {
        if (strchr(".\\:#@|*?", name.ptr[i]))
            strbuf_addc(&b, '\\');
        strbuf_addc(&b, name.ptr[i]);
    }
    str path = b.full ? STR_NONE : arena_try_dup(a, strbuf_str(&b));
    strbuf_fini(&b);
    return path;
}

/* The members of `set` as changes; the model is the router's business. */
static size_t changes(struct arena *a, str set, struct json_op *ops)
{
    struct json_iter it;
    struct json_member m;
    size_t n = 0;
    if (!json_iter_init(&it, set, 0))
        return 0;
    while (n < REWRITE_OPS_MAX && json_iter_next(&it, &m)) {
        str name, value = str_sub(set, m.val_at, m.val_len);
        if (json_unescape(a, str_sub(set, m.key_at, m.key_len), &name, NULL) < 0 || str_eq(name, S("model")))
            continue;
        if (str_eq(value, S("null")))
            ops[n] = (struct json_op){ JSON_DELETE, member_path(a, name), STR_NONE };
        else
            ops[n] = (struct json_op){ JSON_MEMBER, name, value };
        n += ops[n].path.len > 0;
    }
    return n;
}

static void apply(struct request *req, str body, str set)
{
    struct arena *a = http_req_arena(req->http);
    struct json_op *ops = ARENA_NEWN(a, REWRITE_OPS_MAX, struct json_op);
    struct json_edit ed;
    struct error e = { 0 };
    size_t n = changes(a, set, ops);
    if (n == 0)
        return;
    if (json_edit(a, body, NULL, ops, n, &ed, &e) < 0) {
        log_warn("", "request %llu: what a policy's rewrite answered cannot be applied: %s", (unsigned long long)req->id,
                 e.msg);
        return;
    }
    req->parts = ed.segs;
    req->n_parts = ed.n;
    req->parts_len = ed.len;
}

void policy_glue_rewrite(struct request *req)
{
    struct policy_glue *g = &req->srv->policy;
    if (!g->ps || !req->policy_info || !policies_wants(g->ps, POLICY_REWRITE) || req->rewritten == req->parts ||
        req->policy_info->body.len == 0 || req->parts_len > REWRITE_BODY_MAX)
        return;
    str body = joined(req);
    struct strbuf set = STRBUF(REWRITE_BODY_MAX);
    struct policy_request_info info = *req->policy_info;
    info.body = body;
    if (body.len && policies_rewrite(g->ps, req->ticket, &info, io_loop_now(req->srv->loop), &set)) {
        str kept = arena_try_dup(http_req_arena(req->http), strbuf_str(&set));
        if (kept.len)
            apply(req, body, kept);
    }
    strbuf_fini(&set);
    req->rewritten = req->parts; /* once: another attempt sends the same */
    policy_glue_settled(g);
}

/* --- on_failure --- */

static bool known(const struct request *req, str name)
{
    return config_base(req->cfg, name) || config_find_selector(req->cfg, name) != CONFIG_NONE;
}

/* From the beginning: route, on_request, the line; at the place where it stood. */
static void on_again(void *ud)
{
    struct request *req = ud;
    str name = req->again_as;
    bool renamed = name.len > 0;
    if (req->state != REQ_QUEUED || req->ticket)
        return;
    req->moved = false;
    req->policy_info->attempt = ++req->attempts;
    if (!req->route_go_on) { /* the path names the model */
        if (req->peer || req->unscheduled)
            req_forward_now(req);
        else
            req_schedule(req);
        return;
    }
    resolve_release(&req->target);
    model_unref(req->model);
    req->model = NULL;
    req->peer = NULL;
    req->upstream_query = STR_NONE;
    if (renamed || policy_glue_route(req, req->asked, req->policy_info->body, &name, req->route_go_on))
        req->route_go_on(req, name);
}

enum policy_failure policy_glue_failed(struct request *req, ticket_id t, str error, bool builtin)
{
    struct policy_glue *g = &req->srv->policy;
    struct policy_retry retry;
    if (!g->ps || !req->policy_info || !policies_wants(g->ps, POLICY_ON_FAILURE) || req->srv->phase != SERVER_RUNNING ||
        req->cut || (http_req_started(req->http) && !req->loading))
        return POLICY_FAILURE_BUILTIN;
    bool any = policies_on_failure(g->ps, t, req->policy_info, error, io_loop_now(req->srv->loop), &retry);
    policy_glue_settled(g);
    if (!any)
        return POLICY_FAILURE_BUILTIN;
    if (!retry.retry)
        return POLICY_FAILURE_FINAL;
    if (req->attempts == 0)
        req->attempts = 1;
    str name = str_c(retry.model);
    if (builtin && !name.len && retry.delay_ms == 0) /* that very thing */
        return POLICY_FAILURE_BUILTIN;
    if (name.len && (!req->route_go_on || !known(req, name))) {
        log_warn("", "request %llu: on_failure names " STR_FMT ", which %s", (unsigned long long)req->id, STR_ARG(name),
                 req->route_go_on ? "is not configured" : "a request of this kind cannot go to");
        return POLICY_FAILURE_BUILTIN;
    }
    if (req->attempts >= ATTEMPTS_MAX) {
        log_warn("", "request %llu was tried %u times; no more", (unsigned long long)req->id, req->attempts);
        return POLICY_FAILURE_FINAL;
    }
    log_info("", "request %llu: " STR_FMT "; a policy has it tried again", (unsigned long long)req->id, STR_ARG(error));
    req->again_as = name.len ? arena_dup(http_req_arena(req->http), name) : STR_NONE;
    req->failure = arena_dup(http_req_arena(req->http), str_sub(error, 0, 160));
    policies_again(g->ps, t);
    req_release_slot(req);
    req->failure = STR_NONE;
    if (req->state != REQ_QUEUED)
        req_to(req, REQ_QUEUED);
    if (!req->again)
        req->again = io_timer_new(req->srv->loop, "attempt", on_again, req);
    io_timer_set(req->again, retry.delay_ms);
    return POLICY_FAILURE_AGAIN;
}

/* --- after_ready, before_stop --- */

struct model_wait {
    struct model *m; /* a reference */
    unsigned long long turn;
};

static struct model_wait *wait_new(struct model *m)
{
    struct model_wait *w = mem_zalloc(sizeof *w);
    w->m = model_ref(m);
    w->turn = ++m->hook_turn;
    return w;
}

/* Its waits so far count for nothing: the process ended, or another wait begins. */
static bool wait_over(struct model_wait *w, struct model **ret)
{
    struct model *m = w->m;
    bool counts = w->turn == m->hook_turn && m->srv->phase != SERVER_ENDED;
    *ret = m;
    free(w);
    return counts;
}

static void post_up(struct model *m)
{
    struct sched_event ev = { .kind = SCHED_MODEL_UP, .model = m->id, .swap = m->held_up };
    m->held_up = 0;
    dispatch_post(&m->srv->dispatch, &ev);
}

static void on_ready_over(void *ud)
{
    struct model *m;
    if (wait_over(ud, &m) && m->held_up)
        post_up(m);
    model_unref(m);
}

static void on_stop_over(void *ud)
{
    struct model *m;
    if (wait_over(ud, &m) && m->held_stop) {
        swap_id tag = m->held_stop;
        m->held_stop = 0;
        model_stop(m, tag, m->held_grace);
    }
    model_unref(m);
}

/* True: done(w) comes later. */
static bool around(struct model *m, enum policy_hook h, const char *why, void (*done)(void *ud))
{
    struct server *srv = m->srv;
    struct policy_glue *g = &srv->policy;
    if (!policies_wants(g->ps, h))
        return false;
    msec limit = srv->phase == SERVER_RUNNING ? HOOK_MAX_MS : HOOK_SHUTDOWN_MS;
    struct model_wait *w = wait_new(m);
    bool waits = policies_around(g->ps, h, m->id, why, limit, io_loop_now(srv->loop), done, w);
    if (!waits) {
        model_unref(m);
        free(w);
    }
    policy_glue_settled(g);
    return waits;
}

bool policy_glue_after_ready(struct model *m, swap_id tag)
{
    m->held_up = tag;
    if (around(m, POLICY_AFTER_READY, "", on_ready_over))
        return true;
    m->held_up = 0;
    return false;
}

bool policy_glue_before_stop(struct model *m, swap_id tag, msec grace_ms)
{
    m->held_grace = grace_ms;
    if (m->held_stop) { /* asked again meanwhile; the wait is the same */
        m->held_stop = tag;
        return true;
    }
    if (model_state(m) != PROC_READY || m->held_up)
        return false;
    m->held_stop = tag;
    if (around(m, POLICY_BEFORE_STOP, sched_stop_why(m->srv->dispatch.sched, m->id), on_stop_over))
        return true;
    m->held_stop = 0;
    return false;
}

swap_id policy_glue_model_ended(struct model *m)
{
    swap_id up = m->held_up;
    m->held_up = m->held_stop = 0;
    m->hook_turn++;
    return up;
}
