/* sched_conf.h: what the scheduler needs to know, from a configuration snapshot. */
#ifndef LUASWAP_PROXY_SCHED_CONF_H
#define LUASWAP_PROXY_SCHED_CONF_H

#include "config/config.h"
#include "sched/matrix.h"
#include "sched/sched.h"

/* conf borrows from the setup and (texts) from the snapshot until sched_setup_fini. A caller that keeps the matrix
 * takes it out (sets it to NULL) and frees it after the scheduler. */
struct sched_setup {
    struct sched_conf conf;
    struct sched_model *models;
    struct matrix *matrix;
};

/* slot_of: config index -> slot, NULL = the same number; n_slots: of all slots. Those that no model of cfg has are
 * retired and have no name until sched_setup_retired. */
void sched_setup_init(struct sched_setup *s, const struct config *cfg, const model_id *slot_of, size_t n_slots);
/* The slot still belongs to a removed model: index `at` of the older snapshot `old`. */
void sched_setup_retired(struct sched_setup *s, model_id slot, const struct config *cfg, const struct config *old, size_t at);
MUSTCHECK int sched_setup_fill(struct sched_setup *s, const struct config *cfg, struct error *e);
void sched_setup_fini(struct sched_setup *s);

#endif
