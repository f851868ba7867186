/* The line of requests: order, ranks and wanting members against a plain sorted array. */
#include "spec.h"

#include "base/mem.h"
#include "base/rand.h"
#include "sched/queue.h"

#define N 300

struct told {
    size_t n, place[N];
    const struct qnode *node[N];
};

static void tell(void *ctx, struct qnode *n, size_t place)
{
    struct told *t = ctx;
    t->node[t->n] = n;
    t->place[t->n++] = place;
}

static int by_key(const void *a, const void *b)
{
    struct qnode *const *x = a;
    struct qnode *const *y = b;
    return qkey_cmp((*x)->key, (*y)->key);
}

static void compare(const struct queue *q, struct qnode **sorted, size_t n, struct qkey from)
{
    qsort(sorted, n, sizeof(struct qnode *), by_key);
    CHECK_TRUE(queue_ok(q));
    CHECK_UINT(n, queue_len(q));
    size_t i = 0, wants = 0, want_from = 0;
    for (struct qnode *it = queue_first(q); it; it = queue_next(it), i++) {
        CHECK_TRUE(it == sorted[i]);
        CHECK_UINT(i + 1, queue_rank(it));
        wants += it->want;
        want_from += it->want && qkey_cmp(it->key, from) >= 0;
    }
    CHECK_UINT(n, i);
    CHECK_UINT(wants, queue_wants(q));
    struct told t = { 0 };
    queue_each_want(q, from, tell, &t);
    CHECK_UINT(want_from, t.n);
    for (i = 0; i < t.n; i++)
        CHECK_UINT(queue_rank(t.node[i]), t.place[i]);
    struct qnode *after = queue_after(q, from);
    for (i = 0; i < n && qkey_cmp(sorted[i]->key, from) <= 0; i++)
        continue;
    CHECK_TRUE(after == (i < n ? sorted[i] : NULL));
}

TEST(queue_keeps_order_and_ranks)
{
    struct rand_state r;
    rand_seed(&r, 20);
    struct queue q = { 0 };
    struct qnode nodes[N] = { 0 }, *sorted[N];
    size_t n = 0;
    for (uint64_t seq = 1; seq <= 4000; seq++) {
        size_t slot = rand_below(&r, N);
        if (nodes[slot].in) {
            queue_remove(&q, &nodes[slot]);
            for (size_t i = 0; i < n; i++) {
                if (sorted[i] == &nodes[slot]) {
                    sorted[i] = sorted[--n];
                    break;
                }
            }
        } else {
            struct qkey key = { (int64_t)rand_below(&r, 4) - 2, seq };
            queue_insert(&q, &nodes[slot], key, rand_below(&r, 3) == 0);
            sorted[n++] = &nodes[slot];
        }
        if (seq % 40 == 0)
            compare(&q, sorted, n,
                    (struct qkey){ (int64_t)rand_below(&r, 4) - 2, rand_below(&r, seq + 1) });
    }
}

TEST(queue_in_arrival_order_stays_shallow)
{
    size_t n = 100000;
    struct qnode *nodes = mem_calloc(n, sizeof(*nodes));
    struct queue q = { 0 };
    for (size_t i = 0; i < n; i++)
        queue_insert(&q, &nodes[i], (struct qkey){ 0, i + 1 }, false);
    size_t deepest = 0;
    for (size_t i = 0; i < n; i++) {
        size_t depth = 0;
        for (const struct qnode *it = &nodes[i]; it; it = it->up)
            depth++;
        deepest = depth > deepest ? depth : deepest;
    }
    CHECK_TRUE(deepest < 60);
    for (size_t i = 0; i < n; i++) {
        CHECK_TRUE(queue_first(&q) == &nodes[i]);
        queue_remove(&q, &nodes[i]);
    }
    CHECK_UINT(0, queue_len(&q));
    free(nodes);
}
