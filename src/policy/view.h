/* view.h: what the views of requests, models and swaps (view.c) share with that of the queue (view_queue.c).
 *
 * Inside of policy/ only. A view is alive while its `gen` is that of its policy.
 */
#ifndef LUASWAP_POLICY_VIEW_H
#define LUASWAP_POLICY_VIEW_H

#include "policy/priv.h"

enum kind { VK_REQUEST, VK_MODEL, VK_SWAP, VK_QUEUE };
extern const char *const view_metas[];

struct view {
    enum kind kind;
    uint64_t gen;
    union {
        struct {
            struct preq *r;
            uint64_t uid, id;
        } req;
        struct {
            model_id id;
        } model;
        struct {
            swap_id id;
            const struct swap *sw;
            bool done, ok;
        } swap;
        struct {
            bool all;
        } queue;
    } u;
};

enum request_field {
#define FIELD(type, id, name, lua, doc) F_##type##_##id,
#include "policy/api.def"
    FIELDS
};

/* Which field has this name? Names of fields are short strings, which Lua keeps once each; the tables of view_open keep
 * them alive; so where they lie tells which one it is. -1: a method, another name, another kind of key. */
static inline int view_field(lua_State *L, enum kind kind, int at)
{
    if (lua_type(L, at) != LUA_TSTRING)
        return -1;
    const struct name_map *m = &vm_policy(L)->names[kind];
    const char *name = lua_tostring(L, at);
    for (size_t i = name_slot(name); m->at[i]; i = (i + 1) % POLICY_NAMES)
        if (m->at[i] == name)
            return m->field[i];
    return -1;
}

_Noreturn void view_dead(lua_State *L, const struct view *v); /* raises */
static inline struct view *view_alive(lua_State *L, int at, enum kind kind)
{
    struct view *v = lua_touserdata(L, at);
    if (v->gen != vm_policy(L)->gen || v->kind != kind)
        view_dead(L, v);
    return v;
}

/* The first argument of a method: anything may come here. Only views have their size (view.c asserts it). */
static inline struct view *view_self(lua_State *L, enum kind kind)
{
    struct view *v = lua_touserdata(L, 1);
    if (!v || lua_rawlen(L, 1) != sizeof(*v) || v->kind != kind)
        luaL_typeerror(L, 1, view_metas[kind]);
    return view_alive(L, 1, kind);
}

/* A field that is a number or a boolean, of the record or found out; false: it is not (or nil). */
bool view_request_number(struct preq *r, int field, double *ret);
struct view *view_new(lua_State *L, struct policy *p, enum kind kind, int uservalues);

static inline void view_push_str(lua_State *L, str s)
{
    if (s.ptr && s.len)
        lua_pushlstring(L, s.ptr, s.len);
    else
        lua_pushnil(L);
}

static inline double seconds(msec ms)
{
    return (double)ms / 1000.0;
}

/* The queue's methods and fields, for view_open. */
extern const luaL_Reg view_queue_methods[];
int view_queue_index(lua_State *L);
int view_queue_len(lua_State *L);

#endif
