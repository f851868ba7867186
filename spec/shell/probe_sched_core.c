/* probe_sched_core.c: require 'spec.sched': the real scheduler, event by event, for Lua specs.
 *
 * new(conf) -> s; s:post(event) -> list of actions in order, each with `kind`; a swap that the event committed
 * appears among them as {kind='SWAP', swap, model, evict={...}}. Models are named by id. */
#include "spec.h"

#include "base/arena.h"
#include "base/check.h"
#include "sched/matrix.h"
#include "sched/view.h"

#define SCHED_MT "luaswap.sched"
#define MATRIX_MT "luaswap.matrix"

struct box {
    struct sched *s;
    struct sched_actions out;
    struct matrix *mx;
    lua_State *L; /* during post, for the observer */
    int notes;    /* stack index of the table that collects committed swaps */
};

/* ---- small things ---- */

static str str_field(lua_State *L, int at, const char *key)
{
    str s = STR_NONE;
    if (lua_getfield(L, at, key) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, -1, &s.len);
    lua_pop(L, 1); /* the table still holds it */
    return s;
}

static lua_Integer int_field(lua_State *L, int at, const char *key, lua_Integer dflt)
{
    lua_Integer v = lua_getfield(L, at, key) == LUA_TNIL ? dflt : luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return v;
}

static bool bool_field(lua_State *L, int at, const char *key, bool dflt)
{
    bool v = lua_getfield(L, at, key) == LUA_TNIL ? dflt : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static void push_str(lua_State *L, str s)
{
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
}

static void set_str(lua_State *L, const char *key, str s)
{
    push_str(L, s);
    lua_setfield(L, -2, key);
}

static void set_int(lua_State *L, const char *key, lua_Integer v)
{
    lua_pushinteger(L, v);
    lua_setfield(L, -2, key);
}

/* ---- matrix ---- */

static void read_matrix(lua_State *L, int at, struct arena *a, struct matrix_src *src)
{
    lua_getfield(L, at, "models");
    src->n_models = (size_t)lua_rawlen(L, -1);
    str *models = ARENA_NEWN(a, src->n_models + 1, str);
    for (size_t i = 0; i < src->n_models; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        models[i].ptr = luaL_checklstring(L, -1, &models[i].len);
        models[i] = arena_dup(a, models[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    struct matrix_var *vars = ARENA_NEWN(a, 1000, struct matrix_var);
    if (lua_getfield(L, at, "vars") == LUA_TTABLE) {
        lua_pushnil(L);
        while (lua_next(L, -2) && src->n_vars < 1000) {
            struct matrix_var *v = &vars[src->n_vars++];
            v->name = arena_dup(a, str_c(luaL_checkstring(L, -2)));
            v->model = arena_dup(a, str_c(luaL_checkstring(L, -1)));
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    struct matrix_cost *costs = ARENA_NEWN(a, 1000, struct matrix_cost);
    if (lua_getfield(L, at, "costs") == LUA_TTABLE) {
        lua_pushnil(L);
        while (lua_next(L, -2) && src->n_costs < 1000) {
            struct matrix_cost *c = &costs[src->n_costs++];
            c->name = arena_dup(a, str_c(luaL_checkstring(L, -2)));
            c->cost = (int64_t)luaL_checknumber(L, -1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    lua_getfield(L, at, "sets");
    src->n_sets = (size_t)lua_rawlen(L, -1);
    struct matrix_set *sets = ARENA_NEWN(a, src->n_sets + 1, struct matrix_set);
    for (size_t i = 0; i < src->n_sets; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        sets[i].name = arena_dup(a, str_c(luaL_checkstring(L, -2)));
        sets[i].text = arena_dup(a, str_c(luaL_checkstring(L, -1)));
        lua_pop(L, 3);
    }
    lua_pop(L, 1);
    src->models = models;
    src->vars = vars;
    src->costs = costs;
    src->sets = sets;
}

static struct matrix *compile_matrix(lua_State *L, int at, struct matrix_at *where, struct error *e)
{
    struct arena a;
    arena_init(&a, 64u << 20);
    struct matrix_src src = { 0 };
    read_matrix(L, at, &a, &src);
    struct matrix *m = NULL;
    int rc = matrix_compile(&src, &m, where, e);
    arena_fini(&a);
    return rc ? NULL : m;
}

struct mbox {
    struct matrix *m;
    struct matrix_solver *sv;
};

/* matrix{models, vars, costs, sets={{name, text}...}} -> m | nil, message, what, index (from 1), offset */
static int l_matrix(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct matrix_at where;
    struct error e = { 0 };
    struct matrix *m = compile_matrix(L, 1, &where, &e);
    if (!m) {
        static const char *const what[] = { "none", "var", "cost", "set" };
        lua_pushnil(L);
        lua_pushstring(L, e.msg);
        lua_pushstring(L, what[where.what]);
        lua_pushinteger(L, (lua_Integer)where.index + 1);
        lua_pushinteger(L, (lua_Integer)where.offset);
        return 5;
    }
    struct mbox *b = lua_newuserdatauv(L, sizeof(*b), 0);
    *b = (struct mbox){ m, matrix_solver_new(m) };
    luaL_setmetatable(L, MATRIX_MT);
    return 1;
}

static uint32_t check_number(lua_State *L, const struct matrix *m, int at)
{
    uint32_t n = matrix_model(m, str_c(luaL_checkstring(L, at)));
    luaL_argcheck(L, n != MATRIX_NONE, at, "unknown model");
    return n;
}

static size_t check_numbers(lua_State *L, const struct matrix *m, int at, uint32_t **ret)
{
    size_t n = (size_t)lua_rawlen(L, at);
    uint32_t *list = lua_newuserdatauv(L, (n + 1) * sizeof(*list), 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        list[i] = check_number(L, m, lua_gettop(L));
        lua_pop(L, 1);
    }
    *ret = list;
    return n;
}

static void push_numbers(lua_State *L, const struct matrix *m, const uint32_t *list, size_t n)
{
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_str(L, matrix_model_id(m, list[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static int l_solve(lua_State *L)
{
    struct mbox *b = luaL_checkudata(L, 1, MATRIX_MT);
    uint32_t target = check_number(L, b->m, 2), *running;
    size_t n = check_numbers(L, b->m, 3, &running);
    struct matrix_answer a = matrix_solve(b->sv, target, running, n);
    lua_newtable(L);
    push_numbers(L, b->m, a.evict, a.n_evict);
    lua_setfield(L, -2, "evict");
    push_numbers(L, b->m, a.witness, a.n_witness);
    lua_setfield(L, -2, "witness");
    set_int(L, "cost", a.cost);
    set_str(L, "set", a.set);
    return 1;
}

static int l_fits(lua_State *L)
{
    struct mbox *b = luaL_checkudata(L, 1, MATRIX_MT);
    uint32_t *models;
    size_t n = check_numbers(L, b->m, 2, &models);
    lua_pushboolean(L, matrix_fits(b->sv, models, n));
    return 1;
}

static int l_matrix_gc(lua_State *L)
{
    struct mbox *b = luaL_checkudata(L, 1, MATRIX_MT);
    matrix_solver_free(b->sv);
    matrix_free(b->m);
    *b = (struct mbox){ 0 };
    return 0;
}

/* ---- configuration ---- */

static void read_model(lua_State *L, int at, struct sched_model *m)
{
    m->id = str_field(L, at, "id");
    m->limit = (uint32_t)int_field(L, at, "limit", 0);
    m->priority = (int)int_field(L, at, "priority", 0);
    m->unload_grace_ms = int_field(L, at, "grace_ms", 10000);
    m->ttl_ms = int_field(L, at, "ttl_ms", 0);
    m->preemptible = bool_field(L, at, "preemptible", false);
    m->pinned = bool_field(L, at, "pinned", false);
    m->retired = bool_field(L, at, "retired", false);
    m->group = (uint32_t)int_field(L, at, "group", 0);
    m->group_swap = bool_field(L, at, "group_swap", true);
    m->group_exclusive = bool_field(L, at, "group_exclusive", true);
    m->group_persistent = bool_field(L, at, "group_persistent", false);
}

static struct matrix *read_conf(lua_State *L, int at, struct sched_conf *c)
{
    str kind = str_field(L, at, "kind");
    if (!sched_kind_of(kind.ptr ? kind : S("serial"), &c->kind))
        luaL_error(L, "unknown scheduler");
    c->serial_max_queue = (uint32_t)int_field(L, at, "max_queue", 0);
    c->serial_max_serve_ms = int_field(L, at, "max_serve_ms", 0);
    c->fifo_max_wait_ms = int_field(L, at, "max_wait_ms", 0);
    c->fifo_orphan =
        str_eq(str_field(L, at, "orphan"), S("abort")) ? SCHED_ORPHAN_ABORT : SCHED_ORPHAN_KEEP;
    lua_getfield(L, at, "models");
    c->n_models = (size_t)lua_rawlen(L, -1);
    struct sched_model *models = lua_newuserdatauv(L, (c->n_models + 1) * sizeof(*models), 0);
    for (size_t i = 0; i < c->n_models; i++) {
        models[i] = (struct sched_model){ 0 };
        if (lua_rawgeti(L, -2, (lua_Integer)i + 1) == LUA_TSTRING) {
            models[i].id.ptr = lua_tolstring(L, -1, &models[i].id.len);
            models[i].unload_grace_ms = 10000;
            models[i].group_swap = models[i].group_exclusive = true;
        } else {
            read_model(L, lua_gettop(L), &models[i]);
        }
        lua_pop(L, 1);
    }
    c->models = models;
    struct matrix *mx = NULL;
    if (lua_getfield(L, at, "matrix") == LUA_TTABLE) {
        struct matrix_at where;
        struct error e;
        mx = compile_matrix(L, lua_gettop(L), &where, &e);
        if (!mx)
            luaL_error(L, "%s", e.msg);
    }
    lua_pop(L, 1);
    c->matrix = mx;
    return mx; /* models and their names stay on the stack */
}

static struct box *check_box(lua_State *L)
{
    return luaL_checkudata(L, 1, SCHED_MT);
}

static model_id find_model(const struct sched *s, str id)
{
    for (size_t i = 0; i < s->n_models; i++)
        if (str_eq(s->models[i]->conf.id, id))
            return (model_id)i;
    return MODEL_NONE;
}

static void push_model(lua_State *L, const struct sched *s, model_id m)
{
    push_str(L, m < s->n_models ? s->models[m]->conf.id : S("?"));
}

/* ---- events and actions ---- */

static void on_note(void *ctx, const struct sched *s, const struct sched_note *n)
{
    struct box *b = ctx;
    lua_State *L = b->L;
    if (!L || n->kind != NOTE_SWAP_START)
        return;
    lua_newtable(L);
    set_int(L, "at", (lua_Integer)s->out->len);
    set_str(L, "kind", S("SWAP"));
    set_int(L, "swap", (lua_Integer)n->swap->id);
    push_model(L, s, n->model);
    lua_setfield(L, -2, "model");
    lua_newtable(L);
    for (size_t i = 0; i < n->swap->n_evict; i++) {
        push_model(L, s, n->swap->evict[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "evict");
    lua_rawseti(L, b->notes, (lua_Integer)lua_rawlen(L, b->notes) + 1);
}

static int l_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct sched_conf c = { 0 };
    struct matrix *mx = read_conf(L, 1, &c);
    struct box *b = lua_newuserdatauv(L, sizeof(*b), 0);
    *b = (struct box){ .s = sched_new(&c), .mx = mx };
    luaL_setmetatable(L, SCHED_MT);
    sched_observe(b->s, 1u << NOTE_SWAP_START, on_note, b);
    return 1;
}

static int l_gc(lua_State *L)
{
    struct box *b = check_box(L);
    sched_free(b->s);
    sched_actions_fini(&b->out);
    matrix_free(b->mx);
    *b = (struct box){ 0 };
    return 0;
}

static enum sched_ev_kind event_kind(lua_State *L, str name)
{
    for (int k = SCHED_ARRIVE; k <= SCHED_DRAIN; k++)
        if (str_eq(name, str_c(sched_ev_name((enum sched_ev_kind)k))))
            return (enum sched_ev_kind)k;
    luaL_error(L, "unknown event");
    return SCHED_TICK;
}

static void push_action(lua_State *L, const struct sched *s, const struct sched_action *a)
{
    lua_newtable(L);
    set_str(L, "kind", str_c(sched_act_name(a->kind)));
    if (a->ticket)
        set_int(L, "ticket", (lua_Integer)a->ticket);
    if (a->model != MODEL_NONE) {
        push_model(L, s, a->model);
        lua_setfield(L, -2, "model");
    }
    if (a->swap)
        set_int(L, "swap", (lua_Integer)a->swap);
    switch (a->kind) {
    case SCHED_REJECT:
        set_str(L, "code", str_c(err_name(a->code)));
        set_str(L, "text", str_c(a->text));
        break;
    case SCHED_STOP:
        set_int(L, "grace", a->grace_ms);
        break;
    case SCHED_POSITION:
        set_int(L, "n", a->n);
        break;
    case SCHED_WAKE_AT:
        set_int(L, "at", a->at);
        break;
    case SCHED_ABORT_SERVE:
        set_str(L, "text", str_c(a->text));
        break;
    case SCHED_UNLOADED:
        set_int(L, "op", (lua_Integer)a->op);
        set_str(L, "code", str_c(a->code ? err_name(a->code) : ""));
        break;
    case SCHED_ADMIT:
    case SCHED_GRANT:
    case SCHED_MOVED:
    case SCHED_START:
        break;
    }
}

/* post{kind, now, ticket, model, swap, priority, op, models, text, positions, evict, grace_ms} -> actions */
static int l_post(lua_State *L)
{
    struct box *b = check_box(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct sched_event ev = { .kind = event_kind(L, str_field(L, 2, "kind")) };
    ev.now = int_field(L, 2, "now", b->s->now);
    ev.ticket = (ticket_id)int_field(L, 2, "ticket", 0);
    ev.swap = (swap_id)int_field(L, 2, "swap", 0);
    ev.op = (uint64_t)int_field(L, 2, "op", 0);
    ev.priority = (int)int_field(L, 2, "priority", 0);
    ev.grace_ms = int_field(L, 2, "grace_ms", 0);
    ev.want_positions = bool_field(L, 2, "positions", false);
    ev.evict = bool_field(L, 2, "evict", false);
    ev.side = bool_field(L, 2, "side", false);
    ev.sent = bool_field(L, 2, "sent", false);
    ev.died = bool_field(L, 2, "died", false);
    ev.text = str_field(L, 2, "text");
    ev.model = find_model(b->s, str_field(L, 2, "model"));
    model_id targets[64];
    if (lua_getfield(L, 2, "models") == LUA_TTABLE) {
        ev.models = targets;
        for (size_t i = 0; i < lua_rawlen(L, -1) && i < ARRAY_LEN(targets); i++) {
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
            targets[ev.n_models++] = find_model(b->s, str_c(luaL_checkstring(L, -1)));
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    lua_newtable(L);
    b->notes = lua_gettop(L);
    b->L = L;
    b->out.len = 0;
    sched_post(b->s, &ev, &b->out);
    b->L = NULL;
    lua_newtable(L);
    lua_Integer n = 0, note = 1;
    for (size_t i = 0; i <= b->out.len; i++) {
        while (lua_rawgeti(L, b->notes, note) == LUA_TTABLE &&
               int_field(L, lua_gettop(L), "at", 0) <= (lua_Integer)i) {
            lua_rawseti(L, -2, ++n);
            note++;
        }
        lua_pop(L, 1);
        if (i == b->out.len)
            break;
        push_action(L, b->s, &b->out.at[i]);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* ---- facts ---- */

static const struct smodel *arg_model(lua_State *L, const struct box *b, int at)
{
    const struct smodel *m = view_model(b->s, find_model(b->s, str_c(luaL_checkstring(L, at))));
    luaL_argcheck(L, m, at, "unknown model");
    return m;
}

static int l_check(lua_State *L)
{
    struct error e = { 0 };
    if (sched_check(check_box(L)->s, &e) == 0)
        return 0;
    lua_pushstring(L, e.msg);
    return 1;
}

static int l_state(lua_State *L)
{
    const struct box *b = check_box(L);
    lua_pushstring(L, model_state_name(sched_model_state(b->s, arg_model(L, b, 2)->self)));
    return 1;
}

/* order(model) -> id of its open START or STOP, 0 = none */
static int l_order(lua_State *L)
{
    const struct box *b = check_box(L);
    lua_pushinteger(L, (lua_Integer)arg_model(L, b, 2)->op);
    return 1;
}

static int l_inflight(lua_State *L)
{
    const struct box *b = check_box(L);
    lua_pushinteger(L, (lua_Integer)sched_inflight(
                           b->s, lua_isnoneornil(L, 2) ? MODEL_NONE : arg_model(L, b, 2)->self));
    return 1;
}

static int l_waiting(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)sched_waiting(check_box(L)->s));
    return 1;
}

static int l_will_wait(lua_State *L)
{
    const struct box *b = check_box(L);
    lua_pushboolean(L, sched_will_wait(b->s, arg_model(L, b, 2)->self));
    return 1;
}

static int l_line(lua_State *L)
{
    const struct box *b = check_box(L);
    lua_newtable(L);
    lua_Integer n = 0;
    for (struct qnode *q = queue_first(&b->s->line); q; q = queue_next(q)) {
        lua_pushinteger(L, (lua_Integer)line_ticket(q)->id);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* swaps() -> {{id, model, evict={...}, stage}...} */
static int l_swaps(lua_State *L)
{
    static const char *const stages[] = { "draining", "stopping", "starting" };
    const struct box *b = check_box(L);
    lua_newtable(L);
    lua_Integer n = 0;
    for (struct list *it = b->s->swaps.next; it != &b->s->swaps; it = it->next) {
        const struct swap *sw = LIST_ENTRY(it, struct swap, link);
        lua_newtable(L);
        set_int(L, "id", (lua_Integer)sw->id);
        push_model(L, b->s, sw->target);
        lua_setfield(L, -2, "model");
        set_str(L, "stage", str_c(stages[sw->stage]));
        lua_newtable(L);
        for (size_t i = 0; i < sw->n_evict; i++) {
            push_model(L, b->s, sw->evict[i]);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        lua_setfield(L, -2, "evict");
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int l_adopt(lua_State *L)
{
    const struct box *b = check_box(L);
    static const char *const names[] = { "stopped", "starting", "ready", "stopping", NULL };
    int st = luaL_checkoption(L, 3, NULL, names);
    sched_adopt(b->s, arg_model(L, b, 2)->self, (enum model_state)st,
                (msec)luaL_optinteger(L, 4, 0));
    return 0;
}

static int l_reconfigure(lua_State *L)
{
    struct box *b = check_box(L);
    struct sched_conf c = { 0 };
    struct matrix *mx = read_conf(L, 2, &c);
    sched_reconfigure(b->s, &c);
    matrix_free(b->mx);
    b->mx = mx;
    return 0;
}

static int l_dump(lua_State *L)
{
    struct strbuf out = STRBUF(1u << 22);
    sched_dump(check_box(L)->s, &out);
    push_str(L, strbuf_str(&out));
    strbuf_fini(&out);
    return 1;
}

/* trace_line(text) -> the same line written again | nil, message */
static int l_trace_line(lua_State *L)
{
    struct trace_line l;
    struct error e = { 0 };
    if (trace_parse(str_c(luaL_checkstring(L, 1)), &l, &e)) {
        lua_pushnil(L);
        lua_pushstring(L, e.msg);
        return 2;
    }
    struct strbuf out = STRBUF(1u << 16);
    if (l.is_event)
        trace_event_line(&out, &l.ev);
    else
        trace_action_line(&out, &l.act);
    push_str(L, strbuf_str(&out));
    strbuf_fini(&out);
    return 1;
}

static int open_sched(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "post", l_post },
        { "check", l_check },
        { "state", l_state },
        { "order", l_order },
        { "inflight", l_inflight },
        { "waiting", l_waiting },
        { "line", l_line },
        { "swaps", l_swaps },
        { "will_wait", l_will_wait },
        { "adopt", l_adopt },
        { "dump", l_dump },
        { "reconfigure", l_reconfigure },
        { "__gc", l_gc },
        { NULL, NULL },
    };
    static const luaL_Reg matrix_methods[] = {
        { "solve", l_solve }, { "fits", l_fits }, { "__gc", l_matrix_gc }, { NULL, NULL }
    };
    static const luaL_Reg functions[] = {
        { "new", l_new }, { "matrix", l_matrix }, { "trace_line", l_trace_line }, { NULL, NULL }
    };
    luaL_newmetatable(L, SCHED_MT);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, MATRIX_MT);
    luaL_setfuncs(L, matrix_methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}

PROBE(sched, open_sched);
