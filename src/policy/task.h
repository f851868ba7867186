/* task.h: what may wait, shared by task.c (coroutines), route.c, lib_http.c and timer.c.
 *
 * Inside of policy/ only. A task is a coroutine with a deadline; it hangs on its policy until it is over, and whoever
 * started it hears of its end through task_over.
 */
#ifndef LUASWAP_POLICY_TASK_H
#define LUASWAP_POLICY_TASK_H

#include "policy/priv.h"

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
    uint64_t http; /* waits for it, 0 = not */
    const struct policy_http_answer *got;
    char msg[300]; /* last */
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

/* ---- task.c ---- */
struct task *task_new(struct policy *p, enum task_kind kind, enum policy_hook h); /* NULL: too many, no memory */
void task_free(struct task *t, bool clean);
bool task_start(struct task *t, enum verdict *ret); /* as task_run */
/* True: it is over (and freed), *ret says how. */
bool task_run(struct task *t, int nargs, enum verdict *ret);

/* ---- route.c ---- */
void route_resume(struct policy_route *job, struct policy *p, enum verdict v); /* its task ended or was given up */
void around_done(struct around *a); /* one less to wait for */
void route_forget(struct policies *ps, msec now); /* requests that were routed and never heard of again */

/* ---- timer.c ---- */
bool timer_due(struct policy *p, msec now); /* does one thing; false: nothing to do */
msec timer_next(const struct policy *p, msec next);
void timer_cancel_all(struct policy *p);

/* ---- lib_http.c ---- */
int lib_http_get(lua_State *L);
int lib_http_post(lua_State *L);
int lib_http_request(lua_State *L);

/* First thing in a library function with upvalues (phases, name): is it allowed in this phase? */
static inline void task_enter(lua_State *L)
{
    unsigned phases = (unsigned)lua_tointeger(L, lua_upvalueindex(1));
    if (!(vm_policy(L)->phase & phases))
        lib_phase(L, lua_tostring(L, lua_upvalueindex(2)), phases);
}

#endif
