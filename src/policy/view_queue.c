/* The queue as policies see it: filters in C, one view for each request that is looked at. */
#include "policy/view.h"

#include <math.h>

void view_push_queue(lua_State *L, struct policy *p, bool all)
{
    int ref = all ? p->ref_queue_all : p->ref_queue; /* two objects: both may be in use in one hook */
    if (lua_rawgeti(L, LUA_REGISTRYINDEX, ref) == LUA_TUSERDATA) {
        struct view *v = lua_touserdata(L, -1);
        v->gen = p->gen;
        return;
    }
    lua_pop(L, 1);
    struct view *v = view_new(L, p, VK_QUEUE, 0);
    v->u.queue.all = all;
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, ref);
}

/* A filter: nothing, "ready", "cold", a model's id, a function. */
struct filter {
    enum cand_filter f;
    model_id only;
    int fn; /* stack index, 0 none */
    bool none; /* an id that no model has */
};

static void read_filter(lua_State *L, int at, struct filter *f)
{
    *f = (struct filter){ .f = CAND_ANY, .only = MODEL_NONE };
    if (lua_isnoneornil(L, at))
        return;
    if (lua_type(L, at) == LUA_TFUNCTION) {
        f->fn = at;
        return;
    }
    str s;
    s.ptr = luaL_checklstring(L, at, &s.len);
    if (str_eq(s, S("ready")))
        f->f = CAND_READY;
    else if (str_eq(s, S("cold")))
        f->f = CAND_COLD;
    else if ((f->only = view_to_model(L, at)) == MODEL_NONE)
        f->none = true;
}

static bool cold(const struct sched *s, const struct ticket *t)
{
    const struct smodel *m = view_model(s, t->model);
    return m->state == MODEL_STOPPED && !m->swap;
}

/* The next one behind `t` (NULL: the first) that the filter's C part lets through. */
static const struct ticket *advance(const struct sched *s, const struct view *v, const struct ticket *t,
                                    const struct filter *f)
{
    if (f->none || !s)
        return NULL;
    if (!v->u.queue.all)
        return t ? sched_cand_next(s, t, f->f, f->only) : sched_cand_first(s, f->f, f->only);
    struct qnode *n = t ? queue_next(&t->in_line) : queue_first(&s->line);
    for (; n; n = queue_next(n)) {
        t = line_ticket(n);
        if (f->only != MODEL_NONE && t->model != f->only)
            continue;
        if (f->f == CAND_ANY || (f->f == CAND_READY ? view_ready(s, t) : cold(s, t)))
            return t;
    }
    return NULL;
}

/* Leaves the view of t on the stack when the filter's function agrees. */
static bool accept(lua_State *L, struct policy *p, const struct ticket *t, const struct filter *f)
{
    struct preq *r = preq_get(p->ps, t);
    preq_show(r, t);
    view_push_request(L, p, r);
    if (!f->fn)
        return true;
    lua_pushvalue(L, f->fn);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    bool ok = lua_toboolean(L, -1);
    lua_settop(L, ok ? -2 : -3);
    return ok;
}

static int queue_first_request(lua_State *L)
{
    struct view *v = view_self(L, VK_QUEUE);
    struct policy *p = vm_policy(L);
    struct filter f;
    read_filter(L, 2, &f);
    for (const struct ticket *t = NULL; (t = advance(p->ps->sched, v, t, &f));) {
        gate_charge(L, 2);
        if (accept(L, p, t, &f))
            return 1;
    }
    lua_pushnil(L);
    return 1;
}

/* Upvalues: queue, filter, id of the last ticket (0: none yet). */
static int each_next(lua_State *L)
{
    struct view *v = lua_touserdata(L, lua_upvalueindex(1));
    struct policy *p = vm_policy(L);
    if (v->gen != p->gen)
        view_dead(L, v);
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(2));
    struct filter f;
    read_filter(L, 1, &f);
    ticket_id id = (ticket_id)lua_tointeger(L, lua_upvalueindex(3));
    const struct ticket *t = NULL;
    if (id && p->ps->sched && (!(t = view_ticket(p->ps->sched, id)) || t->state != TICKET_QUEUED))
        return 0;
    while ((t = advance(p->ps->sched, v, t, &f))) {
        gate_charge(L, 2);
        if (!accept(L, p, t, &f))
            continue;
        lua_pushinteger(L, (lua_Integer)t->id);
        lua_replace(L, lua_upvalueindex(3));
        return 1;
    }
    return 0;
}

static int queue_each(lua_State *L)
{
    view_self(L, VK_QUEUE);
    struct filter f;
    read_filter(L, 2, &f);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, each_next, 3);
    return 1;
}

static size_t count_all(lua_State *L, struct policy *p, const struct view *v, const struct filter *f)
{
    const struct sched *s = p->ps->sched;
    if (!s || f->none)
        return 0;
    if (!f->fn && !v->u.queue.all)
        return sched_cand_count(s, f->f, f->only);
    if (!f->fn && f->f == CAND_ANY)
        return f->only == MODEL_NONE ? queue_len(&s->line) : model_queued(s->models[f->only]);
    size_t n = 0;
    for (const struct ticket *t = NULL; (t = advance(s, v, t, f));) {
        gate_charge(L, 2);
        if (f->fn && !accept(L, p, t, f))
            continue;
        if (f->fn)
            lua_pop(L, 1);
        n++;
    }
    return n;
}

static int queue_count(lua_State *L)
{
    const struct view *v = view_self(L, VK_QUEUE);
    struct filter f;
    read_filter(L, 2, &f);
    lua_pushinteger(L, (lua_Integer)count_all(L, vm_policy(L), v, &f));
    return 1;
}

/* By a field that C can read: no view but that of the winner. */
static bool best_by_field(lua_State *L, struct policy *p, const struct view *v, const struct filter *f, int field)
{
    const struct ticket *best = NULL;
    double top = -HUGE_VAL, value;
    for (const struct ticket *t = NULL; (t = advance(p->ps->sched, v, t, f));) {
        gate_charge(L, 1);
        struct preq *r = preq_get(p->ps, t);
        preq_show(r, t);
        if (!view_request_number(r, field, &value) || isnan(value) || (best && value <= top))
            continue;
        top = value;
        best = t;
    }
    if (best)
        view_push_request(L, p, preq_get(p->ps, best));
    else
        lua_pushnil(L);
    return true;
}

static int queue_best(lua_State *L)
{
    const struct view *v = view_self(L, VK_QUEUE);
    struct policy *p = vm_policy(L);
    bool by_field = lua_type(L, 2) == LUA_TSTRING;
    if (!by_field)
        luaL_checktype(L, 2, LUA_TFUNCTION);
    struct filter f;
    read_filter(L, 3, &f);
    int field = by_field ? view_field(L, VK_REQUEST, 2) : -1;
    double unused;
    struct preq none = { 0 };
    if (field >= 0 && !f.fn && view_request_number(&none, field, &unused))
        return best_by_field(L, p, v, &f, field);
    lua_settop(L, 3);
    lua_pushnil(L); /* 4: the best so far */
    lua_Number top = -HUGE_VAL;
    bool any = false;
    for (const struct ticket *t = NULL; (t = advance(p->ps->sched, v, t, &f));) {
        gate_charge(L, 2);
        if (!accept(L, p, t, &f))
            continue;
        if (by_field) {
            lua_pushvalue(L, 2);
            lua_gettable(L, -2);
        } else {
            lua_pushvalue(L, 2);
            lua_pushvalue(L, -2);
            lua_call(L, 1, 1);
        }
        int type = lua_type(L, -1);
        lua_Number value = type == LUA_TBOOLEAN ? lua_toboolean(L, -1) : lua_tonumber(L, -1);
        lua_pop(L, 1);
        if ((type == LUA_TNUMBER || type == LUA_TBOOLEAN) && (!any ? !isnan(value) : value > top)) {
            top = value;
            any = true;
            lua_replace(L, 4);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_settop(L, 4);
    return 1;
}

static int queue_models(lua_State *L)
{
    const struct view *v = view_self(L, VK_QUEUE);
    struct policy *p = vm_policy(L);
    const struct sched *s = p->ps->sched;
    lua_newtable(L);
    lua_Integer n = 0;
    if (!s)
        return 1;
    /* In order of each model's first request: pick the smallest key that is larger than the last. */
    struct qkey last = { INT64_MIN, 0 };
    for (;;) {
        const struct ticket *best = NULL;
        for (struct list *it = s->waiting.next; it != &s->waiting; it = it->next) {
            const struct smodel *m = LIST_ENTRY(it, struct smodel, waiting_link);
            struct filter f = { .f = CAND_ANY, .only = m->self };
            const struct ticket *t = v->u.queue.all ? model_ticket(queue_first(&m->queue)) : advance(s, v, NULL, &f);
            if (t && qkey_cmp(t->in_line.key, last) > 0 && (!best || qkey_cmp(t->in_line.key, best->in_line.key) < 0))
                best = t;
        }
        if (!best)
            return 1;
        gate_charge(L, 4);
        last = best->in_line.key;
        view_push_str(L, s->models[best->model]->conf.id);
        lua_rawseti(L, -2, ++n);
    }
}

int view_queue_len(lua_State *L)
{
    const struct view *v = view_self(L, VK_QUEUE);
    struct filter f = { .f = CAND_ANY, .only = MODEL_NONE };
    lua_pushinteger(L, (lua_Integer)count_all(L, vm_policy(L), v, &f));
    return 1;
}

int view_queue_index(lua_State *L)
{
    struct view *v = view_alive(L, 1, VK_QUEUE);
    struct policy *p = vm_policy(L);
    const struct sched *s = p->ps->sched;
    if (lua_isinteger(L, 2)) {
        lua_Integer i = lua_tointeger(L, 2);
        struct filter f = { .f = CAND_ANY, .only = MODEL_NONE };
        const struct ticket *t = NULL;
        for (; i >= 1 && (t = advance(s, v, t, &f)); i--)
            gate_charge(L, 2);
        if (t && i == 0)
            view_push_request(L, p, preq_get(p->ps, t));
        else
            lua_pushnil(L);
        return 1;
    }
    switch (view_field(L, VK_QUEUE, 2)) {
    case F_queue_WAITING: lua_pushinteger(L, s ? (lua_Integer)sched_waiting(s) : 0); break;
    case F_queue_INFLIGHT: lua_pushinteger(L, s ? (lua_Integer)s->inflight : 0); break;
    case F_queue_SWAPPING: lua_pushinteger(L, s ? (lua_Integer)s->n_swaps : 0); break;
    default: /* a method, or nil */
        lua_settop(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
        break;
    }
    return 1;
}

const luaL_Reg view_queue_methods[] = { { "first", queue_first_request }, { "each", queue_each },     { "count", queue_count },
                                        { "best", queue_best },           { "models", queue_models }, { NULL, NULL } };
