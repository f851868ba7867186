/* queue.h: a line of requests, ordered by (priority, arrival), with ranks. Intrusive, no allocation.
 *
 * A treap whose balance comes from a hash of the arrival number. Insert, remove, first, next and rank
 * are O(log n) expected; `wants` counts the members that show their place, so that telling k of them
 * their new place costs O(k log n), whatever else stands in the line.
 */
#ifndef LUASWAP_SCHED_QUEUE_H
#define LUASWAP_SCHED_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Smaller sorts first. */
struct qkey {
    int64_t level; /* minus priority */
    uint64_t seq;  /* arrival, unique */
};

struct qnode {
    struct qnode *left, *right, *up;
    struct qkey key;
    uint32_t heap, size, wants;
    bool want, in;
};

struct queue {
    struct qnode *root;
};

static inline int qkey_cmp(struct qkey a, struct qkey b)
{
    if (a.level != b.level)
        return a.level < b.level ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0;
}
static inline size_t queue_len(const struct queue *q)
{
    return q->root ? q->root->size : 0;
}
static inline size_t queue_wants(const struct queue *q)
{
    return q->root ? q->root->wants : 0;
}

/* n->in must be false. */
void queue_insert(struct queue *q, struct qnode *n, struct qkey key, bool want);
void queue_remove(struct queue *q, struct qnode *n);
struct qnode *queue_first(const struct queue *q); /* NULL when empty */
struct qnode *queue_next(const struct qnode *n);
/* First member after `key`, or NULL. */
struct qnode *queue_after(const struct queue *q, struct qkey key);
/* 1-based place. */
size_t queue_rank(const struct qnode *n);
/* Calls fn(ctx, node, place) for each member that wants it and stands at or behind `from`, in order. */
void queue_each_want(const struct queue *q, struct qkey from,
                     void (*fn)(void *ctx, struct qnode *n, size_t place), void *ctx);
/* Order, sizes and heap are as they should be; O(n). */
bool queue_ok(const struct queue *q);

#endif
