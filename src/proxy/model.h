/* model.h: one local model as the running program sees it: config entry, process, connection pool, log. */
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
    const struct config_model *conf;
    struct config *cfg; /* keeps conf alive */
    struct proc *proc;
    struct http_pool *pool;
    struct log_monitor log;
    char log_scope[96]; /* "proc <id>" */
    bool closed;
};

struct model *model_new(struct server *srv, model_id id, struct config *cfg, size_t cfg_index);
/* Ends the process (killing what is left) and frees the model later; server counts procs_open down. */
void model_close(struct model *m);
void model_free(struct model *m);
/* Of its process; STOPPED when that has been closed. */
enum proc_state model_state(const struct model *m);

#endif
