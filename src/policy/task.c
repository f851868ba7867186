/* What may wait: route, after_ready, before_stop, timers. Each runs in a coroutine that the core makes; its body
 * catches every error itself, so that no Lua code ever runs on a thread that died with its hooks off. */
#include "policy/priv.h"

#include "base/check.h"

#include <math.h>
#include <stdio.h>

int lib_task_find(const char *table, const char *name, lua_CFunction *ret);

enum task_kind { TASK_ROUTE, TASK_AROUND, TASK_TIMER };

struct around {
    unsigned left;
    msec deadline;
    void (*done)(void *ud);
    void *ud;
};

struct task {
    struct list link;
    struct policy *p;
    enum task_kind kind;
    enum policy_hook hook;
    lua_State *co;
    int co_ref;
    int fn_ref; /* TIMER: borrowed from the timer, or own */
    struct preq *req;
    model_id model;
    const char *why;
    msec deadline;
    struct policy_route *job;
    struct around *around;
    struct policy_answer *answer;
    enum verdict verdict;
    char msg[300];
    uint64_t http; /* waits for it, 0 = not */
    const struct policy_http_answer *got;
};

struct policy_route {
    struct list link;
    struct policies *ps;
    size_t next;
    struct preq *rec;
    struct task *task;
    struct policy_answer answer;
    void (*done)(void *ud, const struct policy_answer *a);
    void *ud;
    bool pending;
};

struct ptimer {
    struct list link;
    uint64_t id;
    msec at, every;
    int fn_ref;
    bool stopped;
};

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
        snprintf(t->answer->policy, sizeof(t->answer->policy), "%s", t->p->name);
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

static struct task *task_new(struct policy *p, enum task_kind kind, enum policy_hook h)
{
    struct task *t = mem_zalloc(sizeof(*t));
    t->p = p;
    t->kind = kind;
    t->hook = h;
    t->deadline = MSEC_NEVER;
    t->fn_ref = LUA_NOREF;
    list_init(&t->link);
    if (p->n_tasks >= POLICY_TASKS_MAX || !take_thread(t)) {
        free(t);
        return NULL;
    }
    p->n_tasks++;
    list_push_back(&p->tasks, &t->link);
    return t;
}

static void task_free(struct task *t, bool clean)
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
    free(t);
}

/* True: it is over (and freed), *ret says how. */
static bool task_run(struct task *t, int nargs, enum verdict *ret)
{
    struct policy *p = t->p;
    /* Views that it holds across a wait live again (their records do). */
    if (t->req)
        view_push_request(p->L, p, t->req);
    if (t->kind == TASK_AROUND)
        view_push_model(p->L, p, t->model);
    lua_settop(p->L, 0);
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

/* ---- http ---- */

static void push_headers(lua_State *L, const struct policy_header *h, size_t n)
{
    lua_createtable(L, 0, (int)n);
    for (size_t i = 0; i < n; i++) {
        lua_pushlstring(L, h[i].name.ptr ? h[i].name.ptr : "", h[i].name.len);
        lua_pushlstring(L, h[i].value.ptr ? h[i].value.ptr : "", h[i].value.len);
        lua_rawset(L, -3);
    }
}

static int answer_text(lua_State *L)
{
    lua_getfield(L, 1, "body");
    return 1;
}

static int answer_json(lua_State *L)
{
    lua_getfield(L, 1, "body");
    str s;
    s.ptr = luaL_checklstring(L, -1, &s.len);
    const char *fault;
    if (json_decode_to(L, s, &fault)) {
        luaL_pushfail(L);
        lua_pushstring(L, fault);
        return 2;
    }
    return 1;
}

static int http_finished(lua_State *L, int status, lua_KContext ctx)
{
    struct task *t = (struct task *)ctx;
    const struct policy_http_answer *a = t->got;
    t->got = NULL;
    if (!a || a->status == 0) {
        luaL_pushfail(L);
        lua_pushlstring(L, a && a->error.len ? a->error.ptr : "no answer", a && a->error.len ? a->error.len : 9);
        return 2;
    }
    if (a->body.len > POLICY_STRING_MAX) {
        luaL_pushfail(L);
        lua_pushliteral(L, "answer longer than 1 MB");
        return 2;
    }
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, a->status);
    lua_setfield(L, -2, "status");
    push_headers(L, a->headers, a->n_headers);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, a->body.ptr ? a->body.ptr : "", a->body.len);
    lua_setfield(L, -2, "body");
    lua_pushcfunction(L, answer_text);
    lua_setfield(L, -2, "text");
    lua_pushcfunction(L, answer_json);
    lua_setfield(L, -2, "json");
    return 1;
}

/* A URL is allowed when an entry of the list is a prefix that ends where a part of the URL ends, and nothing in
 * the URL means something else to somebody: no user part, no dot segments, no blanks. */
static bool url_allowed(const struct policy *p, str url)
{
    if (!str_starts(url, S("http://")) && !str_starts(url, S("https://")))
        return false;
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.ptr[i] <= 32 || url.ptr[i] == '\\' || url.ptr[i] == 127)
            return false;
    size_t start = (size_t)str_find(url, S("//")) + 2;
    str rest = str_sub(url, start, url.len), host = rest, tail;
    for (size_t i = 0; i < rest.len; i++) {
        if (strchr("/?#", rest.ptr[i]) && rest.ptr[i]) {
            host = str_sub(rest, 0, i);
            break;
        }
    }
    if (str_chr(host, '@') >= 0 || host.len == 0)
        return false;
    tail = str_sub(rest, host.len, rest.len);
    str path = tail;
    ptrdiff_t q = str_chr(path, '?');
    if (q >= 0)
        path = str_sub(path, 0, (size_t)q);
    if (str_find(path, S("/..")) >= 0 || str_ifind(path, S("%2e")) >= 0)
        return false;
    for (size_t i = 0; i < p->conf.n_http_allow; i++) {
        str a = p->conf.http_allow[i];
        if (a.len == 0 || !str_starts(url, a))
            continue;
        char last = a.ptr[a.len - 1];
        if (url.len == a.len || last == '/' || last == '?' || last == '=' || strchr("/?#", url.ptr[a.len]))
            return true;
    }
    return false;
}

/* Headers of the table at `at` into an array that Lua owns. */
static struct policy_header *read_headers(lua_State *L, int at, size_t *ret_n)
{
    size_t n = 0;
    struct policy_header *h = lua_newuserdatauv(L, 32 * sizeof(*h), 0);
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING || n == 32)
            luaL_error(L, "headers: at most 32 names and texts");
        h[n].name.ptr = lua_tolstring(L, -2, &h[n].name.len);
        h[n].value.ptr = lua_tolstring(L, -1, &h[n].value.len);
        for (size_t i = 0; i < h[n].name.len; i++)
            if ((unsigned char)h[n].name.ptr[i] <= 32 || h[n].name.ptr[i] == ':')
                luaL_error(L, "headers: a name is not valid");
        for (size_t i = 0; i < h[n].value.len; i++)
            if (h[n].value.ptr[i] == '\r' || h[n].value.ptr[i] == '\n' || h[n].value.ptr[i] == '\0')
                luaL_error(L, "headers: a value is not valid");
        n++;
    }
    *ret_n = n;
    return h;
}

/* Options at `opts` (0: none). Yields; what it returns is pushed by http_finished. */
static int http_start(lua_State *L, str method, str url, str sent, int opts)
{
    struct policy *p = vm_policy(L);
    struct policies *ps = p->ps;
    struct task *t = p->cur_task;
    struct policy_http_request r = { .method = method, .url = url, .body = sent, .timeout_ms = POLICY_ROUTE_MS };
    if (opts) {
        if (lua_getfield(L, opts, "timeout") != LUA_TNIL) {
            double sec = luaL_checknumber(L, -1);
            luaL_argcheck(L, sec > 0 && sec <= 60, opts, "timeout: up to 60 seconds");
            r.timeout_ms = (msec)(sec * 1000) + 1;
        }
        if (lua_getfield(L, opts, "headers") == LUA_TTABLE)
            r.headers = read_headers(L, lua_gettop(L), &r.n_headers);
    }
    if (!t || !lua_isyieldable(L))
        return luaL_error(L, "http works in route, after_ready, before_stop and timers, not inside pairs, sort or gsub");
    const char *why = NULL;
    if (!url_allowed(p, url))
        why = "not on the http_allow list of config.yaml";
    else if (p->n_http >= POLICY_HTTP_MAX)
        why = "too many calls in flight";
    else if (!ps->host->http_start)
        why = "this server has no http for policies";
    if (!why) {
        r.id = ++ps->next_http;
        t->http = r.id;
        p->n_http++;
        if (!ps->host->http_start(ps->host->ud, &r)) {
            t->http = 0;
            p->n_http--;
            why = "cannot start the call";
        }
    }
    if (why) {
        luaL_pushfail(L);
        lua_pushstring(L, why);
        return 2;
    }
    return lua_yieldk(L, 0, (lua_KContext)t, http_finished);
}

static inline void enter(lua_State *L)
{
    unsigned phases = (unsigned)lua_tointeger(L, lua_upvalueindex(1));
    if (!(vm_policy(L)->phase & phases))
        lib_phase(L, lua_tostring(L, lua_upvalueindex(2)), phases);
}

static str arg(lua_State *L, int at)
{
    str s;
    s.ptr = luaL_checklstring(L, at, &s.len);
    return s;
}

static int options(lua_State *L, int at)
{
    if (lua_isnoneornil(L, at))
        return 0;
    luaL_checktype(L, at, LUA_TTABLE);
    return at;
}

static int l_get(lua_State *L)
{
    enter(L);
    return http_start(L, S("GET"), arg(L, 1), STR_NONE, options(L, 2));
}

static int l_post(lua_State *L)
{
    enter(L);
    return http_start(L, S("POST"), arg(L, 1), arg(L, 2), options(L, 3));
}

static int l_request(lua_State *L)
{
    enter(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "url");
    lua_getfield(L, 1, "method");
    lua_getfield(L, 1, "body");
    str method = lua_isnil(L, 3) ? S("GET") : arg(L, 3);
    static const char *const known[] = { "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH" };
    bool ok = false;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        ok = ok || str_eq(method, str_c(known[i]));
    luaL_argcheck(L, ok, 1, "method");
    return http_start(L, method, arg(L, 2), lua_isnil(L, 4) ? STR_NONE : arg(L, 4), 1);
}

/* ---- timers ---- */

static int timer_new(lua_State *L, bool again)
{
    enter(L);
    struct policy *p = vm_policy(L);
    double sec = luaL_checknumber(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_argcheck(L, sec >= 0 && sec <= 30.0 * 86400, 1, "0 to 30 days in seconds");
    if (p->n_timers >= POLICY_TIMERS_MAX) {
        luaL_pushfail(L);
        lua_pushliteral(L, "too many timers");
        return 2;
    }
    uint64_t *handle = lua_newuserdatauv(L, sizeof(*handle), 0);
    luaL_setmetatable(L, "policy.timer");
    lua_pushvalue(L, 2);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    msec ms = (msec)(sec * 1000);
    if (again && ms < 100)
        ms = 100;
    struct ptimer *t = mem_zalloc(sizeof(*t));
    t->id = *handle = ++p->ps->next_http;
    t->at = p->ps->now + ms;
    t->every = again ? ms : 0;
    t->fn_ref = ref;
    list_push_back(&p->timers, &t->link);
    p->n_timers++;
    return 1;
}

static int l_after(lua_State *L)
{
    return timer_new(L, false);
}

static int l_every(lua_State *L)
{
    return timer_new(L, true);
}

static int timer_stop(lua_State *L)
{
    const uint64_t *handle = luaL_checkudata(L, 1, "policy.timer");
    struct policy *p = vm_policy(L);
    for (struct list *it = p->timers.next; it != &p->timers; it = it->next) {
        struct ptimer *t = LIST_ENTRY(it, struct ptimer, link);
        if (t->id == *handle)
            t->stopped = true; /* gone with the next tick */
    }
    return 0;
}

void lib_task_open(lua_State *L, struct policy *p)
{
    luaL_newmetatable(L, "policy.timer");
    lua_newtable(L);
    lua_pushcfunction(L, timer_stop);
    lua_setfield(L, -2, "stop");
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

int lib_task_find(const char *table, const char *name, lua_CFunction *ret)
{
    static const struct {
        const char *table, *name;
        lua_CFunction fn;
    } own[] = { { "timer", "after", l_after }, { "timer", "every", l_every }, { "http", "get", l_get },
                { "http", "post", l_post },    { "http", "request", l_request } };
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (strcmp(own[i].table, table) == 0 && strcmp(own[i].name, name) == 0) {
            *ret = own[i].fn;
            return 1;
        }
    }
    return 0;
}

static int timer_ref(lua_State *L)
{
    int *refs = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, refs[0]);
    refs[1] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void timer_fire(struct policy *p, struct ptimer *timer, msec now)
{
    int refs[2] = { timer->fn_ref, LUA_NOREF };
    bool once = timer->every == 0;
    if (once) { /* the function moves to the task */
        refs[1] = timer->fn_ref;
        list_remove(&timer->link);
        p->n_timers--;
        free(timer);
    } else {
        timer->at = now + timer->every;
        if (gate_run(p, POLICY_TICK, 0, 0, timer_ref, refs, NULL) < 0)
            return;
    }
    struct task *t = task_new(p, TASK_TIMER, POLICY_TICK);
    if (!t) {
        luaL_unref(p->L, LUA_REGISTRYINDEX, refs[1]);
        return;
    }
    t->fn_ref = refs[1];
    t->deadline = now + 60000;
    lua_pushcfunction(t->co, body);
    lua_pushlightuserdata(t->co, t);
    enum verdict v;
    task_run(t, 1, &v);
}

/* ---- route ---- */

static void finish(struct policy_route *job)
{
    list_remove(&job->link);
    if (job->rec)
        job->rec->body = STR_NONE;
    if (job->pending && job->done) {
        struct policy_answer a = job->answer;
        void (*done)(void *ud, const struct policy_answer *ans) = job->done;
        void *ud = job->ud;
        free(job);
        done(ud, &a);
        return;
    }
    free(job);
}

static void refuse_required(struct policy_route *job, const struct policy *p)
{
    struct policy_answer *a = &job->answer;
    *a = (struct policy_answer){ .kind = POLICY_REFUSED, .status = 503, .retry_after_s = 1, .deadline_s = -1 };
    snprintf(a->policy, sizeof(a->policy), "%s", p->name);
    snprintf(a->message, sizeof(a->message), "a required policy failed");
    snprintf(a->code, sizeof(a->code), "policy_failed");
}

/* True: the answer is there. */
static bool judge(struct policy_route *job, struct policy *p, enum verdict v)
{
    struct policies *ps = job->ps;
    struct preq *r = job->rec;
    if (v >= V_ERROR) {
        ops_note_decision(ps, p, POLICY_ROUTE, 'f', r->id, MODEL_NONE, "failed");
        if (!p->required)
            return false;
        refuse_required(job, p);
        return true;
    }
    if (v == V_NONE || v == V_ABSENT)
        return false;
    if (p->shadow) {
        p->disagree[POLICY_ROUTE]++;
        job->answer = (struct policy_answer){ .deadline_s = -1 };
        return false;
    }
    ops_note_decision(ps, p, POLICY_ROUTE, 'p', r->id, MODEL_NONE, "%s%.60s", v == V_REJECT ? "refused" : "routed to ",
                      v == V_REJECT ? "" : job->answer.models[0]);
    return true;
}

/* Asks one policy after the other. True: over; false: one of them waits. */
static bool route_on(struct policy_route *job)
{
    struct policies *ps = job->ps;
    while (job->next < ps->n) {
        struct policy *p = ps->at[job->next++];
        if (p->required && p->state != PS_ACTIVE && p->state != PS_OFF && p->state != PS_DISABLED &&
            (p->present & 1u << POLICY_ROUTE || p->state == PS_REFUSED)) {
            refuse_required(job, p);
            return true;
        }
        if (p->state != PS_ACTIVE || !(p->present & 1u << POLICY_ROUTE))
            continue;
        struct task *t = task_new(p, TASK_ROUTE, POLICY_ROUTE);
        if (!t) {
            if (judge(job, p, V_ERROR))
                return true;
            continue;
        }
        t->req = job->rec;
        t->job = job;
        t->answer = &job->answer;
        t->deadline = ps->now + POLICY_ROUTE_MS;
        job->task = t;
        lua_pushcfunction(t->co, body);
        lua_pushlightuserdata(t->co, t);
        enum verdict v;
        if (!task_run(t, 1, &v))
            return false;
        job->task = NULL;
        if (judge(job, p, v))
            return true;
    }
    return true;
}

#define ROUTE_TICKET (UINT64_C(1) << 63)

enum policy_answer_kind policies_route(struct policies *ps, const struct policy_request_info *info, msec now,
                                       struct policy_answer *ret,
                                       void (*done)(void *ud, const struct policy_answer *a), void *ud,
                                       struct policy_route **ret_job)
{
    *ret = (struct policy_answer){ .deadline_s = -1 };
    *ret_job = NULL;
    if (!ps || !policies_wants(ps, POLICY_ROUTE))
        return POLICY_PASS;
    ps->now = now;
    for (struct list *it = ps->routes.next; it != &ps->routes; it = it->next)
        if (LIST_ENTRY(it, struct policy_route, link)->rec->id == info->id)
            return POLICY_PASS; /* the same request twice at a time: not ours to sort out */
    struct policy_route *job = mem_zalloc(sizeof(*job));
    job->ps = ps;
    job->answer.deadline_s = -1;
    job->done = done;
    job->ud = ud;
    list_init(&job->link);
    struct preq *old = preq_find(ps, ROUTE_TICKET | info->id); /* a retry */
    if (old)
        preq_free(ps, old);
    job->rec = preq_new(ps, ROUTE_TICKET | info->id, info);
    job->rec->body = info->body;
    job->rec->routed = now;
    if (route_on(job)) {
        *ret = job->answer;
        list_init(&job->link);
        finish(job);
        return ret->kind;
    }
    job->pending = true;
    list_push_back(&ps->routes, &job->link);
    *ret_job = job;
    return POLICY_PENDING;
}

void policies_route_cancel(struct policies *ps, struct policy_route *job)
{
    if (!ps || !job)
        return;
    if (job->task) {
        job->rec->gone = true;
        task_free(job->task, false);
    }
    if (job->rec)
        preq_free(ps, job->rec);
    job->rec = NULL;
    list_remove(&job->link);
    free(job);
}

/* A task of a route ended or was given up. */
static void route_resume(struct policy_route *job, struct policy *p, enum verdict v)
{
    job->task = NULL;
    if (judge(job, p, v) || route_on(job))
        finish(job);
}

void policies_request_end(struct policies *ps, uint64_t id)
{
    struct preq *r = ps ? preq_find(ps, ROUTE_TICKET | id) : NULL;
    if (r)
        preq_free(ps, r);
}

/* ---- after_ready, before_stop ---- */

static void around_done(struct around *a)
{
    if (--a->left > 0)
        return;
    if (a->done)
        a->done(a->ud);
    free(a);
}

bool policies_around(struct policies *ps, enum policy_hook h, model_id m, const char *why, msec limit_ms, msec now,
                     void (*done)(void *ud), void *ud)
{
    if (!ps || !policies_wants(ps, h) || limit_ms <= 0)
        return false;
    ps->now = now;
    struct around *a = mem_zalloc(sizeof(*a));
    a->left = 1; /* ours, until all have begun */
    a->done = done;
    a->ud = ud;
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_ACTIVE || p->shadow || !(p->present & 1u << h))
            continue;
        struct task *t = task_new(p, TASK_AROUND, h);
        if (!t)
            continue;
        t->model = m;
        t->why = why;
        t->deadline = now + limit_ms;
        t->around = a;
        lua_pushcfunction(t->co, body);
        lua_pushlightuserdata(t->co, t);
        enum verdict v;
        if (!task_run(t, 1, &v)) {
            t->why = "";
            a->left++;
        }
    }
    if (a->left == 1) {
        free(a);
        return false;
    }
    a->left--;
    return true;
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

static bool fire_one(struct policy *p, msec now)
{
    LIST_FOREACH (it, &p->timers) {
        struct ptimer *t = LIST_ENTRY(it, struct ptimer, link);
        if (t->stopped) {
            luaL_unref(p->L, LUA_REGISTRYINDEX, t->fn_ref);
            list_remove(it);
            p->n_timers--;
            free(t);
            return true;
        }
        if (p->state == PS_ACTIVE && now >= t->at) {
            timer_fire(p, t, now);
            return true;
        }
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
        for (int n = 0; n < 1000 && fire_one(p, now); n++)
            continue;
    }
    /* Requests that were routed and never heard of again. */
    for (size_t b = 0; ps->buckets && b <= ps->mask; b++) {
        struct preq *r = ps->buckets[b];
        while (r) {
            struct preq *next = r->hash_next;
            bool busy = false;
            for (struct list *it = ps->routes.next; it != &ps->routes; it = it->next)
                busy = busy || LIST_ENTRY(it, struct policy_route, link)->rec == r;
            if ((r->ticket & ROUTE_TICKET) && r->routed && now - r->routed > 60000 && !busy)
                preq_free(ps, r);
            r = next;
        }
    }
}

msec task_next(const struct policy *p)
{
    msec next = MSEC_NEVER;
    for (struct list *it = p->tasks.next; it != &p->tasks; it = it->next) {
        msec at = LIST_ENTRY(it, struct task, link)->deadline;
        next = at < next ? at : next;
    }
    for (struct list *it = p->timers.next; it != &p->timers; it = it->next) {
        const struct ptimer *t = LIST_ENTRY(it, struct ptimer, link);
        if (t->at < next)
            next = t->at;
    }
    return next;
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
    while (!list_empty(&p->timers)) {
        struct ptimer *t = LIST_ENTRY(p->timers.next, struct ptimer, link);
        luaL_unref(p->L, LUA_REGISTRYINDEX, t->fn_ref);
        list_remove(&t->link);
        p->n_timers--;
        free(t);
    }
    free(p->pool);
    free(p->pool_refs);
    p->pool = NULL;
    p->pool_refs = NULL;
    p->n_pool = p->cap_pool = 0;
}
