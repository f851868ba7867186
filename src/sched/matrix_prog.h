/* matrix_prog.h: the compiled form of the set expressions; shared by matrix_dsl.c and evict solver only. */
#ifndef LUASWAP_SCHED_MATRIX_PROG_H
#define LUASWAP_SCHED_MATRIX_PROG_H

#include "base/map.h"
#include "sched/matrix.h"

enum mx_kind { MX_LEAF, MX_REF, MX_AND, MX_OR };

/* Nodes stand in an array; children before their parent, so that one pass computes whatever flows upwards. */
struct mx_node {
    enum mx_kind kind;
    uint32_t what;        /* LEAF: model; REF: set (document number) */
    uint32_t first, next; /* children, MATRIX_NONE ends */
    size_t offset;        /* in its text */
};

struct mx_set {
    str name, text; /* owned by `names` */
    uint32_t root;
    uint32_t depth; /* of references */
    enum { MX_NEW, MX_BUSY, MX_SEEN } mark;
};

struct matrix {
    struct mx_node *nodes;
    size_t n_nodes, cap_nodes;
    struct mx_set *sets; /* document order */
    uint32_t *order;     /* evaluation order */
    size_t n_sets, n_order;
    str *models;
    int64_t *cost;
    size_t n_models;
    struct map by_model, by_var, by_set; /* values: index + 1 */
    char *names;                         /* all texts, one block */
};

#endif
