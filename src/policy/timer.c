/* luaswap.timer: functions that run later, once or again and again, each in a task of its own. */
#include "policy/task.h"

#include "base/check.h"

#define TIMER_LEAST_MS 100 /* or timers that make timers would keep the loop busy, or a virtual clock from moving */

int lib_task_find(const char *table, const char *name, lua_CFunction *ret);

struct ptimer {
    struct list link;
    uint64_t id;
    msec at, every;
    int fn_ref;
    bool stopped;
};

static int timer_new(lua_State *L, bool again)
{
    task_enter(L);
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
    if (ms < TIMER_LEAST_MS)
        ms = TIMER_LEAST_MS;
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
    } own[] = { { "timer", "after", l_after }, { "timer", "every", l_every }, { "http", "get", lib_http_get },
                { "http", "post", lib_http_post }, { "http", "request", lib_http_request } };
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
    enum verdict v;
    task_start(t, &v);
}

bool timer_due(struct policy *p, msec now)
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

msec timer_next(const struct policy *p, msec next)
{
    for (struct list *it = p->timers.next; it != &p->timers; it = it->next) {
        const struct ptimer *t = LIST_ENTRY(it, struct ptimer, link);
        if (t->at < next)
            next = t->at;
    }
    return next;
}

void timer_cancel_all(struct policy *p)
{
    while (!list_empty(&p->timers)) {
        struct ptimer *t = LIST_ENTRY(p->timers.next, struct ptimer, link);
        luaL_unref(p->L, LUA_REGISTRYINDEX, t->fn_ref);
        list_remove(&t->link);
        p->n_timers--;
        free(t);
    }
}
