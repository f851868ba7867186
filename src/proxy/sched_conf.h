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

void sched_setup_init(struct sched_setup *s, const struct config *cfg);
MUSTCHECK int sched_setup_fill(struct sched_setup *s, const struct config *cfg, struct error *e);
void sched_setup_fini(struct sched_setup *s);

#endif
