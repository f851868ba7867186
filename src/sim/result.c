/* result.c: what came out of a replay: who was served, who waited how long, how evenly. */
#include "sim/replay_priv.h"

#include "base/check.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Waits by key or by model: the groups in the order of their first request; how even they are (Jain's index of the mean
 * waits, plus one second, so that no wait at all is no special case); the worst by the best. */
static size_t fairness(const struct replay *r, bool models, struct replay_group *ret, double *jain, double *spread)
{
    struct replay_group g[64];
    size_t n = 0, last = 0;
    for (size_t i = 0; i < r->n_reqs; i++) {
        const struct rreq *q = &r->reqs[i];
        if (q->granted < 0)
            continue;
        str name = models ? r->models[q->model].id : q->q.key;
        size_t k = last < n && str_eq(g[last].name, name) ? last : 0;
        while (k < n && !str_eq(g[k].name, name))
            k++;
        if (k == n) {
            if (n == ARRAY_LEN(g))
                continue;
            g[n++] = (struct replay_group){ .name = name };
        }
        last = k;
        double waited = (double)(q->granted - q->arrived) / 1000;
        g[k].mean_s += waited;
        g[k].max_s = waited > g[k].max_s ? waited : g[k].max_s;
        g[k].n++;
    }
    double s = 0, s2 = 0, lo = 0, hi = 0;
    for (size_t k = 0; k < n; k++) {
        g[k].mean_s /= (double)g[k].n;
        double m = g[k].mean_s + 1;
        lo = k == 0 || m < lo ? m : lo;
        hi = m > hi ? m : hi;
        s += m;
        s2 += m * m;
    }
    *spread = n == 0 ? 1 : hi / lo;
    *jain = n == 0 ? 1 : s * s / ((double)n * s2);
    n = n < REPLAY_GROUPS ? n : REPLAY_GROUPS;
    memcpy(ret, g, n * sizeof(*g));
    return n;
}

void replay_result(const struct replay *r, struct replay_result *ret)
{
    *ret = (struct replay_result){ .requests = r->n_reqs, .loads = r->loads, .evictions = r->evictions, .load_s = r->load_s };
    double *waits = mem_calloc(r->n_reqs + 1, sizeof(*waits)), sum = 0;
    size_t n = 0;
    msec last = 0;
    for (size_t i = 0; i < r->n_reqs; i++) {
        const struct rreq *q = &r->reqs[i];
        ret->served += q->state == 's';
        ret->rejected += q->state == 'r';
        ret->cancelled += q->state == 'c';
        ret->failed += q->state == 'w' || q->state == 'a';
        last = q->ended > last ? q->ended : last;
        double waited = (double)((q->granted >= 0 ? q->granted : q->ended >= 0 ? q->ended : sim_now(r->sim)) - q->arrived) / 1000;
        if (q->state && waited > ret->starvation_s)
            ret->starvation_s = waited;
        if (q->granted < 0)
            continue;
        waits[n++] = waited;
        sum += waited;
        double serve = q->q.serve_ms > 1 ? (double)q->q.serve_ms / 1000 : 0.001;
        ret->slowdown += (waited + serve) / serve;
    }
    ret->span_s = (double)last / 1000;
    if (n > 0) {
        ret->slowdown /= (double)n;
        qsort(waits, n, sizeof(*waits), by_value);
        ret->wait_s = (struct replay_dist){ waits[n / 2], waits[n * 9 / 10], waits[n * 99 / 100], waits[n - 1], sum / (double)n };
    }
    free(waits);
    ret->n_keys = fairness(r, false, ret->keys, &ret->jain_keys, &ret->spread_keys);
    ret->n_models = fairness(r, true, ret->models, &ret->jain_models, &ret->spread_models);
    ret->events = sim_stats(r->sim)->events;
    if (r->ps)
        policies_stats(r->ps, &ret->policy);
}

double replay_wait(const struct replay *r, uint64_t id, char *state)
{
    for (size_t i = 0; i < r->n_reqs; i++) {
        const struct rreq *q = &r->reqs[i];
        if (q->id != id)
            continue;
        if (state)
            *state = q->state;
        return q->granted < 0 ? -1 : (double)(q->granted - q->arrived) / 1000;
    }
    if (state)
        *state = 0;
    return -1;
}
