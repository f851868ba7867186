/* The solver: the cheapest combination that holds the target, without multiplying out what is independent.
 *
 * A state is a set of relevant models (the target and those that run). The reference builds, for each
 * expression, the list of its maximal states in a defined order; the winner is the first cheapest one with the
 * target in it. This file finds the same winner:
 *  - "|": the first operand with the best state. A state that a later one contains costs strictly more (costs
 *    are positive), so pruning cannot remove a winner.
 *  - "&" over operands that share no relevant model: each operand's best, put together. The list is the
 *    product in lexicographic order, so the first best of all is made of the first bests.
 *  - "&" over operands that share models: their lists are built and pruned exactly as the reference does; such
 *    lists are antichains over the shared running models, which are few.
 */
#include "base/check.h"
#include "sched/matrix_prog.h"

/* States kept of one built list. Antichains over 15 running models fit; beyond it the ones that hold the
 * least are not added, and the answer is a legal one but perhaps not the cheapest. */
#define STATES_MAX 8192

/* States side by side: u_words of relevant models, then w_words of witness. */
struct states {
    uint64_t *bits;
    size_t n, cap;
};

struct best {
    bool ok;
    int64_t kept; /* cost of the running models it holds */
};

struct matrix_solver {
    const struct matrix *m;
    size_t u, u_words, w_words, step; /* step = both */
    uint32_t *bit_of;                 /* model -> bit + 1 */
    uint32_t *model_of;               /* bit -> model */
    int64_t *value;                   /* bit -> cost of its eviction, 0 for the target */
    uint32_t target_bit;              /* or MATRIX_NONE */
    uint64_t *support;                /* per node */
    struct best *best;                /* per node, valid for roots (memo) */
    bool *best_done;                  /* per set */
    uint64_t *best_bits;              /* per set, `step` words */
    struct states *lists;             /* per set */
    bool *list_done;
    size_t cap_u;
    /* memo of the last answer */
    bool memo;
    uint32_t memo_target;
    uint32_t *memo_running;
    size_t memo_n;
    struct matrix_answer answer;
    uint32_t *evict, *witness;
};

/* ---- bits ---- */

static bool has_bit(const uint64_t *b, uint32_t i)
{
    return (b[i / 64] >> (i % 64)) & 1;
}

static void set_bit(uint64_t *b, uint32_t i)
{
    b[i / 64] |= (uint64_t)1 << (i % 64);
}

static void or_bits(uint64_t *to, const uint64_t *from, size_t words)
{
    for (size_t i = 0; i < words; i++)
        to[i] |= from[i];
}

static bool subset(const uint64_t *a, const uint64_t *b, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (a[i] & ~b[i])
            return false;
    return true;
}

static bool meet(const uint64_t *a, const uint64_t *b, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (a[i] & b[i])
            return true;
    return false;
}

static int64_t value_of(const struct matrix_solver *sv, const uint64_t *state)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < sv->u; i++)
        if (has_bit(state, i))
            sum += sv->value[i];
    return sum;
}

/* ---- lists, as the reference builds them ---- */

static uint64_t *state_at(const struct matrix_solver *sv, const struct states *l, size_t i)
{
    return l->bits + i * sv->step;
}

static void states_free(struct states *l)
{
    free(l->bits);
    *l = (struct states){ 0 };
}

/* Drops `s` if it adds nothing, else removes what it contains and appends it. */
static void insert(const struct matrix_solver *sv, struct states *l, const uint64_t *s)
{
    for (size_t i = 0; i < l->n; i++)
        if (subset(s, state_at(sv, l, i), sv->u_words))
            return;
    size_t keep = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (subset(state_at(sv, l, i), s, sv->u_words))
            continue;
        if (keep != i)
            memcpy(state_at(sv, l, keep), state_at(sv, l, i), sv->step * sizeof(uint64_t));
        keep++;
    }
    l->n = keep;
    if (l->n == STATES_MAX)
        return;
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->bits = mem_resize(l->bits, l->cap * sv->step, sizeof(uint64_t));
    }
    memcpy(state_at(sv, l, l->n++), s, sv->step * sizeof(uint64_t));
}

static const struct states *list_of_set(struct matrix_solver *sv, uint32_t set);

static void build_list(struct matrix_solver *sv, uint32_t node, struct states *out);

static void multiply(struct matrix_solver *sv, struct states *left, const struct states *right)
{
    struct states out = { 0 };
    uint64_t *s = mem_calloc(sv->step, sizeof(*s));
    for (size_t i = 0; i < left->n; i++) {
        for (size_t j = 0; j < right->n; j++) {
            memcpy(s, state_at(sv, left, i), sv->step * sizeof(*s));
            or_bits(s, state_at(sv, right, j), sv->step);
            insert(sv, &out, s);
        }
    }
    free(s);
    states_free(left);
    *left = out;
}

static void insert_all(const struct matrix_solver *sv, struct states *to, const struct states *from)
{
    for (size_t i = 0; i < from->n; i++)
        insert(sv, to, state_at(sv, from, i));
}

static void leaf_state(const struct matrix_solver *sv, uint32_t model, uint64_t *s)
{
    if (sv->bit_of[model])
        set_bit(s, sv->bit_of[model] - 1);
    set_bit(s + sv->u_words, model);
}

static void build_list(struct matrix_solver *sv, uint32_t node, struct states *out)
{
    const struct mx_node *n = &sv->m->nodes[node];
    if (n->kind == MX_REF) {
        insert_all(sv, out, list_of_set(sv, n->what));
        return;
    }
    if (n->kind == MX_LEAF || n->kind == MX_AND) {
        uint64_t *s = mem_calloc(sv->step, sizeof(*s));
        if (n->kind == MX_LEAF)
            leaf_state(sv, n->what, s);
        insert(sv, out, s);
        free(s);
    }
    for (uint32_t c = n->first; c != MATRIX_NONE; c = sv->m->nodes[c].next) {
        struct states one = { 0 };
        build_list(sv, c, &one);
        if (n->kind == MX_AND)
            multiply(sv, out, &one);
        else
            insert_all(sv, out, &one);
        states_free(&one);
    }
}

static const struct states *list_of_set(struct matrix_solver *sv, uint32_t set)
{
    if (!sv->list_done[set]) {
        build_list(sv, sv->m->sets[set].root, &sv->lists[set]);
        sv->list_done[set] = true;
    }
    return &sv->lists[set];
}

/* ---- best states ---- */

static const uint64_t *support_of(const struct matrix_solver *sv, uint32_t node)
{
    return sv->support + node * sv->u_words;
}

static bool needs_target(const struct matrix_solver *sv, uint32_t node)
{
    return sv->target_bit != MATRIX_NONE && has_bit(support_of(sv, node), sv->target_bit);
}

static struct best best_of(struct matrix_solver *sv, uint32_t node, uint64_t *bits);

/* The first cheapest state of a built list; with the target in it if the list knows the target. */
static struct best best_in_list(const struct matrix_solver *sv, const struct states *l, bool need,
                                uint64_t *bits)
{
    struct best top = { 0 };
    for (size_t i = 0; i < l->n; i++) {
        const uint64_t *s = state_at(sv, l, i);
        if (need && !has_bit(s, sv->target_bit))
            continue;
        int64_t kept = value_of(sv, s);
        if (top.ok && kept <= top.kept)
            continue;
        top = (struct best){ true, kept };
        memcpy(bits, s, sv->step * sizeof(*bits));
    }
    return top;
}

static struct best best_or(struct matrix_solver *sv, uint32_t node, uint64_t *bits)
{
    bool need = needs_target(sv, node);
    struct best top = { 0 };
    uint64_t *one = mem_calloc(sv->step, sizeof(*one));
    for (uint32_t c = sv->m->nodes[node].first; c != MATRIX_NONE; c = sv->m->nodes[c].next) {
        if (need && !needs_target(sv, c))
            continue;
        memset(one, 0, sv->step * sizeof(*one));
        struct best b = best_of(sv, c, one);
        if (!b.ok || (top.ok && b.kept <= top.kept))
            continue;
        top = b;
        memcpy(bits, one, sv->step * sizeof(*bits));
    }
    free(one);
    return top;
}

/* Operands that share relevant models, directly or through others, get one number. */
static size_t group_operands(const struct matrix_solver *sv, const uint32_t *child, size_t n,
                             size_t *group)
{
    size_t groups = 0;
    uint64_t *sums = mem_calloc(n * sv->u_words + 1, sizeof(*sums));
    for (size_t i = 0; i < n; i++) {
        const uint64_t *mine = support_of(sv, child[i]);
        group[i] = SIZE_MAX;
        for (size_t g = 0; g < groups; g++) {
            uint64_t *sum = sums + g * sv->u_words;
            if (!meet(sum, mine, sv->u_words))
                continue;
            if (group[i] == SIZE_MAX) {
                group[i] = g;
                or_bits(sum, mine, sv->u_words);
                continue;
            }
            /* It joins two that were apart until now. */
            or_bits(sums + group[i] * sv->u_words, sum, sv->u_words);
            memset(sum, 0, sv->u_words * sizeof(*sum));
            for (size_t j = 0; j < i; j++)
                if (group[j] == g)
                    group[j] = group[i];
        }
        if (group[i] == SIZE_MAX) {
            memcpy(sums + groups * sv->u_words, mine, sv->u_words * sizeof(*mine));
            group[i] = groups++;
        }
    }
    free(sums);
    return groups;
}

static struct best best_group(struct matrix_solver *sv, const uint32_t *child, const size_t *group,
                              size_t n, size_t g, uint64_t *bits)
{
    size_t members = 0, only = 0;
    bool need = false;
    for (size_t i = 0; i < n; i++) {
        if (group[i] != g)
            continue;
        members++;
        only = i;
        need = need || needs_target(sv, child[i]);
    }
    if (members == 0)
        return (struct best){ true, 0 };
    if (members == 1)
        return best_of(sv, child[only], bits);
    struct states all = { 0 };
    uint64_t *empty = mem_calloc(sv->step, sizeof(*empty));
    insert(sv, &all, empty);
    free(empty);
    for (size_t i = 0; i < n; i++) {
        if (group[i] != g)
            continue;
        struct states one = { 0 };
        build_list(sv, child[i], &one);
        multiply(sv, &all, &one);
        states_free(&one);
    }
    struct best b = best_in_list(sv, &all, need, bits);
    states_free(&all);
    return b;
}

static struct best best_and(struct matrix_solver *sv, uint32_t node, uint64_t *bits)
{
    size_t n = 0, k = 0;
    for (uint32_t c = sv->m->nodes[node].first; c != MATRIX_NONE; c = sv->m->nodes[c].next)
        n++;
    uint32_t *child = mem_calloc(n, sizeof(*child));
    size_t *group = mem_calloc(n, sizeof(*group));
    uint64_t *one = mem_calloc(sv->step, sizeof(*one));
    for (uint32_t c = sv->m->nodes[node].first; c != MATRIX_NONE; c = sv->m->nodes[c].next)
        child[k++] = c;
    size_t groups = group_operands(sv, child, n, group);
    struct best sum = { true, 0 };
    for (size_t g = 0; g < groups && sum.ok; g++) {
        memset(one, 0, sv->step * sizeof(*one));
        struct best b = best_group(sv, child, group, n, g, one);
        sum.ok = b.ok;
        sum.kept += b.kept;
        or_bits(bits, one, sv->step);
    }
    free(child);
    free(group);
    free(one);
    return sum;
}

/* bits: zeroed, `step` words. A node that knows the target answers with a state that holds it. */
static struct best best_of(struct matrix_solver *sv, uint32_t node, uint64_t *bits)
{
    const struct mx_node *n = &sv->m->nodes[node];
    switch (n->kind) {
    case MX_LEAF:
        leaf_state(sv, n->what, bits);
        return (struct best){ true, value_of(sv, bits) };
    case MX_REF: {
        uint32_t root = sv->m->sets[n->what].root;
        uint64_t *memo = sv->best_bits + n->what * sv->step;
        if (!sv->best_done[n->what]) {
            memset(memo, 0, sv->step * sizeof(*memo));
            sv->best[n->what] = best_of(sv, root, memo);
            sv->best_done[n->what] = true;
        }
        memcpy(bits, memo, sv->step * sizeof(*bits));
        return sv->best[n->what];
    }
    case MX_AND:
        return best_and(sv, node, bits);
    case MX_OR:
        return best_or(sv, node, bits);
    }
    return (struct best){ 0 };
}

/* ---- one question ---- */

struct matrix_solver *matrix_solver_new(const struct matrix *m)
{
    struct matrix_solver *sv = mem_zalloc(sizeof(*sv));
    sv->m = m;
    sv->bit_of = mem_calloc(m->n_models + 1, sizeof(*sv->bit_of));
    sv->model_of = mem_calloc(m->n_models + 1, sizeof(*sv->model_of));
    sv->value = mem_calloc(m->n_models + 1, sizeof(*sv->value));
    sv->memo_running = mem_calloc(m->n_models + 1, sizeof(*sv->memo_running));
    sv->evict = mem_calloc(m->n_models + 1, sizeof(*sv->evict));
    sv->witness = mem_calloc(m->n_models + 1, sizeof(*sv->witness));
    sv->best = mem_calloc(m->n_sets, sizeof(*sv->best));
    sv->best_done = mem_calloc(m->n_sets, sizeof(*sv->best_done));
    sv->lists = mem_calloc(m->n_sets, sizeof(*sv->lists));
    sv->list_done = mem_calloc(m->n_sets, sizeof(*sv->list_done));
    sv->w_words = (m->n_models + 63) / 64;
    return sv;
}

void matrix_solver_free(struct matrix_solver *sv)
{
    if (!sv)
        return;
    for (size_t i = 0; i < sv->m->n_sets; i++)
        states_free(&sv->lists[i]);
    free(sv->bit_of);
    free(sv->model_of);
    free(sv->value);
    free(sv->memo_running);
    free(sv->evict);
    free(sv->witness);
    free(sv->best);
    free(sv->best_done);
    free(sv->best_bits);
    free(sv->lists);
    free(sv->list_done);
    free(sv->support);
    free(sv);
}

static void add_relevant(struct matrix_solver *sv, uint32_t model, int64_t value)
{
    if (sv->bit_of[model])
        return;
    sv->model_of[sv->u] = model;
    sv->value[sv->u] = value;
    sv->bit_of[model] = (uint32_t)++sv->u;
}

static void note_support(struct matrix_solver *sv, uint32_t set)
{
    const struct matrix *m = sv->m;
    uint32_t from = set == 0 ? 0 : m->sets[set - 1].root + 1;
    for (uint32_t i = from; i <= m->sets[set].root; i++) {
        uint64_t *mine = sv->support + i * sv->u_words;
        const struct mx_node *n = &m->nodes[i];
        if (n->kind == MX_LEAF && sv->bit_of[n->what])
            set_bit(mine, sv->bit_of[n->what] - 1);
        if (n->kind == MX_REF)
            or_bits(mine, support_of(sv, m->sets[n->what].root), sv->u_words);
        for (uint32_t c = n->first; c != MATRIX_NONE; c = m->nodes[c].next)
            or_bits(mine, support_of(sv, c), sv->u_words);
    }
}

/* target MATRIX_NONE: any state will do. */
static void begin(struct matrix_solver *sv, uint32_t target, const uint32_t *running, size_t n)
{
    const struct matrix *m = sv->m;
    for (size_t i = 0; i < sv->u; i++)
        sv->bit_of[sv->model_of[i]] = 0;
    sv->u = 0;
    if (target != MATRIX_NONE)
        add_relevant(sv, target, 0);
    sv->target_bit = target != MATRIX_NONE ? 0 : MATRIX_NONE;
    for (size_t i = 0; i < n; i++)
        add_relevant(sv, running[i], m->cost[running[i]]);
    sv->u_words = (sv->u + 63) / 64;
    sv->step = sv->u_words + sv->w_words;
    sv->support = mem_resize(sv->support, m->n_nodes * sv->u_words + 1, sizeof(*sv->support));
    memset(sv->support, 0, (m->n_nodes * sv->u_words + 1) * sizeof(*sv->support));
    sv->best_bits = mem_resize(sv->best_bits, m->n_sets * sv->step + 1, sizeof(*sv->best_bits));
    for (size_t i = 0; i < m->n_sets; i++) {
        sv->best_done[i] = sv->list_done[i] = false;
        states_free(&sv->lists[i]);
    }
    for (size_t i = 0; i < m->n_order; i++)
        note_support(sv, m->order[i]);
}

/* The first best set in evaluation order. */
static struct best search(struct matrix_solver *sv, uint32_t *ret_set)
{
    const struct matrix *m = sv->m;
    struct best top = { 0 };
    for (size_t i = 0; i < m->n_order; i++) {
        uint32_t set = m->order[i];
        if (sv->target_bit != MATRIX_NONE && !needs_target(sv, m->sets[set].root))
            continue;
        if (!sv->best_done[set]) {
            uint64_t *bits = sv->best_bits + set * sv->step;
            memset(bits, 0, sv->step * sizeof(*bits));
            sv->best[set] = best_of(sv, m->sets[set].root, bits);
            sv->best_done[set] = true;
        }
        struct best b = sv->best[set];
        if (!b.ok || (top.ok && b.kept <= top.kept))
            continue;
        top = b;
        *ret_set = set;
    }
    return top;
}

static bool same_question(const struct matrix_solver *sv, uint32_t target, const uint32_t *running,
                          size_t n)
{
    return sv->memo && sv->memo_target == target && sv->memo_n == n &&
           (n == 0 || memcmp(sv->memo_running, running, n * sizeof(*running)) == 0);
}

static int64_t sum_of(const struct matrix *m, const uint32_t *models, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += m->cost[models[i]];
    return sum;
}

/* The target runs: nothing goes; the name is that of the first set that can hold them all. */
static void answer_running(struct matrix_solver *sv, const uint32_t *running, size_t n)
{
    uint32_t set = 0;
    begin(sv, MATRIX_NONE, running, n);
    struct best b = search(sv, &set);
    if (b.ok && b.kept == sum_of(sv->m, running, n)) {
        sv->answer.set = sv->m->sets[set].name;
        sv->answer.text = sv->m->sets[set].text;
    }
    memcpy(sv->witness, running, n * sizeof(*running));
    sv->answer.n_witness = n;
}

static void answer_target(struct matrix_solver *sv, uint32_t target, const uint32_t *running,
                          size_t n)
{
    uint32_t set = 0;
    begin(sv, target, running, n);
    struct best b = search(sv, &set);
    const uint64_t *bits = sv->best_bits + set * sv->step;
    for (size_t i = 0; i < n; i++)
        if (!b.ok || !has_bit(bits, sv->bit_of[running[i]] - 1))
            sv->evict[sv->answer.n_evict++] = running[i];
    if (!b.ok) {
        sv->witness[sv->answer.n_witness++] = target;
        return;
    }
    sv->answer.cost = sum_of(sv->m, running, n) - b.kept;
    sv->answer.set = sv->m->sets[set].name;
    sv->answer.text = sv->m->sets[set].text;
    for (uint32_t i = 0; i < sv->m->n_models; i++)
        if (has_bit(bits + sv->u_words, i))
            sv->witness[sv->answer.n_witness++] = i;
}

struct matrix_answer matrix_solve(struct matrix_solver *sv, uint32_t target,
                                  const uint32_t *running, size_t n)
{
    ASSERT(target < sv->m->n_models && n <= sv->m->n_models);
    if (same_question(sv, target, running, n))
        return sv->answer;
    sv->memo = true;
    sv->memo_target = target;
    sv->memo_n = n;
    if (n)
        memcpy(sv->memo_running, running, n * sizeof(*running));
    sv->answer = (struct matrix_answer){ .evict = sv->evict, .witness = sv->witness };
    bool runs = false;
    for (size_t i = 0; i < n; i++)
        runs = runs || running[i] == target;
    if (runs)
        answer_running(sv, sv->memo_running, n);
    else
        answer_target(sv, target, sv->memo_running, n);
    return sv->answer;
}

bool matrix_fits(struct matrix_solver *sv, const uint32_t *models, size_t n)
{
    if (n == 0)
        return true;
    uint32_t set = 0;
    sv->memo = false; /* its tables are used here */
    begin(sv, MATRIX_NONE, models, n);
    struct best b = search(sv, &set);
    return b.ok && b.kept == sum_of(sv->m, models, n);
}
