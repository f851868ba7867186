/* fuzz_matrix_dsl.c: bytes become set expressions; what compiles is solved for every target and its answer must be
 * one that the sets allow. */
#include "base/check.h"
#include "sched/matrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const str models[] = { { "a", 1 }, { "b", 1 }, { "c", 1 },
                                  { "d", 1 }, { "e", 1 }, { "f", 1 } };
    static const struct matrix_var vars[] = { { { "v", 1 }, { "c", 1 } } };
    struct matrix_set sets[8];
    static const char *const names[] = { "s", "t", "u", "w", "x", "y", "z", "q" };
    size_t n = 0;
    str rest = str_n((const char *)data, size), text;
    while (n < ARRAY_LEN(sets) && rest.len > 0) {
        str_cut(rest, ';', &text, &rest);
        sets[n] = (struct matrix_set){ str_c(names[n]), text };
        n++;
    }
    struct matrix_src src = { .models = models,
                              .n_models = ARRAY_LEN(models),
                              .vars = vars,
                              .n_vars = 1,
                              .sets = sets,
                              .n_sets = n };
    struct matrix *m;
    struct matrix_at at;
    struct error e = { 0 };
    if (matrix_compile(&src, &m, &at, &e)) {
        ASSERT(e.code == ERR_CONFIG && e.msg[0]);
        ASSERT(at.what != MATRIX_AT_SET || (at.index < n && at.offset <= sets[at.index].text.len));
        return 0;
    }
    struct matrix_solver *sv = matrix_solver_new(m);
    for (uint32_t bits = 0; bits < 64; bits += 7) {
        uint32_t running[6], stay[7], target = bits % 6;
        size_t k = 0, left = 0;
        for (uint32_t i = 0; i < 6; i++)
            if ((bits >> i & 1) && i != target)
                running[k++] = i;
        struct matrix_answer a = matrix_solve(sv, target, running, k);
        size_t gone = 0;
        stay[left++] = target;
        for (size_t i = 0; i < k; i++) {
            if (gone < a.n_evict && a.evict[gone] == running[i])
                gone++;
            else
                stay[left++] = running[i];
        }
        ASSERT(gone == a.n_evict);
        bool won = a.set.len > 0;
        ASSERT(won || left == 1);
        ASSERT(!won || matrix_fits(sv, stay, left));
    }
    matrix_solver_free(sv);
    matrix_free(m);
    return 0;
}
