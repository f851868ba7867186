/* What may wait: route, after_ready, before_stop, timers. Each runs in a coroutine that the core makes; its body
 * catches every error itself, so that no Lua code ever runs on a thread that died with its hooks off. */
#include "policy/task.h"

#include "base/check.h"

#include <stdio.h>

/* ---- the body of every coroutine ---- */

static void take_route(lua_State *co, struct task *t)
{
    const char *fault = NULL;
    t->verdict = V_NONE;
    if (lua_isnil(co, -1))
        return;
    const struct refusal *r = convert_refusal(co, -1);
    if (r) {
        convert_answer_refusal(t->answer, r, t->p->name);
        t->verdict = V_REJECT;
    } else if (convert_route(co, -1, t->p, t->answer, &fault)) {
        memcpy(t->answer->policy, t->p->name, sizeof(t->answer->policy));
        t->verdict = V_VALUE;
    } else {
        t->answer->n_models = 0;
        t->verdict = V_INVALID;
        snprintf(t->msg, sizeof(t->msg), "%s.route: %s", t->p->name, fault);
    }
}

static int body_done(lua_State *co, int status, lua_KContext ctx)
{
    struct task *t = (struct task *)ctx;
    if (status != LUA_OK && status != LUA_YIELD)
        t->verdict = gate_failed(co, status, t->hook, t->msg, sizeof(t->msg));
    else if (t->kind == TASK_ROUTE)
        take_route(co, t);
    else
        t->verdict = V_NONE;
    lua_settop(co, 0);
    return 0;
}

static int body(lua_State *co)
{
    struct task *t = lua_touserdata(co, 1);
    lua_settop(co, 0);
    int n = 0;
    lua_rawgeti(co, LUA_REGISTRYINDEX, t->kind == TASK_TIMER ? t->fn_ref : t->p->refs[t->hook]);
    if (t->kind == TASK_ROUTE) {
        view_push_request(co, t->p, t->req);
        n = 1;
    } else if (t->kind == TASK_AROUND) {
        view_push_model(co, t->p, t->model);
        lua_pushstring(co, t->why);
        n = 2;
    }
    return body_done(co, lua_pcallk(co, n, 1, 0, (lua_KContext)t, body_done), (lua_KContext)t);
}

/* ---- coroutines, kept for reuse ---- */

static int new_thread(lua_State *L)
{
    struct task *t = lua_touserdata(L, 1);
    t->co = lua_newthread(L);
    t->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static bool take_thread(struct task *t)
{
    struct policy *p = t->p;
    if (p->n_pool > 0) {
        t->co = p->pool[--p->n_pool];
        t->co_ref = p->pool_refs[p->n_pool];
        return true;
    }
    return gate_run(p, t->hook, 0, 0, new_thread, t, NULL) == 0;
}

static void give_thread(struct task *t, bool clean)
{
    struct policy *p = t->p;
    if (!t->co)
        return;
    if (!clean)
        gate_close_thread(p, t->co);
    if (clean && p->n_pool < 256) {
        if (p->n_pool == p->cap_pool) {
            p->cap_pool = p->cap_pool ? p->cap_pool * 2 : 16;
            p->pool = mem_resize(p->pool, p->cap_pool, sizeof(*p->pool));
            p->pool_refs = mem_resize(p->pool_refs, p->cap_pool, sizeof(*p->pool_refs));
        }
        p->pool[p->n_pool] = t->co;
        p->pool_refs[p->n_pool++] = t->co_ref;
    } else {
        luaL_unref(p->L, LUA_REGISTRYINDEX, t->co_ref); /* an existing slot: needs no memory */
    }
    t->co = NULL;
}

/* Most are over at once: one is kept. */
static void drop(struct policies *ps, struct task *t)
{
#ifdef LUASWAP_DEBUG /* the sanitizers see a use after the end */
    (void)ps;
    free(t);
#else
    free(ps->spare_task);
    ps->spare_task = t;
#endif
}

struct task *task_new(struct policy *p, enum task_kind kind, enum policy_hook h)
{
    struct task *t = p->ps->spare_task ? p->ps->spare_task : mem_resize(NULL, 1, sizeof(*t));
    p->ps->spare_task = NULL;
    memset(t, 0, offsetof(struct task, msg)); /* not the text */
    t->msg[0] = '\0';
    t->p = p;
    t->kind = kind;
    t->hook = h;
    t->deadline = MSEC_NEVER;
    t->fn_ref = LUA_NOREF;
    list_init(&t->link);
    if (p->n_tasks >= POLICY_TASKS_MAX || !take_thread(t)) {
        drop(p->ps, t);
        return NULL;
    }
    p->n_tasks++;
    list_push_back(&p->tasks, &t->link);
    return t;
}

void task_free(struct task *t, bool clean)
{
    struct policy *p = t->p;
    if (t->http) {
        if (p->ps->host->http_cancel)
            p->ps->host->http_cancel(p->ps->host->ud, t->http);
        p->n_http--;
    }
    give_thread(t, clean);
    list_remove(&t->link);
    p->n_tasks--;
    if (t->kind == TASK_TIMER && t->fn_ref != LUA_NOREF)
        luaL_unref(p->L, LUA_REGISTRYINDEX, t->fn_ref);
    drop(p->ps, t);
}

static bool run(struct task *t, int nargs, enum verdict *ret)
{
    struct policy *p = t->p;
    p->cur = t->req;
    p->cur_task = t;
    enum verdict v = gate_resume(p, t->hook, t->co, nargs, &t->verdict, t->msg);
    p->cur_task = NULL;
    if (v == V_YIELD)
        return false;
    *ret = v;
    task_free(t, lua_status(t->co) == LUA_OK);
    return true;
}

bool task_run(struct task *t, int nargs, enum verdict *ret)
{
    struct policy *p = t->p;
    /* Views that it holds across a wait live again (their records do). */
    if (t->req)
        view_push_request(p->L, p, t->req);
    if (t->kind == TASK_AROUND)
        view_push_model(p->L, p, t->model);
    lua_settop(p->L, 0);
    return run(t, nargs, ret);
}

bool task_start(struct task *t, enum verdict *ret)
{
    lua_pushcfunction(t->co, body);
    lua_pushlightuserdata(t->co, t);
    return run(t, 1, ret);
}

/* ---- outside answers, time, the end ---- */

struct task_end {
    enum task_kind kind;
    struct policy *p;
    struct policy_route *job;
    struct around *around;
    enum verdict v;
};

static struct task_end ending(const struct task *t)
{
    return (struct task_end){ t->kind, t->p, t->job, t->around, V_BUDGET };
}

static void task_over(struct task_end *e)
{
    if (e->kind == TASK_ROUTE && e->job)
        route_resume(e->job, e->p, e->v);
    else if (e->kind == TASK_AROUND && e->around)
        around_done(e->around);
}

void policies_http_done(struct policies *ps, uint64_t id, const struct policy_http_answer *a, msec now)
{
    if (!ps)
        return;
    ps->now = now;
    for (size_t i = 0; i < ps->n; i++) {
        LIST_FOREACH (it, &ps->at[i]->tasks) {
            struct task *t = LIST_ENTRY(it, struct task, link);
            if (t->http != id)
                continue;
            t->http = 0;
            t->p->n_http--;
            t->got = a;
            struct task_end e = ending(t);
            if (task_run(t, 0, &e.v))
                task_over(&e);
            policies_settle(ps, now);
            return;
        }
    }
}

static bool expire_one(struct policy *p, msec now)
{
    LIST_FOREACH (it, &p->tasks) {
        struct task *t = LIST_ENTRY(it, struct task, link);
        if (now < t->deadline)
            continue;
        char msg[200];
        snprintf(msg, sizeof(msg), "%s.%s: waited longer than it may", p->name, hook_name(t->hook));
        enum policy_hook h = t->hook;
        struct task_end e = ending(t);
        task_free(t, false);
        p->stats[h].budget++;
        eject_strike(p, h, V_BUDGET, msg);
        task_over(&e);
        return true;
    }
    return false;
}

void task_tick(struct policies *ps, msec now)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (!p->L)
            continue;
        for (int n = 0; n < 1000 && expire_one(p, now); n++)
            continue;
        for (int n = 0; n < 1000 && timer_due(p, now); n++)
            continue;
    }
    route_forget(ps, now);
}

msec task_next(const struct policy *p)
{
    msec next = MSEC_NEVER;
    for (struct list *it = p->tasks.next; it != &p->tasks; it = it->next) {
        msec at = LIST_ENTRY(it, struct task, link)->deadline;
        next = at < next ? at : next;
    }
    return timer_next(p, next);
}

void task_cancel_all(struct policy *p)
{
    while (!list_empty(&p->tasks)) {
        struct task *t = LIST_ENTRY(p->tasks.next, struct task, link);
        struct task_end e = ending(t);
        e.v = V_ERROR;
        task_free(t, false);
        task_over(&e);
    }
    timer_cancel_all(p);
    free(p->pool);
    free(p->pool_refs);
    p->pool = NULL;
    p->pool_refs = NULL;
    p->n_pool = p->cap_pool = 0;
}
