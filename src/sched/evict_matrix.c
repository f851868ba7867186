/* The matrix as a planner: model slots to numbers of the compiled sets and back. */
#include "sched/matrix.h"
#include "sched/view.h"

struct bridge {
    const struct matrix *mx;
    struct matrix_solver *solver;
    uint32_t *number; /* slot -> number in the matrix, MATRIX_NONE when the sets do not know it */
    model_id *slot;   /* number -> slot */
    size_t n_slots;
    uint32_t *running;
};

static void *init(const struct sched_conf *conf)
{
    struct bridge *b = mem_zalloc(sizeof(*b));
    size_t n = conf->n_models, k = matrix_n_models(conf->matrix);
    b->mx = conf->matrix;
    b->solver = matrix_solver_new(conf->matrix);
    b->n_slots = n;
    b->number = mem_calloc(n ? n : 1, sizeof(*b->number));
    b->running = mem_calloc(n ? n : 1, sizeof(*b->running));
    b->slot = mem_calloc(k ? k : 1, sizeof(*b->slot));
    for (size_t i = 0; i < n; i++) {
        b->number[i] = matrix_model(conf->matrix, conf->models[i].id);
        if (b->number[i] != MATRIX_NONE)
            b->slot[b->number[i]] = (model_id)i;
    }
    return b;
}

static void fini(void *ctx)
{
    struct bridge *b = ctx;
    matrix_solver_free(b->solver);
    free(b->number);
    free(b->slot);
    free(b->running);
    free(b);
}

static uint32_t number_of(const struct bridge *b, model_id m)
{
    return m < b->n_slots ? b->number[m] : MATRIX_NONE;
}

static size_t plan(void *ctx, const struct sched *s, model_id target, const model_id *running,
                   size_t n, model_id *evict)
{
    struct bridge *b = ctx;
    size_t known = 0, out = 0;
    for (size_t i = 0; i < n; i++) {
        if (running[i] == target)
            return 0; /* it runs already: nothing goes, even if the others should not stay */
        if (number_of(b, running[i]) != MATRIX_NONE)
            b->running[known++] = number_of(b, running[i]);
    }
    uint32_t t = number_of(b, target);
    struct matrix_answer a = { 0 };
    if (t != MATRIX_NONE)
        a = matrix_solve(b->solver, t, b->running, known);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        /* What no set knows (a model that a reload removed) cannot stay beside anything. */
        bool goes = t == MATRIX_NONE || number_of(b, running[i]) == MATRIX_NONE;
        if (!goes && k < a.n_evict && a.evict[k] == number_of(b, running[i])) {
            goes = true;
            k++;
        }
        if (goes && !s->models[running[i]]->conf.pinned)
            evict[out++] = running[i];
    }
    return out;
}

static bool legal(void *ctx, const struct sched *s, model_id target, const model_id *alive,
                  size_t n)
{
    struct bridge *b = ctx;
    size_t k = 0;
    if (number_of(b, target) == MATRIX_NONE)
        return n == 0;
    b->running[k++] = number_of(b, target);
    for (size_t i = 0; i < n; i++) {
        if (alive[i] == target)
            continue;
        if (number_of(b, alive[i]) == MATRIX_NONE)
            return false;
        b->running[k++] = number_of(b, alive[i]);
    }
    return k == 1 || matrix_fits(b->solver, b->running, k);
}

const struct evict_ops evict_matrix = { "matrix", init, fini, plan, legal };
