#include "sched/queue.h"

#include "base/check.h"

static uint32_t balance_of(uint64_t seq)
{
    uint64_t x = seq + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(x >> 32);
}

static uint32_t size_of(const struct qnode *n)
{
    return n ? n->size : 0;
}

static uint32_t wants_of(const struct qnode *n)
{
    return n ? n->wants : 0;
}

static void sum_up(struct qnode *n)
{
    n->size = 1 + size_of(n->left) + size_of(n->right);
    n->wants = (n->want ? 1 : 0) + wants_of(n->left) + wants_of(n->right);
}

/* Puts `to` where `from` hangs. */
static void replace(struct queue *q, struct qnode *from, struct qnode *to)
{
    struct qnode *up = from->up;
    if (!up)
        q->root = to;
    else if (up->left == from)
        up->left = to;
    else
        up->right = to;
    if (to)
        to->up = up;
}

/* Exchanges n with its parent. */
static void rotate_up(struct queue *q, struct qnode *n)
{
    struct qnode *p = n->up;
    replace(q, p, n);
    if (p->left == n) {
        p->left = n->right;
        if (p->left)
            p->left->up = p;
        n->right = p;
    } else {
        p->right = n->left;
        if (p->right)
            p->right->up = p;
        n->left = p;
    }
    p->up = n;
    sum_up(p);
    sum_up(n);
}

void queue_insert(struct queue *q, struct qnode *n, struct qkey key, bool want)
{
    ASSERT(!n->in);
    *n = (struct qnode){ .key = key,
                         .heap = balance_of(key.seq),
                         .size = 1,
                         .wants = want ? 1 : 0,
                         .want = want,
                         .in = true };
    struct qnode **at = &q->root;
    struct qnode *up = NULL;
    while (*at) {
        up = *at;
        up->size++;
        up->wants += n->wants;
        at = qkey_cmp(key, up->key) < 0 ? &up->left : &up->right;
    }
    *at = n;
    n->up = up;
    while (n->up && n->heap > n->up->heap)
        rotate_up(q, n);
}

void queue_remove(struct queue *q, struct qnode *n)
{
    ASSERT(n->in);
    while (n->left && n->right)
        rotate_up(q, n->left->heap > n->right->heap ? n->left : n->right);
    replace(q, n, n->left ? n->left : n->right);
    for (struct qnode *p = n->up; p; p = p->up)
        sum_up(p);
    *n = (struct qnode){ .key = n->key };
}

struct qnode *queue_first(const struct queue *q)
{
    struct qnode *n = q->root;
    while (n && n->left)
        n = n->left;
    return n;
}

struct qnode *queue_next(const struct qnode *n)
{
    if (n->right) {
        struct qnode *r = n->right;
        while (r->left)
            r = r->left;
        return r;
    }
    while (n->up && n->up->right == n)
        n = n->up;
    return n->up;
}

struct qnode *queue_after(const struct queue *q, struct qkey key)
{
    struct qnode *best = NULL;
    for (struct qnode *n = q->root; n;) {
        if (qkey_cmp(n->key, key) > 0) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

size_t queue_rank(const struct qnode *n)
{
    size_t rank = 1 + size_of(n->left);
    for (; n->up; n = n->up)
        if (n->up->right == n)
            rank += 1 + size_of(n->up->left);
    return rank;
}

static void each_want(struct qnode *n, struct qkey from, size_t before,
                      void (*fn)(void *ctx, struct qnode *n, size_t place), void *ctx)
{
    while (n && n->wants) {
        size_t place = before + 1 + size_of(n->left);
        if (qkey_cmp(n->key, from) >= 0) {
            each_want(n->left, from, before, fn, ctx);
            if (n->want)
                fn(ctx, n, place);
        }
        before = place;
        n = n->right;
    }
}

void queue_each_want(const struct queue *q, struct qkey from,
                     void (*fn)(void *ctx, struct qnode *n, size_t place), void *ctx)
{
    each_want(q->root, from, 0, fn, ctx);
}

static bool node_ok(const struct qnode *n, const struct qnode *up)
{
    if (!n)
        return true;
    if (!n->in || n->up != up || (up && n->heap > up->heap))
        return false;
    if ((n->left && qkey_cmp(n->left->key, n->key) >= 0) ||
        (n->right && qkey_cmp(n->right->key, n->key) <= 0))
        return false;
    struct qnode sums = *n;
    sum_up(&sums);
    return sums.size == n->size && sums.wants == n->wants && node_ok(n->left, n) &&
           node_ok(n->right, n);
}

bool queue_ok(const struct queue *q)
{
    if (!node_ok(q->root, NULL))
        return false;
    const struct qnode *prev = NULL;
    for (const struct qnode *n = queue_first(q); n; n = queue_next(n)) {
        if (prev && qkey_cmp(prev->key, n->key) >= 0)
            return false;
        prev = n;
    }
    return true;
}
