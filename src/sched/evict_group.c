/* Groups: `swap` members replace each other, `exclusive` groups push out other groups, `persistent` ones are
 * not pushed out by others. A non-exclusive group leaves running exclusive ones alone (config.md 7.2). */
#include "sched/view.h"

static void *init(const struct sched_conf *conf)
{
    return NULL;
}

static void fini(void *ctx)
{
}

static bool must_go(const struct sched_model *target, const struct sched_model *other)
{
    if (other->pinned)
        return false;
    if (other->group == target->group)
        return target->group_swap;
    return target->group_exclusive && !other->group_persistent;
}

static size_t plan(void *ctx, const struct sched *s, model_id target, const model_id *running,
                   size_t n, model_id *evict)
{
    size_t out = 0;
    for (size_t i = 0; i < n; i++)
        if (running[i] != target && must_go(&s->models[target]->conf, &s->models[running[i]]->conf))
            evict[out++] = running[i];
    return out;
}

static bool legal(void *ctx, const struct sched *s, model_id target, const model_id *alive,
                  size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (alive[i] != target && must_go(&s->models[target]->conf, &s->models[alive[i]]->conf))
            return false;
    return true;
}

const struct evict_ops evict_group = { "group", init, fini, plan, legal };
