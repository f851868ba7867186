/* Read-only userdata for requests, models, swaps, the queue and GPU rows. A view knows the number of the hook that
 * showed it; after that hook every access raises. Fields come from api.def. */
#include "policy/view.h"

#include <math.h>
#include <stdio.h>

const char *const view_metas[] = { "policy.request", "policy.model", "policy.swap", "policy.queue" };

static const struct {
    const char *type, *name;
} fields[] = {
#define FIELD(type, id, name, lua, doc) { #type, name },
#include "policy/api.def"
};

_Noreturn void view_dead(lua_State *L, const struct view *v)
{
    struct policy *p = vm_policy(L);
    char what[64];
    switch (v->kind) {
    case VK_REQUEST: snprintf(what, sizeof(what), "req#%llu", (unsigned long long)v->u.req.id); break;
    case VK_MODEL: snprintf(what, sizeof(what), "model"); break;
    case VK_SWAP: snprintf(what, sizeof(what), "swap#%llu", (unsigned long long)v->u.swap.id); break;
    default: snprintf(what, sizeof(what), "queue"); break;
    }
    luaL_error(L, "%s used after the hook that it was given to (now in %s): keep ids, not views", what, hook_name(p->hook));
    __builtin_unreachable();
}

struct view *view_new(lua_State *L, struct policy *p, enum kind kind, int uservalues)
{
    struct view *v = lua_newuserdatauv(L, sizeof(*v), uservalues);
    memset(v, 0, sizeof(*v));
    v->kind = kind;
    v->gen = p->gen;
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_metas[kind]);
    lua_setmetatable(L, -2);
    return v;
}

/* ---- requests ---- */

void view_push_request(lua_State *L, struct policy *p, struct preq *r)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_views);
    if (lua_rawgeti(L, -1, r->slot) == LUA_TUSERDATA) {
        struct view *v = lua_touserdata(L, -1);
        if (v->u.req.uid == r->uid) {
            v->gen = p->gen;
            lua_replace(L, -2);
            return;
        }
    }
    lua_pop(L, 1);
    struct view *v = view_new(L, p, VK_REQUEST, 1);
    v->u.req.r = r;
    v->u.req.uid = r->uid;
    v->u.req.id = r->id;
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, r->slot);
    lua_remove(L, -2);
}

bool view_ready(const struct sched *s, const struct ticket *t)
{
    if (!s || !t || t->state != TICKET_QUEUED)
        return false;
    const struct smodel *m = view_model(s, t->model);
    if (!m || m->swap || m->victim_of > 0 || !model_ready(s, m))
        return false;
    uint32_t limit = view_limit(s, m);
    return limit == 0 || m->inflight < limit;
}

static void push_count(lua_State *L, int64_t n)
{
    if (n < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, n);
}

static void push_ctx(lua_State *L)
{
    if (lua_getiuservalue(L, 1, 1) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
}

void view_push_tags(lua_State *L, struct preq *r)
{
    const char *fault;
    if (!r->tags_json || json_decode_to(L, str_c(r->tags_json), &fault))
        lua_newtable(L);
    vm_freeze(L, true);
}

static int request_field(lua_State *L, struct preq *r, int f)
{
    struct policies *ps = r->ps;
    switch (f) {
    case F_request_ID: lua_pushinteger(L, (lua_Integer)r->id); break;
    case F_request_MODEL: view_push_str(L, r->model_name); break;
    case F_request_ASKED: view_push_str(L, r->asked.len ? r->asked : r->model_name); break;
    case F_request_PATH: view_push_str(L, r->path); break;
    case F_request_KIND:
        preq_need(r, POLICY_FACT_KIND);
        view_push_str(L, r->kind);
        break;
    case F_request_KEY:
        preq_need(r, POLICY_FACT_KEY);
        view_push_str(L, r->key);
        break;
    case F_request_SESSION:
        preq_need(r, POLICY_FACT_SESSION);
        view_push_str(L, r->session);
        break;
    case F_request_CLIENT: view_push_str(L, r->client); break;
    case F_request_STREAM: lua_pushboolean(L, r->stream); break;
    case F_request_TOKENS_IN: push_count(L, r->tokens_in); break;
    case F_request_TOKENS_EXACT: lua_pushboolean(L, r->tokens_exact); break;
    case F_request_MAX_TOKENS:
        preq_need(r, POLICY_FACT_COUNTS);
        push_count(L, r->max_tokens);
        break;
    case F_request_BYTES: push_count(L, r->bytes); break;
    case F_request_MESSAGES:
        preq_need(r, POLICY_FACT_COUNTS);
        push_count(L, r->messages);
        break;
    case F_request_HAS_TOOLS:
        preq_need(r, POLICY_FACT_CONTENT);
        lua_pushboolean(L, r->has_tools);
        break;
    case F_request_HAS_IMAGES:
        preq_need(r, POLICY_FACT_CONTENT);
        lua_pushboolean(L, r->has_images);
        break;
    case F_request_PRIORITY: lua_pushinteger(L, r->priority); break;
    case F_request_DEADLINE:
        if (r->deadline_s < 0)
            lua_pushnil(L);
        else
            lua_pushnumber(L, r->deadline_s);
        break;
    case F_request_CLASS: view_push_str(L, str_c(r->class_buf)); break;
    case F_request_ARRIVED: lua_pushnumber(L, seconds(r->arrived)); break;
    case F_request_AGE: lua_pushnumber(L, seconds(ps->now - r->arrived)); break;
    case F_request_READY: lua_pushboolean(L, view_ready(ps->sched, preq_ticket(r))); break;
    case F_request_ATTEMPT: {
        const struct ticket *t = preq_ticket(r);
        lua_pushinteger(L, r->attempt + (t ? t->retries : 0));
        break;
    }
    case F_request_STATUS: push_count(L, r->done && r->status ? r->status : -1); break;
    case F_request_SERVE_S:
        if (r->done)
            lua_pushnumber(L, seconds(ps->now - r->granted));
        else
            lua_pushnil(L);
        break;
    case F_request_TOKENS_OUT: push_count(L, r->done ? r->tokens_out : -1); break;
    case F_request_COST:
        if (r->done && r->cost >= 0)
            lua_pushnumber(L, r->cost);
        else
            lua_pushnil(L);
        break;
    case F_request_ERROR: view_push_str(L, str_c(r->error)); break;
    case F_request_CAUSE: view_push_str(L, str_c(r->cause)); break;
    case F_request_GONE: lua_pushboolean(L, r->gone); break;
    case F_request_CTX: push_ctx(L); break;
    case F_request_TAGS: view_push_tags(L, r); break;
    default: return 0;
    }
    return 1;
}

bool view_request_number(struct preq *r, int field, double *ret)
{
    switch (field) {
    case F_request_ID: *ret = (double)r->id; return true;
    case F_request_ARRIVED: *ret = seconds(r->arrived); return true;
    case F_request_AGE: *ret = r->ps ? seconds(r->ps->now - r->arrived) : 0; return true;
    case F_request_PRIORITY: *ret = r->priority; return true;
    case F_request_STREAM: *ret = r->stream; return true;
    case F_request_HAS_TOOLS:
        preq_need(r, POLICY_FACT_CONTENT);
        *ret = r->has_tools;
        return true;
    case F_request_HAS_IMAGES:
        preq_need(r, POLICY_FACT_CONTENT);
        *ret = r->has_images;
        return true;
    case F_request_READY: *ret = r->ps && view_ready(r->ps->sched, preq_ticket(r)); return true;
    case F_request_TOKENS_IN: *ret = (double)r->tokens_in; return r->tokens_in >= 0;
    case F_request_MAX_TOKENS:
        preq_need(r, POLICY_FACT_COUNTS);
        *ret = (double)r->max_tokens;
        return r->max_tokens >= 0;
    case F_request_BYTES: *ret = (double)r->bytes; return r->bytes >= 0;
    case F_request_MESSAGES:
        preq_need(r, POLICY_FACT_COUNTS);
        *ret = (double)r->messages;
        return r->messages >= 0;
    case F_request_DEADLINE: *ret = r->deadline_s; return r->deadline_s >= 0;
    default: return false;
    }
}

static int request_index(lua_State *L)
{
    struct view *v = view_alive(L, 1, VK_REQUEST);
    int f = view_field(L, VK_REQUEST, 2);
    if (f >= 0)
        return request_field(L, v->u.req.r, f);
    lua_settop(L, 2);
    lua_rawget(L, lua_upvalueindex(1)); /* a method, or nil */
    return 1;
}

static int request_header(lua_State *L)
{
    const struct preq *r = view_self(L, VK_REQUEST)->u.req.r;
    str name;
    name.ptr = luaL_checklstring(L, 2, &name.len);
    if (str_ieq(name, S("authorization")) || str_ieq(name, S("x-api-key"))) {
        lua_pushnil(L);
        return 1;
    }
    if (r->source && (r->missing & POLICY_FACT_HEADERS)) {
        str value = r->source->header(r->source, name);
        gate_charge(L, 16);
        if (value.ptr)
            lua_pushlstring(L, value.ptr, value.len);
        else
            lua_pushnil(L);
        return 1;
    }
    gate_charge(L, r->n_headers);
    for (size_t i = 0; i < r->n_headers; i++) {
        if (str_ieq(r->headers[i].name, name)) {
            lua_pushlstring(L, r->headers[i].value.ptr, r->headers[i].value.len);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}

static int request_body(lua_State *L)
{
    const struct preq *r = view_self(L, VK_REQUEST)->u.req.r;
    if (!vm_policy(L)->needs_body)
        return luaL_error(L, "req:body() needs requires = { \"body\" }");
    const char *fault;
    if (!r->body.ptr || json_decode_to(L, r->body, &fault))
        lua_pushnil(L);
    return 1;
}

struct preq *view_to_request(lua_State *L, int at)
{
    struct view *v = lua_touserdata(L, at);
    if (!v || lua_rawlen(L, at) != sizeof(*v) || v->kind != VK_REQUEST)
        return NULL;
    return v->gen == vm_policy(L)->gen ? v->u.req.r : NULL;
}

/* ---- models ---- */

void view_push_model(lua_State *L, struct policy *p, model_id m)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_models);
    if (lua_rawgeti(L, -1, (lua_Integer)m + 1) == LUA_TUSERDATA) {
        struct view *v = lua_touserdata(L, -1);
        v->gen = p->gen;
        lua_replace(L, -2);
        return;
    }
    lua_pop(L, 1);
    struct view *v = view_new(L, p, VK_MODEL, 1);
    v->u.model.id = m;
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, (lua_Integer)m + 1);
    lua_remove(L, -2);
}

static void facts(struct policies *ps, model_id m, struct policy_model_facts *f)
{
    *f = (struct policy_model_facts){ 0 };
    if (ps->host->model_facts)
        ps->host->model_facts(ps->host->ud, m, f);
}

static void push_meta(lua_State *L, struct policies *ps, model_id m)
{
    if (lua_getiuservalue(L, 1, 1) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    struct policy_model_facts f;
    facts(ps, m, &f);
    const char *fault;
    if (!f.meta_json.len || json_decode_to(L, f.meta_json, &fault) || !lua_istable(L, -1))
        lua_newtable(L);
    vm_freeze(L, true);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
}

static int model_field(lua_State *L, model_id id, int f)
{
    struct policies *ps = vm_policy(L)->ps;
    const struct sched *s = ps->sched;
    const struct smodel *m = s ? view_model(s, id) : NULL;
    if (!m)
        return luaL_error(L, "this model is no longer configured");
    struct policy_model_facts known;
    bool up = m->state == MODEL_READY;
    switch (f) {
    case F_model_ID: view_push_str(L, m->conf.id); break;
    case F_model_STATE: lua_pushstring(L, model_state_name(m->state)); break;
    case F_model_READY: lua_pushboolean(L, up && model_ready(s, m) && m->victim_of == 0); break;
    case F_model_DRAINING: lua_pushboolean(L, m->victim_of > 0); break;
    case F_model_INFLIGHT: lua_pushinteger(L, m->inflight); break;
    case F_model_QUEUED: lua_pushinteger(L, (lua_Integer)(model_queued(m) + m->waiting)); break;
    case F_model_RESERVED: lua_pushinteger(L, (lua_Integer)model_reserved(m)); break;
    case F_model_LIMIT: {
        uint32_t limit = view_limit(s, m);
        lua_pushinteger(L, limit ? limit : s->kind == SCHED_KIND_SERIAL ? 1 : 1000000);
        break;
    }
    case F_model_PRIORITY: lua_pushinteger(L, m->conf.priority); break;
    case F_model_GROUP: lua_pushinteger(L, m->conf.group); break;
    case F_model_PINNED: lua_pushboolean(L, m->conf.pinned || m->conf.group_persistent); break;
    case F_model_PREEMPTIBLE: lua_pushboolean(L, m->conf.preemptible); break;
    case F_model_LOAD_S:
        facts(ps, id, &known);
        lua_pushnumber(L, m->load_ms > 0 ? seconds(m->load_ms) : known.load_s > 0 ? known.load_s : 10);
        break;
    case F_model_STOP_S:
        facts(ps, id, &known);
        lua_pushnumber(L, m->stop_ms > 0 ? seconds(m->stop_ms) : known.stop_s > 0 ? known.stop_s : 1);
        break;
    case F_model_VRAM_MB:
        facts(ps, id, &known);
        lua_pushnumber(L, known.vram_mb > 0 ? known.vram_mb : 1);
        break;
    case F_model_LOADED_AT:
        if (up)
            lua_pushnumber(L, seconds(m->since));
        else
            lua_pushnil(L);
        break;
    case F_model_LAST_USED: lua_pushnumber(L, seconds(m->last_used)); break;
    case F_model_IDLE:
        lua_pushnumber(L, m->inflight > 0 ? 0 : up ? seconds(ps->now - m->last_used) : HUGE_VAL);
        break;
    case F_model_FAILS: lua_pushinteger(L, m->fails); break;
    case F_model_QUARANTINED_UNTIL:
        if (id < ps->n_models && ps->models[id].quarantined_until > ps->now)
            lua_pushnumber(L, seconds(ps->models[id].quarantined_until));
        else
            lua_pushnil(L);
        break;
    case F_model_TTL: lua_pushnumber(L, seconds(m->idle_ttl_ms)); break;
    case F_model_META: push_meta(L, ps, id); break;
    default: return 0;
    }
    return 1;
}

static int model_index(lua_State *L)
{
    struct view *v = view_alive(L, 1, VK_MODEL);
    int f = view_field(L, VK_MODEL, 2);
    if (f >= 0)
        return model_field(L, v->u.model.id, f);
    lua_pushnil(L);
    return 1;
}

model_id view_to_model(lua_State *L, int at)
{
    struct policy *p = vm_policy(L);
    struct view *v = lua_touserdata(L, at);
    if (v && lua_rawlen(L, at) == sizeof(*v) && v->kind == VK_MODEL)
        return v->gen == p->gen ? v->u.model.id : (view_dead(L, v), MODEL_NONE);
    if (lua_type(L, at) != LUA_TSTRING || !p->ps->sched)
        return MODEL_NONE;
    str id;
    id.ptr = lua_tolstring(L, at, &id.len);
    const struct sched *s = p->ps->sched;
    for (size_t i = 0; i < s->n_models; i++)
        if (!s->models[i]->conf.retired && str_eq(s->models[i]->conf.id, id))
            return (model_id)i;
    return MODEL_NONE;
}

/* ---- swaps ---- */

void view_push_swap(lua_State *L, struct policy *p, const struct swap *sw, const struct sched_note *n)
{
    struct view *v = view_new(L, p, VK_SWAP, 0);
    v->u.swap.id = sw->id;
    v->u.swap.sw = sw;
    if (n && n->kind == NOTE_SWAP_DONE) {
        v->u.swap.done = true;
        v->u.swap.ok = n->code == 0;
        p->swap_error[0] = '\0';
        if (n->code)
            snprintf(p->swap_error, sizeof(p->swap_error), "%s", n->text ? n->text : err_text(n->code));
    }
}

static int swap_index(lua_State *L)
{
    struct view *v = view_alive(L, 1, VK_SWAP);
    const struct swap *sw = v->u.swap.sw;
    struct policies *ps = vm_policy(L)->ps;
    const struct sched *s = ps->sched;
    int f = view_field(L, VK_SWAP, 2);
    const struct model_extra *x = sw->target < ps->n_models ? &ps->models[sw->target] : NULL;
    static const char *const stages[] = { "draining", "stopping", "starting" };
    switch (f) {
    case F_swap_ID: lua_pushinteger(L, (lua_Integer)sw->id); break;
    case F_swap_TARGET: view_push_str(L, s->models[sw->target]->conf.id); break;
    case F_swap_EVICT:
        lua_createtable(L, (int)sw->n_evict, 0);
        for (size_t i = 0; i < sw->n_evict; i++) {
            view_push_str(L, s->models[sw->evict[i]]->conf.id);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case F_swap_STAGE: lua_pushstring(L, stages[sw->stage]); break;
    case F_swap_FOR:
    case F_swap_FOR_ID: {
        const struct ticket *t = list_empty(&sw->waiters) ? NULL : LIST_ENTRY(sw->waiters.next, struct ticket, link);
        const struct preq *r = t ? preq_find(ps, t->id) : NULL;
        if (t)
            lua_pushinteger(L, (lua_Integer)(r ? r->id : t->id));
        else
            lua_pushnil(L);
        break;
    }
    case F_swap_BY: lua_pushstring(L, sw->by == SWAP_BY_PRELOAD ? "preload" : x && x->swap_by[0] ? x->swap_by : "builtin"); break;
    case F_swap_WHY: view_push_str(L, x ? str_c(x->swap_why) : STR_NONE); break;
    case F_swap_STARTED: lua_pushnumber(L, seconds(sw->started)); break;
    case F_swap_ELAPSED: lua_pushnumber(L, seconds(ps->now - sw->started)); break;
    case F_swap_OK:
        if (v->u.swap.done)
            lua_pushboolean(L, v->u.swap.ok);
        else
            lua_pushnil(L);
        break;
    case F_swap_ERROR: view_push_str(L, v->u.swap.done ? str_c(vm_policy(L)->swap_error) : STR_NONE); break;
    default: lua_pushnil(L); break;
    }
    return 1;
}
/* ---- what all views have ---- */

static int view_newindex(lua_State *L)
{
    return luaL_error(L, "views are read-only; keep your own data in req.ctx or luaswap.state");
}

static int view_tostring(lua_State *L)
{
    struct view *v = lua_touserdata(L, 1);
    struct policy *p = vm_policy(L);
    char text[200];
    bool live = v->gen == p->gen;
    switch (v->kind) {
    case VK_REQUEST:
        if (live)
            snprintf(text, sizeof(text), "req#%llu " STR_FMT " %.1fs", (unsigned long long)v->u.req.id,
                     STR_ARG(v->u.req.r->model_name), seconds(p->ps->now - v->u.req.r->arrived));
        else
            snprintf(text, sizeof(text), "req#%llu (expired)", (unsigned long long)v->u.req.id);
        break;
    case VK_MODEL: {
        const struct smodel *m = live && p->ps->sched ? view_model(p->ps->sched, v->u.model.id) : NULL;
        if (m)
            snprintf(text, sizeof(text), "model " STR_FMT " %s", STR_ARG(m->conf.id), model_state_name(m->state));
        else
            snprintf(text, sizeof(text), "model (expired)");
        break;
    }
    case VK_SWAP: snprintf(text, sizeof(text), "swap#%llu", (unsigned long long)v->u.swap.id); break;
    default: snprintf(text, sizeof(text), "queue"); break;
    }
    lua_pushstring(L, text);
    return 1;
}

/* All fields as a table, then as pairs of that: for logging. */
static int view_pairs(lua_State *L)
{
    struct view *v = lua_touserdata(L, 1);
    static const char *const types[] = { "request", "model", "swap", "queue" };
    lua_settop(L, 1);
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].type, types[v->kind]) != 0)
            continue;
        lua_pushstring(L, fields[i].name);
        lua_pushvalue(L, -1);
        lua_gettable(L, 1);
        lua_rawset(L, 2);
    }
    lua_replace(L, 1);
    return vm_pairs(L);
}

/* Pushes a table with the names as keys, and notes where they lie. */
static void field_table(lua_State *L, enum kind kind, const char *type)
{
    struct name_map *map = &vm_policy(L)->names[kind];
    memset(map, 0, sizeof(*map));
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].type, type) != 0)
            continue;
        const char *name = lua_pushstring(L, fields[i].name);
        size_t slot = name_slot(name);
        while (map->at[slot])
            slot = (slot + 1) % POLICY_NAMES;
        map->at[slot] = name;
        map->field[slot] = (uint8_t)i;
        lua_pushboolean(L, false);
        lua_rawset(L, -3);
    }
}

static void open_type(lua_State *L, enum kind kind, const char *type, lua_CFunction index, const luaL_Reg *methods)
{
    luaL_newmetatable(L, view_metas[kind]);
    field_table(L, kind, type);
    if (methods)
        luaL_setfuncs(L, methods, 0);
    lua_pushcclosure(L, index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, view_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, view_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, view_pairs);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    if (kind == VK_QUEUE) {
        lua_pushcfunction(L, view_queue_len);
        lua_setfield(L, -2, "__len");
    }
    vm_policy(L)->ref_metas[kind] = luaL_ref(L, LUA_REGISTRYINDEX);
}

int view_gpu(lua_State *L)
{
    struct policies *ps = vm_policy(L)->ps;
    struct policy_gpu rows[16];
    size_t n = ps->host->gpu ? ps->host->gpu(ps->host->ud, rows, ARRAY_LEN(rows)) : 0;
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n && i < ARRAY_LEN(rows); i++) {
        const struct policy_gpu *g = &rows[i];
        lua_createtable(L, 0, 9);
        lua_pushinteger(L, g->index);
        lua_setfield(L, -2, "index");
        lua_pushstring(L, g->name);
        lua_setfield(L, -2, "name");
        const struct {
            const char *name;
            double v;
        } numbers[] = { { "total_mb", g->total_mb }, { "used_mb", g->used_mb },
                        { "free_mb", g->total_mb - g->used_mb }, { "foreign_mb", g->foreign_mb },
                        { "util", g->util }, { "temp", g->temp }, { "sampled_at", seconds(g->sampled_at) } };
        for (size_t k = 0; k < ARRAY_LEN(numbers); k++) {
            lua_pushnumber(L, numbers[k].v);
            lua_setfield(L, -2, numbers[k].name);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

void view_open(lua_State *L, struct policy *p)
{
    _Static_assert(ARRAY_LEN(fields) <= 256 && ARRAY_LEN(fields) < 4 * POLICY_NAMES / 2, "names in the maps");
    _Static_assert(sizeof(struct view) != sizeof(struct hold) && sizeof(struct view) != sizeof(struct refusal) &&
                  sizeof(struct view) != sizeof(uint64_t) && sizeof(struct hold) != sizeof(struct refusal) &&
                  sizeof(struct hold) != sizeof(uint64_t) && sizeof(struct refusal) != sizeof(uint64_t),
                  "view_self knows views by their size");
    static const luaL_Reg request[] = { { "header", request_header }, { "body", request_body }, { NULL, NULL } };
    open_type(L, VK_REQUEST, "request", request_index, request);
    open_type(L, VK_MODEL, "model", model_index, NULL);
    open_type(L, VK_SWAP, "swap", swap_index, NULL);
    open_type(L, VK_QUEUE, "queue", view_queue_index, view_queue_methods);
    lua_newtable(L);
    p->ref_views = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    p->ref_models = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushboolean(L, false);
    p->ref_queue = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushboolean(L, false);
    p->ref_queue_all = luaL_ref(L, LUA_REGISTRYINDEX);
}
