/* matrix.h: which models may live together: set expressions, compiled and solved (config.md 7.3 to 7.5).
 *
 * What: `vars` (short names), `costs` and `sets` in document order become an immutable program; the solver
 *       answers "to load T, whom of the running models to stop at the least cost".
 * Not:  YAML (the caller passes texts), processes.
 * Grammar: set = term {"|" term}; term = atom {"&" atom}; atom = name | "+"name | "(" set ")".
 *       A name stands for one model, "|" for a choice, "&" for together, "+s" for the set s. Whatever is
 *       contained in an allowed combination is allowed too.
 * Ties: the first set in evaluation order (document order, a referenced set before its user) and in it
 *       the first combination; only a strictly lower cost wins over an earlier one.
 * Limits: expressions nest at most MATRIX_DEPTH deep; there is no limit on combinations: independent
 *       factors are never multiplied out.
 */
#ifndef LUASWAP_SCHED_MATRIX_H
#define LUASWAP_SCHED_MATRIX_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define MATRIX_DEPTH 200
#define MATRIX_NONE UINT32_MAX

struct matrix;

struct matrix_var {
    str name, model;
};
struct matrix_cost {
    str name; /* of a var or a model; both for one model is an error */
    int64_t cost;
};
struct matrix_set {
    str name, text;
};
struct matrix_src {
    const str *models; /* all configured ids */
    size_t n_models;
    const struct matrix_var *vars;
    size_t n_vars;
    const struct matrix_cost *costs;
    size_t n_costs;
    const struct matrix_set *sets; /* document order */
    size_t n_sets;
};

/* What a compile error is about: the entry, and for sets the byte in its text. */
struct matrix_at {
    enum { MATRIX_AT_NONE, MATRIX_AT_VAR, MATRIX_AT_COST, MATRIX_AT_SET } what;
    size_t index, offset;
};

/* 0 and *ret (matrix_free), or ERR_CONFIG with the message in e and the place in *ret_at (may be NULL).
 * Copies all it needs. */
MUSTCHECK int matrix_compile(const struct matrix_src *src, struct matrix **ret, struct matrix_at *ret_at,
                             struct error *e);
void matrix_free(struct matrix *m);

size_t matrix_n_models(const struct matrix *m);
uint32_t matrix_model(const struct matrix *m, str id); /* number of a model, MATRIX_NONE */
str matrix_model_id(const struct matrix *m, uint32_t n);

/* Working memory of the solver, one per user; answers are memoised for the last (target, running). */
struct matrix_solver;
struct matrix_solver *matrix_solver_new(const struct matrix *m); /* borrows m */
void matrix_solver_free(struct matrix_solver *sv);

struct matrix_answer {
    const uint32_t *evict; /* of `running`, same order; valid until the next call */
    size_t n_evict;
    int64_t cost;
    str set, text;           /* the set that won; empty if none */
    const uint32_t *witness; /* a whole combination of it, by model number; {target} if none won */
    size_t n_witness;
};

/* `running`: model numbers, each once; the target may be among them (then nothing is evicted). */
struct matrix_answer matrix_solve(struct matrix_solver *sv, uint32_t target, const uint32_t *running, size_t n);
/* Can all of these live together? True for none. */
bool matrix_fits(struct matrix_solver *sv, const uint32_t *models, size_t n);

#endif
