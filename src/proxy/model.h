/* model.h: one local model as the running program sees it: config entry, process, connection pool, log.
 *
 * Owns: its process object, also those that a reload has replaced until they are closed.
 * Ends: never while the configuration has it. A removed one (`retired`) goes when its process is closed, the
 *       scheduler has nothing of it any more and the last request that refers to it has ended (proxy/reload.h).
 */
#ifndef LUASWAP_PROXY_MODEL_H
#define LUASWAP_PROXY_MODEL_H

#include "config/config.h"
#include "http/client.h"
#include "process/proc.h"
#include "proxy/logmon.h"
#include "sched/sched.h"

struct server;

struct model {
    struct server *srv;
    model_id id;
    str name; /* the model's id; in the snapshot's arena */
    const struct config_model *conf; /* what the process was made from, but for what needs no new process */
    struct config *cfg;              /* keeps conf alive */
    const struct config_model *next; /* takes over once the process has stopped, NULL = none */
    struct config *next_cfg;
    struct proc *proc; /* NULL once it is closed */
    unsigned procs;    /* objects that are not closed: proc, and those that it replaced */
    unsigned refs;     /* requests */
    unsigned recycled_by; /* operations that replace its process */
    bool retired;
    bool stale; /* the process object is to be made anew before the next start */
    /* Policies are waited for (policy_hooks.c): until a MODEL_UP is posted, a stop begins. 0 = no. */
    swap_id held_up, held_stop;
    msec held_grace;
    unsigned long long hook_turn;
    struct http_pool *pool;
    struct log_monitor log;
    char log_scope[96]; /* "proc <id>" */
};

struct model *model_new(struct server *srv, model_id id, struct config *cfg, size_t cfg_index);
struct model *model_ref(struct model *m);
void model_unref(struct model *m); /* NULL is fine */
/* The same model in a newer snapshot: at once (its process may go on), or once the process has stopped. */
void model_reconf(struct model *m, struct config *cfg, size_t cfg_index);
void model_reconf_later(struct model *m, struct config *cfg, size_t cfg_index);
/* Its process does not run: makes it anew if a newer entry asks for it. */
void model_renew(struct model *m);
/* Stops the process now; the answer carries the tag. */
void model_stop(struct model *m, swap_id tag, msec grace_ms);
/* Ends the process (killing what is left) and frees the model later; server counts procs_open down. */
void model_close(struct model *m);
void model_free(struct model *m);
/* Of its process; STOPPED when that has been closed, and for NULL. */
enum proc_state model_state(const struct model *m);

#endif
