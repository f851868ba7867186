/* The one way into Lua. Everything that may raise happens inside; what comes out is a verdict. */
#include "policy/priv.h"

#include "base/check.h"

#include <stdio.h>

#define TURN_NS (60u * UINT64_C(1000000)) /* for all hooks of one turn of the loop */

static const char kill_token; /* its address is the error value of a kill: pushing it needs no memory */

static const struct {
    const char *name;
    char kind;
} hooks[] = {
#define HOOK(id, name, kind, args, ret, doc) { name, kind[0] },
#include "policy/api.def"
};

const char *hook_name(enum policy_hook h)
{
    return (unsigned)h < ARRAY_LEN(hooks) ? hooks[h].name : "?";
}

enum phase hook_phase(enum policy_hook h)
{
    switch (hooks[h].kind) {
    case 'Y': return PHASE_ROUTE;
    case 'D': return PHASE_DECIDE;
    default: return PHASE_NOTE;
    }
}

/* ---- the meter ---- */

static void on_count(lua_State *L, lua_Debug *ar);

static void arm(lua_State *L, int step)
{
    lua_sethook(L, on_count, LUA_MASKCOUNT, step);
}

static _Noreturn void die(lua_State *L, struct policy *p, enum kill why, lua_Debug *ar)
{
    struct meter *m = &p->m;
    if (!m->killed) {
        m->killed = why;
        m->kill_line = -1;
        m->kill_src[0] = '\0';
        lua_Debug own;
        if (!ar && lua_getstack(L, 0, &own)) {
            ar = &own; /* inside a C function: who called it */
            while (lua_getinfo(L, "Sl", ar) && ar->currentline < 0) {
                static const int deep = 8;
                int level = 1;
                bool found = false;
                for (; level < deep && lua_getstack(L, level, ar); level++) {
                    lua_getinfo(L, "Sl", ar);
                    if (ar->currentline >= 0) {
                        found = true;
                        break;
                    }
                }
                if (!found)
                    break;
            }
        }
        if (ar && lua_getinfo(L, "Sl", ar)) {
            m->kill_line = ar->currentline;
            snprintf(m->kill_src, sizeof(m->kill_src), "%s", ar->short_src);
        }
    }
    arm(L, 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&kill_token);
    lua_error(L);
    UNREACHABLE();
}

static void start_clock(struct meter *m, unsigned wall_ms)
{
    m->start_ns = clock_nsec();
    m->deadline_ns = wall_ms ? m->start_ns + (uint64_t)wall_ms * 1000000 : 0;
}

/* Several hooks may spend their time in one turn of the loop, which is one `now`: together they get 60 ms, and a
 * little more for each that comes late; it is a strike for each, so there are few. */
static void share_turn(struct policies *ps, struct meter *m)
{
    static const uint64_t least_ns = 2u * 1000000u;
    if (ps->turn != ps->now) {
        ps->turn = ps->now;
        ps->turn_ns = 0;
    }
    uint64_t left = ps->turn_ns + least_ns < TURN_NS ? TURN_NS - ps->turn_ns : least_ns;
    if (m->start_ns && m->deadline_ns > m->start_ns + left)
        m->deadline_ns = m->start_ns + left;
}

bool gate_turn_left(const struct policies *ps)
{
    return !ps->live || ps->turn != ps->now || ps->turn_ns < TURN_NS;
}

/* Past a limit? Looks at the clock. */
static enum kill over(struct policy *p)
{
    struct meter *m = &p->m;
    if (m->killed)
        return m->killed;
    if (m->limit && m->used > m->limit)
        return KILL_INSTRUCTIONS;
    if (!m->start_ns && m->wall_ms) /* virtual time: begins late, and so far that only a real hang meets it */
        start_clock(m, 2000);
    uint64_t now = m->deadline_ns ? clock_nsec() : 0;
    if (now <= m->deadline_ns)
        return KILL_NO;
    if (m->cpu_ns) {
        uint64_t spent = clock_cpu_nsec() - m->cpu_ns, may = m->cpu_may_ns;
        if (spent < may) {
            m->deadline_ns = now + (may - spent);
            return KILL_NO;
        }
    }
    return KILL_WALL;
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    struct policy *p = vm_policy(L);
    if (!p->m.on)
        return;
    p->m.used += p->m.step1 ? 1 : POLICY_HOOK_STEP;
    enum kill k = over(p);
    if (k)
        die(L, p, k, ar);
    if (p->m.step1) {
        p->m.step1 = false;
        arm(L, POLICY_HOOK_STEP);
    }
}

void gate_charge(lua_State *L, uint64_t units)
{
    struct policy *p = vm_policy(L);
    struct meter *m = &p->m;
    if (!m->on)
        return;
    m->used += units;
    m->mark += units;
    if (m->mark < 500 && !(m->limit && m->used > m->limit))
        return;
    m->mark = 0;
    enum kill k = over(p);
    if (k)
        die(L, p, k, NULL);
}

/* A large block was asked for; raising is not possible here, so the next instruction looks. */
void gate_alloc_note(struct policy *p, size_t bytes)
{
    struct meter *m = &p->m;
    if (!m->on)
        return;
    m->used += bytes / 64;
    m->big += bytes;
    if (m->big < (1u << 18) || !p->running)
        return;
    m->big = 0;
    if (over(p)) {
        m->step1 = true;
        arm(p->running, 1);
    }
}

bool gate_killed(lua_State *L)
{
    return vm_policy(L)->m.killed != KILL_NO;
}

int gate_reraise(lua_State *L)
{
    arm(L, 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&kill_token);
    return lua_error(L);
}

static void meter_start(struct policy *p, lua_State *L, uint64_t instr, unsigned wall_ms)
{
    struct meter *m = &p->m;
    m->used = m->mark = m->big = 0;
    m->limit = instr;
    m->killed = KILL_NO;
    m->step1 = false;
    m->wall_ms = wall_ms;
    m->start_ns = m->deadline_ns = m->cpu_ns = 0;
    if (!p->ps->conf.virtual_time)
        start_clock(m, wall_ms);
    p->ps->stamp++;
    m->on = true;
    p->running = L;
    p->in_hook = true;
    p->mem_hit = p->stack_hit = false;
    arm(L, POLICY_HOOK_STEP);
}

static void meter_stop(struct policy *p, lua_State *L)
{
    lua_sethook(L, NULL, 0, 0);
    p->m.on = false;
    p->in_hook = false;
    p->running = NULL;
    p->gen++; /* every view that was shown is dead now */
    p->ps->stamp++;
    if (p->mem_used > p->mem_limit / 4 * 3)
        vm_gc_idle(p, 200000);
}

/* ---- messages ---- */

void gate_traceback_text(lua_State *L, char *out, size_t size)
{
    size_t len = 0;
    lua_Debug ar;
    for (int level = 0; level < 12 && lua_getstack(L, level, &ar) && len < size; level++) {
        if (!lua_getinfo(L, "Sln", &ar) || ar.currentline < 0)
            continue;
        int n = snprintf(out + len, size - len, "%s%s:%d in %s", len ? " < " : "", ar.short_src, ar.currentline,
                         ar.name ? ar.name : "main chunk");
        len += n > 0 ? (size_t)n : 0;
    }
    if (len == 0 && size)
        out[0] = '\0';
}

/* Message handler: C, so that it runs whatever the hooks say. Adds where it was to a text. */
static int on_error(lua_State *L)
{
    struct policy *p = vm_policy(L);
    if (p->m.killed || lua_type(L, 1) == LUA_TLIGHTUSERDATA)
        return 1;
    if (lua_type(L, 1) != LUA_TSTRING && lua_type(L, 1) != LUA_TNUMBER) {
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
        return 1;
    }
    return 1;
}

static enum verdict classify(struct policy *p, int rc, lua_State *L, enum policy_hook h, char *msg, size_t size)
{
    struct meter *m = &p->m;
    if (p->stack_hit && (rc == LUA_ERRMEM || m->killed == KILL_MEMORY)) {
        p->stack_hit = false;
        snprintf(msg, size, "%s.%s: stack overflow", p->name, hook_name(h));
        return V_ERROR;
    }
    if (rc == LUA_ERRMEM || m->killed == KILL_MEMORY) {
        if (p->phase == PHASE_CHUNK)
            snprintf(msg, size, "loading: memory limit of %zu KB reached", p->mem_limit >> 10);
        else
            snprintf(msg, size, "%s.%s: memory limit of %zu KB reached", p->name, hook_name(h), p->mem_limit >> 10);
        return V_MEMORY;
    }
    bool loading = p->phase == PHASE_CHUNK;
    if (m->killed) {
        char where[80] = "";
        if (m->kill_line >= 0)
            snprintf(where, sizeof(where), " (line %d)", m->kill_line);
        if (loading && m->killed == KILL_WALL && p->ps->live)
            snprintf(msg, size, "loading: wall-clock budget %u ms exceeded, which is for all files of a running server together%s",
                     POLICY_LOAD_LIVE_MS, where);
        else if (loading)
            snprintf(msg, size, "loading: %s budget %llu%s exceeded%s", m->killed == KILL_WALL ? "wall-clock" : "instruction",
                     (unsigned long long)(m->killed == KILL_WALL ? m->wall_ms : m->limit), m->killed == KILL_WALL ? " ms" : "", where);
        else if (m->killed == KILL_WALL)
            snprintf(msg, size, "%s.%s: wall-clock budget %llu ms exceeded%s", p->name, hook_name(h),
                     (unsigned long long)((m->deadline_ns - m->start_ns) / 1000000), where);
        else
            snprintf(msg, size, "%s.%s: instruction budget %llu exceeded%s", p->name, hook_name(h),
                     (unsigned long long)m->limit, where);
        return V_BUDGET;
    }
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(no message)";
    snprintf(msg, size, "%s.%s: %s", p->name, hook_name(h), text);
    return V_ERROR;
}

static int code_of(enum verdict v)
{
    return v == V_MEMORY ? ERR_LIMIT : v == V_BUDGET ? ERR_TIMEOUT : ERR_CONFIG;
}

/* ---- statistics ---- */

static void count(struct policy *p, enum policy_hook h, enum verdict v)
{
    struct hook_stats *s = &p->stats[h];
    s->n++;
    if (p->m.used > s->instr_max)
        s->instr_max = p->m.used;
    uint64_t used = p->m.used;
    s->instr_sum += used;
    unsigned e = used > 3 ? 63u - (unsigned)__builtin_clzll(used) : 0;
    size_t at = used > 3 ? 4 * (size_t)(e - 1) + (size_t)(used >> (e - 2) & 3) : (size_t)used;
    s->instr_hist[at < POLICY_INSTR_HIST ? at : POLICY_INSTR_HIST - 1]++;
    if (!p->ps->conf.virtual_time) {
        uint64_t ns = clock_nsec() - p->m.start_ns;
        p->ps->turn_ns += ns;
        s->sum_ns += ns;
        if (ns > s->max_ns)
            s->max_ns = ns;
        unsigned bucket = ns ? 63u - (unsigned)__builtin_clzll(ns) : 0;
        s->hist[bucket < POLICY_HIST ? bucket : POLICY_HIST - 1]++;
    }
    switch (v) {
    case V_NONE: s->nil++; break;
    case V_HOLD: s->hold++; break;
    case V_ERROR: s->errors++; break;
    case V_BUDGET: s->budget++; break;
    case V_MEMORY: s->memory++; break;
    case V_INVALID: s->invalid++; break;
    default: s->ok++; break;
    }
}

/* ---- actions ---- */

static void actions_end(struct policy *p, bool good)
{
    struct policies *ps = p->ps;
    for (size_t i = 0; i < p->n_actions; i++) {
        struct action *a = &p->actions[i];
        if (!good || p->shadow) {
            free(a->refusal);
            continue;
        }
        if (ps->n_pending == ps->cap_pending) {
            ps->cap_pending = ps->cap_pending ? ps->cap_pending * 2 : 16;
            ps->pending = mem_resize(ps->pending, ps->cap_pending, sizeof(*ps->pending));
        }
        a->by = p;
        ps->pending[ps->n_pending++] = *a;
    }
    p->n_actions = 0;
}

/* ---- calls ---- */

static int trampoline(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    struct policy *p = c->p;
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->refs[c->hook]);
    const struct policies_conf *conf = &p->ps->conf;
    if (conf->fault) { /* a simulation with chaos */
        int what = conf->fault(conf->fault_ud, c->hook);
        if (what == 1)
            return luaL_error(L, "chaos: this call fails");
        if (what == 2)
            gate_charge(L, p->m.limit + 1);
        if (what == 3)
            return luaL_error(L, "its hooks took too many instructions in all");
    }
    int n = c->push ? c->push(L, c) : 0;
    lua_call(L, n, 1);
    c->verdict = V_NONE;
    if (c->take)
        c->take(L, c);
    return 0;
}

static void budget_of(const struct policy *p, enum policy_hook h, uint64_t *instr, unsigned *wall_ms, size_t *actions)
{
    *instr = (uint64_t)(p->conf.instructions > 0 ? p->conf.instructions : 250000);
    *wall_ms = (unsigned)(p->conf.wall_ms > 0 ? p->conf.wall_ms : 50);
    *actions = 8;
    if (h == POLICY_TICK || h == POLICY_ON_START) {
        *instr *= 4;
        *wall_ms *= 2;
        *actions = POLICY_ACTIONS_MAX;
    } else if (h == POLICY_DUMP) {
        *wall_ms = 1;
    } else if (hooks[h].kind == 'N') {
        *instr = *instr * 2 / 5;
    }
}

enum verdict gate_call(struct policy *p, struct call *c)
{
    if (!(p->present & 1u << c->hook))
        return V_ABSENT;
    if (p->in_hook || p->state != PS_ACTIVE)
        return V_NONE;
    uint64_t instr;
    unsigned wall_ms;
    budget_of(p, c->hook, &instr, &wall_ms, &p->max_actions);
    lua_State *L = p->L;
    c->p = p;
    p->phase = hook_phase(c->hook);
    p->hook = c->hook;
    p->cur = c->req;
    meter_start(p, L, instr, wall_ms);
    share_turn(p->ps, &p->m);
    lua_pushcfunction(L, on_error);
    lua_pushcfunction(L, trampoline);
    lua_pushlightuserdata(L, c);
    int rc = lua_pcall(L, 1, 0, 1);
    meter_stop(p, L);
    p->cur = NULL;
    char msg[300];
    enum verdict v = c->verdict;
    if (rc != LUA_OK)
        v = classify(p, rc, L, c->hook, msg, sizeof(msg));
    else if (v == V_INVALID)
        snprintf(msg, sizeof(msg), "%s.%s: %s", p->name, hook_name(c->hook), c->text2 ? c->text2 : "a value of the wrong type");
    lua_settop(L, 0);
    count(p, c->hook, v);
    actions_end(p, v < V_ERROR);
    if (v >= V_ERROR && !c->quiet)
        eject_strike(p, c->hook, v, msg);
    return c->verdict = v;
}

int gate_run(struct policy *p, enum policy_hook hook, uint64_t instr, unsigned wall_ms, lua_CFunction fn, void *ud,
             struct error *e)
{
    lua_State *L = p->L;
    ASSERT(!p->in_hook);
    int base = lua_gettop(L);
    if (!lua_checkstack(L, 8))
        return error_set(e, ERR_LIMIT, "stack");
    p->hook = hook;
    p->max_actions = 0;
    meter_start(p, L, instr, wall_ms);
    struct policies *ps = p->ps;
    uint64_t cpu_ns = ps->conf.virtual_time ? 0 : clock_cpu_nsec();
    if (wall_ms && ps->live)
        share_turn(ps, &p->m);
    if (wall_ms && cpu_ns) {
        p->m.cpu_ns = cpu_ns;
        p->m.cpu_may_ns = p->m.deadline_ns - p->m.start_ns;
    }
    lua_pushcfunction(L, on_error);
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, ud);
    int rc = lua_pcall(L, 1, 0, base + 1);
    meter_stop(p, L);
    if (ps->live && wall_ms && hook != POLICY_DUMP) /* that one only shows: its `now` may be an old one */
        ps->turn_ns += clock_cpu_nsec() - cpu_ns;
    int code = 0;
    if (rc != LUA_OK) {
        char msg[300];
        bool named = p->name[0] != '\0';
        if (!named)
            snprintf(p->name, sizeof(p->name), "policy");
        enum verdict v = classify(p, rc, L, hook, msg, sizeof(msg));
        if (!named)
            p->name[0] = '\0';
        const char *text = v == V_ERROR ? strstr(msg, ": ") + 2 : msg;
        code = error_set(e, code_of(v), "%s", text);
    }
    lua_settop(L, base);
    actions_end(p, false);
    return code;
}

/* ---- coroutines ---- */

enum verdict gate_failed(lua_State *L, int rc, enum policy_hook h, char *msg, size_t size)
{
    return classify(vm_policy(L), rc, L, h, msg, size);
}

enum verdict gate_resume(struct policy *p, enum policy_hook hook, lua_State *co, int nargs, enum verdict *verdict,
                         const char *msg)
{
    uint64_t instr;
    unsigned wall_ms;
    budget_of(p, hook, &instr, &wall_ms, &p->max_actions);
    p->phase = hook == POLICY_TICK ? PHASE_ROUTE | PHASE_NOTE : PHASE_ROUTE; /* timers may act as notes do */
    p->hook = hook;
    meter_start(p, co, instr, wall_ms);
    share_turn(p->ps, &p->m);
    int results = 0;
    int rc = lua_resume(co, p->L, nargs, &results);
    enum verdict v = *verdict;
    char own[300] = "";
    if (rc != LUA_OK && rc != LUA_YIELD) { /* past the body's own net: no memory for the message, say */
        v = classify(p, rc, co, hook, own, sizeof(own));
        msg = own;
    }
    meter_stop(p, co);
    p->cur = NULL;
    if (rc == LUA_YIELD)
        v = V_YIELD;
    count(p, hook, v);
    actions_end(p, v < V_ERROR);
    if (rc == LUA_OK)
        lua_settop(co, 0);
    if (v >= V_ERROR)
        eject_strike(p, hook, v, msg);
    return *verdict = v;
}

/* To-be-closed variables of a coroutine that is given up run here, with the meter on. */
static int close_protected(lua_State *L)
{
    lua_State *co = lua_touserdata(L, 1);
#if LUA_VERSION_NUM == 504 && LUA_VERSION_RELEASE_NUM >= 50406
    lua_closethread(co, L);
#else
    lua_resetthread(co);
#endif
    return 0;
}

void gate_close_thread(struct policy *p, lua_State *co)
{
    p->phase = PHASE_NOTE;
    meter_start(p, co, 10000, 10);
    arm(p->L, POLICY_HOOK_STEP);
    lua_State *L = p->L;
    int base = lua_gettop(L);
    lua_pushcfunction(L, close_protected);
    lua_pushlightuserdata(L, co);
    lua_pcall(L, 1, 0, 0);
    lua_settop(L, base);
    lua_sethook(L, NULL, 0, 0);
    meter_stop(p, co);
    actions_end(p, false);
    lua_settop(co, 0);
}
