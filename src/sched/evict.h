/* evict.h: whom to stop so that a model may run. A planner is a small table: group, matrix.
 *
 * `running` is in name order and holds everything that has a process and the targets of loads in
 * progress, without `target`'s own load. Planners are asked often and must not remember decisions.
 */
#ifndef LUASWAP_SCHED_EVICT_H
#define LUASWAP_SCHED_EVICT_H

#include "sched/sched.h"

struct evict_ops {
    const char *name;
    void *(*init)(const struct sched_conf *conf);
    void (*fini)(void *ctx);
    /* Fills evict (room for n) in running order, returns how many. */
    size_t (*plan)(void *ctx, const struct sched *s, model_id target, const model_id *running, size_t n,
                   model_id *evict);
    /* May these live together, `target` among them? Judges the plan of a policy. */
    bool (*legal)(void *ctx, const struct sched *s, model_id target, const model_id *alive, size_t n);
};

extern const struct evict_ops evict_group;  /* evict_group.c */
extern const struct evict_ops evict_matrix; /* evict_matrix.c */

#endif
