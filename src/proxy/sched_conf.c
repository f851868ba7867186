/* sched_conf.c: see sched_conf.h. */
#include "proxy/sched_conf.h"

#define NO_GROUP UINT32_MAX

static struct sched_model model_of(const struct config *cfg, const struct config_model *c)
{
    struct sched_model m = {
        .id = c->id,
        .limit = c->concurrency_limit > 0 ? (uint32_t)c->concurrency_limit : 0,
        .priority = (int)c->priority,
        .unload_grace_ms = c->unload_timeout_ms,
        .ttl_ms = c->ttl_ms,
        .preemptible = c->preemptible,
        .pinned = c->pinned,
    };
    if (c->group != CONFIG_NONE) {
        const struct config_group *g = &cfg->groups[c->group];
        m.group = (uint32_t)c->group;
        m.group_swap = g->swap;
        m.group_exclusive = g->exclusive;
        m.group_persistent = g->persistent;
    }
    return m;
}

/* What is left of a removed model counts as a member of its group while that exists, else it is in nobody's way but
 * goes for whoever is exclusive. */
void sched_setup_retired(struct sched_setup *s, model_id slot, const struct config *cfg, const struct config *old, size_t at)
{
    const struct config_model *c = &old->models[at];
    struct sched_model *m = &s->models[slot];
    *m = model_of(old, c);
    m->retired = true;
    m->group = NO_GROUP;
    m->group_persistent = false;
    for (size_t i = 0; c->group != CONFIG_NONE && i < cfg->n_groups; i++)
        if (str_eq(cfg->groups[i].id, old->groups[c->group].id))
            m->group = (uint32_t)i;
}

void sched_setup_init(struct sched_setup *s, const struct config *cfg, const model_id *slot_of, size_t n_slots)
{
    *s = (struct sched_setup){ 0 };
    s->models = mem_calloc(n_slots, sizeof *s->models);
    for (size_t i = 0; i < n_slots; i++)
        s->models[i] = (struct sched_model){ .id = S(""), .retired = true, .group = NO_GROUP };
    for (size_t i = 0; i < cfg->n_models; i++)
        s->models[slot_of ? slot_of[i] : i] = model_of(cfg, &cfg->models[i]);
    s->conf = (struct sched_conf){
        .kind = cfg->scheduler == CONFIG_SCHED_FIFO ? SCHED_KIND_FIFO : SCHED_KIND_SERIAL,
        .models = s->models,
        .n_models = n_slots,
        .serial_max_queue = (uint32_t)cfg->serial.max_queue,
        .serial_max_serve_ms = cfg->serial.max_serve_ms,
        .serial_reorder = cfg->serial.reorder,
        .fifo_max_wait_ms = cfg->fifo.max_wait_ms,
        .fifo_orphan = cfg->fifo.orphan == CONFIG_ORPHAN_ABORT ? SCHED_ORPHAN_ABORT : SCHED_ORPHAN_KEEP,
    };
}

int sched_setup_fill(struct sched_setup *s, const struct config *cfg, struct error *e)
{
    if (cfg->router != CONFIG_ROUTER_MATRIX)
        return 0;
    const struct config_matrix *cm = &cfg->matrix;
    str *ids = mem_calloc(cfg->n_models, sizeof *ids);
    struct matrix_var *vars = mem_calloc(cm->n_vars, sizeof *vars);
    struct matrix_cost *costs = mem_calloc(cm->n_costs, sizeof *costs);
    struct matrix_set *sets = mem_calloc(cm->n_sets, sizeof *sets);
    for (size_t i = 0; i < cfg->n_models; i++)
        ids[i] = cfg->models[i].id;
    for (size_t i = 0; i < cm->n_vars; i++)
        vars[i] = (struct matrix_var){ cm->vars[i].key, cm->vars[i].value };
    for (size_t i = 0; i < cm->n_costs; i++)
        costs[i] = (struct matrix_cost){ cm->costs[i].key, cm->costs[i].cost };
    for (size_t i = 0; i < cm->n_sets; i++)
        sets[i] = (struct matrix_set){ cm->sets[i].key, cm->sets[i].value };
    struct matrix_src src = { ids, cfg->n_models, vars, cm->n_vars, costs, cm->n_costs, sets, cm->n_sets };
    int rc = matrix_compile(&src, &s->matrix, NULL, e);
    s->conf.matrix = s->matrix;
    free(ids);
    free(vars);
    free(costs);
    free(sets);
    return rc;
}

void sched_setup_fini(struct sched_setup *s)
{
    free(s->models);
    matrix_free(s->matrix);
}
