/* One Lua state per policy: capped memory, a sandboxed environment, modules. Lua 5.4 differences live here. */
#include "policy/priv.h"

#include "base/check.h"

#include <errno.h>
#include <lualib.h>
#include <stdarg.h>
#include <stdio.h>

#define CLOSE_ASIDE (1u << 20) /* bytes */
#define TEXT_PIECE 2048

/* ---- memory ---- */

/* Small blocks go back to a list of their size: policies make and drop the same few kinds for every request. Not in a
 * build for the sanitizers, from whom this would hide a use after the end. */
#ifdef LUASWAP_DEBUG
#define BLOCK_MAX 0u
#else
#define BLOCK_MAX (16u * POLICY_BLOCKS)
#endif
#define SPARE_BYTES (1u << 20)

static void *block_new(struct policy *p, size_t size)
{
    if (size > BLOCK_MAX)
        return malloc(size);
    struct block **list = &p->blocks[(size - 1) / 16], *b = *list;
    size_t whole = (size + 15) & ~(size_t)15;
    if (!b)
        return malloc(whole);
    *list = b->next;
    p->spare_bytes -= whole;
    return b;
}

static void block_free(struct policy *p, void *ptr, size_t size)
{
    size_t whole = (size + 15) & ~(size_t)15;
    if (size > BLOCK_MAX || size == 0 || p->spare_bytes + whole > SPARE_BYTES) {
        free(ptr);
        return;
    }
    struct block *b = ptr, **list = &p->blocks[(size - 1) / 16];
    b->next = *list;
    *list = b;
    p->spare_bytes += whole;
}

static void *block_resize(struct policy *p, void *ptr, size_t old, size_t size)
{
    if (!ptr)
        return block_new(p, size);
    if (old > BLOCK_MAX && size > BLOCK_MAX)
        return realloc(ptr, size);
    if (old > 0 && old <= BLOCK_MAX && (old - 1) / 16 == (size - 1) / 16)
        return ptr;
    void *now = block_new(p, size);
    if (!now)
        return size < old ? ptr : NULL; /* Lua counts on it */
    memcpy(now, ptr, old < size ? old : size);
    block_free(p, ptr, old);
    return now;
}

static void blocks_fini(struct policy *p)
{
    for (size_t i = 0; i < POLICY_BLOCKS; i++) {
        for (struct block *b = p->blocks[i], *next; b; b = next) {
            next = b->next;
            free(b);
        }
        p->blocks[i] = NULL;
    }
    p->spare_bytes = 0;
}

static void *alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    struct policy *p = ud;
    size_t old = ptr ? osize : 0;
    if (nsize == 0) {
        if (ptr && osize >= POLICY_STACK_MIN)
            stack_gone(p, ptr);
        if (ptr)
            block_free(p, ptr, osize);
        p->mem_used -= old;
        return NULL;
    }
    if (nsize > old) {
        bool tight = p->in_hook && !p->m.killed;
        size_t limit = p->mem_limit - (tight ? POLICY_ERROR_RESERVE : 0);
        if (p->mem_used + (nsize - old) > limit) {
            p->mem_hit = true;
            return NULL;
        }
        if (nsize >= 2048) {
            gate_alloc_note(p, nsize);
            if (!stack_may_grow(p, ptr, nsize))
                return NULL;
        }
    }
    bool made = !ptr, stack = ptr && osize >= POLICY_STACK_MIN && stack_moves(p, ptr);
    void *now = block_resize(p, ptr, old, nsize);
    if (!now)
        return NULL;
    if (made || stack)
        stack_made(p, now, osize, nsize, stack);
    p->mem_used = p->mem_used - old + nsize;
    if (p->mem_used > p->mem_peak)
        p->mem_peak = p->mem_used;
    return now;
}

void vm_warn(struct policy *p, const char *fmt, ...)
{
    char line[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    strbuf_addf(&p->warnings, "%s\n", line);
    lib_log(p, POLICY_LOG_WARN, line);
}

bool vm_gc_owed(const struct policy *p)
{
    if (!p->L || p->in_hook)
        return false;
    size_t live = p->mem_after_gc, grown = p->mem_used > live ? p->mem_used - live : 0;
    size_t least = 512u << 10; /* a round costs as much as is alive: not for every few requests */
    return p->gc_running || grown >= (live / 2 > least ? live / 2 : least);
}

/* The collector never runs inside a hook; here it works until nothing is owed or the time is up. */
void vm_gc_idle(struct policy *p, uint64_t budget_ns)
{
    if (!vm_gc_owed(p))
        return;
    if (p->ps->conf.virtual_time) { /* whole, so that weak tables lose their entries at the same places every time */
        lua_gc(p->L, LUA_GCCOLLECT);
        p->mem_after_gc = p->mem_used;
        return;
    }
    bool urgent = p->mem_used > p->mem_limit / 4 * 3;
    uint64_t begin = clock_nsec(), end = begin + (urgent ? budget_ns * 8 : budget_ns);
    p->gc_running = true;
    do {
        if (lua_gc(p->L, LUA_GCSTEP, 1)) {
            p->gc_running = false;
            p->mem_after_gc = p->mem_used;
            break;
        }
    } while (clock_nsec() < end);
    p->gc_ns += clock_nsec() - begin;
}

/* ---- read-only tables ---- */

static int ro_newindex(lua_State *L)
{
    return luaL_error(L, "read-only table");
}

static int ro_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)));
    return 1;
}

static int ro_pairs(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    return vm_pairs(L);
}

void vm_freeze(lua_State *L, bool deep)
{
    luaL_checkstack(L, 6, "nested too deeply");
    int data = lua_gettop(L);
    if (deep) {
        for (lua_pushnil(L); lua_next(L, data);) {
            if (lua_istable(L, -1)) {
                vm_freeze(L, true);
                lua_pushvalue(L, -2);
                lua_insert(L, -2);
                lua_rawset(L, data); /* assigning to an existing field is allowed in a traversal */
            } else {
                lua_pop(L, 1);
            }
        }
    }
    lua_newtable(L);
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, data);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, ro_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, data);
    lua_pushcclosure(L, ro_len, 1);
    lua_setfield(L, -2, "__len");
    lua_pushvalue(L, data);
    lua_pushcclosure(L, ro_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_replace(L, data);
}

/* ---- pairs ---- */

struct key {
    int rank; /* numbers, strings, booleans, the rest as they come */
    lua_Number n;
    str s;
    lua_Integer at;
};

static int key_cmp(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank - y->rank;
    if (x->n < y->n || x->n > y->n)
        return x->n < y->n ? -1 : 1;
    int c = x->rank == 1 ? str_cmp(x->s, y->s) : 0;
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

static int keys_next(lua_State *L)
{
    for (;;) {
        lua_Integer i = lua_tointeger(L, lua_upvalueindex(3)) + 1;
        lua_pushinteger(L, i);
        lua_replace(L, lua_upvalueindex(3));
        if (lua_rawgeti(L, lua_upvalueindex(1), i) == LUA_TNIL)
            return 1;
        lua_pushvalue(L, -1);
        if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL)
            return 2;
        lua_pop(L, 2);
        gate_charge(L, 1);
    }
}

static int ordered_pairs(lua_State *L, bool reversed)
{
    lua_Integer n = 0;
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
        n++;
    gate_charge(L, (uint64_t)n * 2);
    struct key *keys = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof(*keys), 0);
    lua_createtable(L, (int)n, 0); /* as they come, which keeps the strings alive */
    lua_Integer i = 0;
    for (lua_pushnil(L); i < n && lua_next(L, 1); i++) {
        lua_pop(L, 1);
        struct key *k = &keys[i];
        *k = (struct key){ .rank = 3, .at = i + 1 };
        int type = lua_type(L, -1);
        if (type == LUA_TNUMBER) {
            k->rank = 0;
            k->n = lua_tonumber(L, -1);
        } else if (type == LUA_TSTRING) {
            k->rank = 1;
            k->s.ptr = lua_tolstring(L, -1, &k->s.len);
        } else if (type == LUA_TBOOLEAN) {
            k->rank = 2;
            k->n = lua_toboolean(L, -1);
        }
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, i + 1);
    }
    lua_settop(L, 3); /* t, keys, names */
    qsort(keys, (size_t)n, sizeof(*keys), key_cmp);
    lua_createtable(L, (int)n, 0);
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, 3, keys[reversed ? n - 1 - i : i].at);
        lua_rawseti(L, 4, i + 1);
    }
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, keys_next, 3);
    return 1;
}

int vm_pairs(lua_State *L)
{
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 3);
        return 3;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    enum policy_pairs how = vm_policy(L)->ps->conf.pairs;
    if (how != POLICY_PAIRS_NATIVE)
        return ordered_pairs(L, how == POLICY_PAIRS_REVERSED);
    lua_getfield(L, LUA_REGISTRYINDEX, "policy.next");
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* ---- the basic library ---- */

static int b_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "'__gc' is not available in policies");
        lua_pop(L, 1);
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int b_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (!lua_istable(L, 1) || !lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushliteral(L, "__metatable");
    if (lua_rawget(L, -2) == LUA_TNIL)
        lua_pop(L, 1);
    return 1;
}

/* Returns what it gets, but a kill goes on through it. */
static int b_pcall_done(lua_State *L, int status, lua_KContext ctx)
{
    if (status == LUA_ERRMEM)
        vm_policy(L)->m.killed = KILL_MEMORY;
    if (status != LUA_OK && status != LUA_YIELD && gate_killed(L))
        return gate_reraise(L);
    bool ok = status == LUA_OK || status == LUA_YIELD;
    lua_pushboolean(L, ok);
    lua_replace(L, 1);
    return lua_gettop(L);
}

static int b_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, true);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, b_pcall_done);
    if (status != LUA_OK) {
        /* true and the message are left */
        lua_insert(L, 2);
        lua_settop(L, 2);
    }
    return b_pcall_done(L, status, 0);
}

/* Hands the text over in pieces, so that reading a long one is charged and can be stopped. */
static const char *next_piece(lua_State *L, void *ud, size_t *len)
{
    str *left = ud;
    *len = left->len < TEXT_PIECE ? left->len : TEXT_PIECE;
    gate_charge(L, *len / 4);
    const char *at = left->ptr;
    *left = str_sub(*left, *len, left->len - *len);
    return *len > 0 ? at : NULL;
}

/* Loads `text` with the environment as its only upvalue. */
void vm_load_chunk(lua_State *L, struct policy *p, str text, const char *name)
{
    char chunk[300];
    snprintf(chunk, sizeof(chunk), "@%s", name);
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        text = str_sub(text, 3, text.len - 3);
    str left = text;
    int rc = lua_load(L, next_piece, &left, chunk, "t");
    if (rc == LUA_ERRMEM && !gate_killed(L))
        p->m.killed = KILL_MEMORY;
    if (rc != LUA_OK)
        lua_error(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_env);
    if (!lua_setupvalue(L, -2, 1))
        lua_pop(L, 1);
    p->hash_sum = str_hash(text, p->hash_sum ? p->hash_sum : 0x5bd1e995u);
}

static bool module_name_ok(str s)
{
    if (s.len == 0 || s.len > 100 || s.ptr[0] == '.' || s.ptr[s.len - 1] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || chr_digit(c) || c == '_' || c == '-';
        if (!word && !(c == '.' && s.ptr[i - 1] != '.'))
            return false;
    }
    return true;
}

static int b_require(lua_State *L)
{
    struct policy *p = vm_policy(L);
    str name;
    name.ptr = luaL_checklstring(L, 1, &name.len);
    lua_settop(L, 1);
    if (!module_name_ok(name))
        return luaL_error(L, "require: '%s' is no module name (words with dots between)", name.ptr);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_loaded);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 2) != LUA_TNIL) {
        if (lua_islightuserdata(L, -1))
            return luaL_error(L, "require: '%s' requires itself", name.ptr);
        return 1;
    }
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, p); /* being loaded */
    lua_rawset(L, 2);
    if (str_starts(name, S("luaswap."))) {
        size_t len;
        const char *text = policy_embedded(name, &len);
        if (!text)
            return luaL_error(L, "require: there is no module '%s'", name.ptr);
        vm_load_chunk(L, p, str_n(text, len), name.ptr);
    } else {
        char path[700];
        const char *slash = strrchr(p->file, '/');
        int dir = slash ? (int)(slash - p->file) + 1 : 0;
        int n = snprintf(path, sizeof(path), "%.*s" STR_FMT ".lua", dir, p->file, STR_ARG(name));
        for (int i = dir; i < n - 4 && (size_t)i < sizeof(path); i++)
            if (path[i] == '.')
                path[i] = '/';
        struct error e = { 0 };
        if (vm_read_file(path, &p->scratch, &e) < 0)
            return luaL_error(L, "require: %s", e.msg);
        vm_load_chunk(L, p, strbuf_str(&p->scratch), path);
    }
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, true);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}

static int env_newindex(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
    return luaL_error(L, "assignment to undeclared global '%s' (use local, or luaswap.state to keep it)", name);
}

static int m_random(lua_State *L)
{
    struct policy *p = vm_policy(L);
    int n = lua_gettop(L);
    if (n == 0) {
        lua_pushnumber(L, rand_unit(&p->rand));
        return 1;
    }
    lua_Integer lo = n == 1 ? 1 : luaL_checkinteger(L, 1), hi = luaL_checkinteger(L, n == 1 ? 1 : 2);
    if (n == 1 && hi == 0) {
        lua_pushinteger(L, (lua_Integer)rand_u64(&p->rand));
        return 1;
    }
    luaL_argcheck(L, lo <= hi, n == 1 ? 1 : 2, "interval is empty");
    uint64_t span = (uint64_t)hi - (uint64_t)lo;
    uint64_t r = span == UINT64_MAX ? rand_u64(&p->rand) : rand_below(&p->rand, span + 1);
    lua_pushinteger(L, (lua_Integer)((uint64_t)lo + r));
    return 1;
}

/* utf8 functions read their whole subject. */
static int counted_utf8(lua_State *L)
{
    int n = lua_gettop(L);
    size_t len = lua_type(L, 1) == LUA_TSTRING ? (size_t)lua_rawlen(L, 1) : 0;
    gate_charge(L, len / 4 + (uint64_t)n);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* The loaded library at the top becomes a copy without the names in `without`. */
static void copy_library(lua_State *L, const char *const *without, size_t n, lua_CFunction wrap)
{
    int from = lua_gettop(L);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
        const char *name = lua_tostring(L, -2);
        bool skip = false;
        for (size_t i = 0; i < n; i++)
            skip = skip || strcmp(name, without[i]) == 0;
        if (skip)
            continue;
        lua_pushvalue(L, -1);
        if (wrap && lua_iscfunction(L, -1))
            lua_pushcclosure(L, wrap, 1);
        lua_setfield(L, from + 1, name);
    }
    lua_remove(L, from);
}

static void open_environment(lua_State *L, struct policy *p)
{
    static const char *const basic[] = { "assert", "error", "ipairs", "next", "select", "tonumber", "type",
                                         "rawequal", "rawlen", "rawget", "rawset" };
    static const char *const no_math[] = { "random", "randomseed" };
    lua_newtable(L); /* what is visible */
    int seen = lua_gettop(L);
    luaL_requiref(L, "_G", luaopen_base, 0);
    for (size_t i = 0; i < ARRAY_LEN(basic); i++) {
        lua_getfield(L, -1, basic[i]);
        if (strcmp(basic[i], "next") == 0) {
            lua_pushvalue(L, -1);
            lua_setfield(L, LUA_REGISTRYINDEX, "policy.next");
        }
        lua_setfield(L, seen, basic[i]);
    }
    lua_pop(L, 1);
    lib_string_open(L);
    lua_newtable(L); /* metatable of strings */
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "");
    lua_insert(L, -2);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    vm_freeze(L, false);
    lua_setfield(L, seen, "string");
    lib_table_open(L);
    vm_freeze(L, false);
    lua_setfield(L, seen, "table");
    luaL_requiref(L, "math", luaopen_math, 0);
    copy_library(L, no_math, ARRAY_LEN(no_math), NULL);
    lua_pushcfunction(L, m_random);
    lua_setfield(L, -2, "random");
    vm_freeze(L, false);
    lua_setfield(L, seen, "math");
    luaL_requiref(L, "utf8", luaopen_utf8, 0);
    copy_library(L, NULL, 0, counted_utf8);
    vm_freeze(L, false);
    lua_setfield(L, seen, "utf8");
    static const luaL_Reg own[] = { { "setmetatable", b_setmetatable }, { "getmetatable", b_getmetatable },
                                    { "pcall", b_pcall }, { "require", b_require }, { "pairs", vm_pairs },
                                    { NULL, NULL } };
    luaL_setfuncs(L, own, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, "policy.tostring");
    lua_setfield(L, seen, "tostring");
    lib_core_open(L, p);
    lua_setfield(L, seen, "luaswap");
    /* _ENV is empty itself, so that every assignment to a global is seen. */
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, seen);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, env_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    p->ref_env = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, seen - 1);
}

static int open_protected(lua_State *L)
{
    struct policy *p = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_newtable(L);
    p->ref_loaded = luaL_ref(L, LUA_REGISTRYINDEX);
    view_open(L, p);
    open_environment(L, p);
    /* Nothing of the standard libraries stays within reach. */
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    return 0;
}

int vm_open(struct policy *p, struct error *e)
{
    strbuf_init(&p->scratch, 4u << 20);
    strbuf_init(&p->warnings, 16u << 10);
    p->L = lua_newstate(alloc, p);
    if (!p->L)
        return error_set(e, ERR_LIMIT, "no memory for a Lua state");
    *(struct policy **)lua_getextraspace(p->L) = p;
    lua_gc(p->L, LUA_GCINC, 100, 200, 11);
    lua_gc(p->L, LUA_GCSTOP);
    for (size_t i = 0; i < POLICY_HOOKS; i++)
        p->refs[i] = LUA_NOREF;
    p->ref_migrate = LUA_NOREF;
    return gate_run(p, POLICY_ON_START, 0, 0, open_protected, p, e);
}

/* Allocator of a state that nobody counts any more. */
static void *alloc_closing(void *ud, void *ptr, size_t osize, size_t nsize)
{
    (void)ud, (void)osize;
    if (nsize > 0)
        return realloc(ptr, nsize);
    free(ptr);
    return NULL;
}

static void close_aside(void *arg)
{
    lua_close(arg);
}

/* A state with much in it takes long to free. No code of a policy runs then: it has no finalizers, and its coroutines are
 * closed already. */
void vm_close(struct policy *p)
{
    const struct policy_host *host = p->ps->host;
    if (p->L && p->mem_used > CLOSE_ASIDE && host->aside) {
        *(struct policy **)lua_getextraspace(p->L) = NULL;
        lua_setallocf(p->L, alloc_closing, NULL);
        host->aside(host->ud, close_aside, p->L);
    } else if (p->L) {
        lua_close(p->L);
    }
    blocks_fini(p);
    p->L = NULL;
    strbuf_fini(&p->scratch);
    strbuf_fini(&p->warnings);
}

int vm_read_file(const char *path, struct strbuf *out, struct error *e)
{
    strbuf_clear(out);
    out->full = false;
    FILE *f = fopen(path, "rb");
    if (!f)
        return error_sys(e, ERR_NOTFOUND, errno, "cannot read %s", path);
    size_t n = 1;
    while (n > 0 && strbuf_reserve(out, 16384)) {
        n = fread(out->ptr + out->len, 1, 16384, f);
        strbuf_took(out, n);
    }
    bool bad = ferror(f) != 0;
    fclose(f);
    if (bad)
        return error_set(e, ERR_SYS, "cannot read %s", path);
    return n > 0 ? error_set(e, ERR_LIMIT, "%s is too large", path) : 0;
}
