/* timer.c: see timer.h. */
#include "io/timer.h"

#include "base/check.h"
#include "io/uvloop.h"

static void put(struct io_loop *l, size_t i, struct io_timer *t)
{
    l->heap[i] = t;
    t->pos = i + 1;
}

static void sift_up(struct io_loop *l, size_t i, struct io_timer *t)
{
    while (i > 0) {
        size_t up = (i - 1) / 4;
        if (l->heap[up]->at <= t->at)
            break;
        put(l, i, l->heap[up]);
        i = up;
    }
    put(l, i, t);
}

static void sift_down(struct io_loop *l, size_t i, struct io_timer *t)
{
    for (;;) {
        size_t kid = 4 * i + 1, least = kid;
        if (kid >= l->n_heap)
            break;
        for (size_t k = kid + 1; k < kid + 4 && k < l->n_heap; k++)
            if (l->heap[k]->at < l->heap[least]->at)
                least = k;
        if (l->heap[least]->at >= t->at)
            break;
        put(l, i, l->heap[least]);
        i = least;
    }
    put(l, i, t);
}

static void heap_add(struct io_loop *l, struct io_timer *t, msec at)
{
    if (l->n_heap == l->cap_heap) {
        l->cap_heap = l->cap_heap ? l->cap_heap * 2 : 32;
        l->heap = mem_resize(l->heap, l->cap_heap, sizeof *l->heap);
    }
    t->at = at;
    sift_up(l, l->n_heap++, t);
}

static void heap_remove(struct io_loop *l, struct io_timer *t)
{
    size_t i = t->pos - 1;
    struct io_timer *last = l->heap[--l->n_heap];
    t->pos = 0;
    if (last == t)
        return;
    sift_up(l, i, last);
    sift_down(l, last->pos - 1, last);
}

static void on_clock(uv_timer_t *h);

/* Points the libuv timer at the head of the heap. A later time than it is set to is left alone. */
static void set_clock(struct io_loop *l)
{
    if (l->armed == 0 || l->n_heap == 0) {
        if (l->clock_at != UINT64_MAX)
            uv_timer_stop(&l->clock);
        l->clock_at = UINT64_MAX;
        return;
    }
    uint64_t at = l->heap[0]->at < 0 ? 0 : (uint64_t)l->heap[0]->at;
    if (at >= l->clock_at)
        return;
    uint64_t now = uv_now(&l->uv);
    uv_timer_start(&l->clock, on_clock, at > now ? at - now : 0, 0);
    l->clock_at = at;
}

static void on_clock(uv_timer_t *h)
{
    struct io_loop *l = h->data;
    msec now = io_loop_now(l);
    l->clock_at = UINT64_MAX;
    l->in_clock = true;
    while (l->n_heap && l->heap[0]->at <= now) {
        struct io_timer *t = l->heap[0];
        if (t->deadline > now) {
            /* stale: put off since, or cleared */
            heap_remove(l, t);
            if (t->deadline != MSEC_NEVER)
                heap_add(l, t, t->deadline);
            continue;
        }
        heap_remove(l, t);
        t->deadline = MSEC_NEVER;
        l->armed--;
        t->fn(t->ud); /* may free t, set and free others */
    }
    l->in_clock = false;
    set_clock(l);
    /* libuv runs timers first and would then wait for sockets; a turn that had its event is over. */
    if (l->one_turn)
        uv_stop(&l->uv);
}

void io_timers_init(struct io_loop *l)
{
    ASSERT(uv_timer_init(&l->uv, &l->clock) == 0);
    l->clock.data = l;
    l->clock_at = UINT64_MAX;
}

void io_timers_stop(struct io_loop *l)
{
    uv_close((uv_handle_t *)&l->clock, NULL);
}

void io_timer_init(struct io_timer *t, struct io_loop *l, const char *name, void (*fn)(void *ud), void *ud)
{
    *t = (struct io_timer){ .loop = l, .name = name, .fn = fn, .ud = ud, .deadline = MSEC_NEVER };
}

void io_timer_fini(struct io_timer *t)
{
    if (!t->loop)
        return;
    io_timer_clear(t);
    if (t->pos)
        heap_remove(t->loop, t);
}

struct io_timer *io_timer_new(struct io_loop *l, const char *name, void (*fn)(void *ud), void *ud)
{
    struct io_timer *t = mem_zalloc(sizeof *t);
    io_timer_init(t, l, name, fn, ud);
    return t;
}

void io_timer_set(struct io_timer *t, msec delay_ms)
{
    struct io_loop *l = t->loop;
    /* A timer that sets itself to "now" must not keep the loop in on_clock for ever. */
    msec least = l->in_clock ? 1 : 0;
    if (delay_ms < least)
        delay_ms = least;
    msec now = io_loop_now(l);
    if (t->deadline == MSEC_NEVER)
        l->armed++;
    t->deadline = delay_ms >= MSEC_NEVER - now ? MSEC_NEVER - 1 : now + delay_ms;
    if (t->pos && t->at > t->deadline)
        heap_remove(l, t);
    if (!t->pos)
        heap_add(l, t, t->deadline);
    set_clock(l);
}

void io_timer_clear(struct io_timer *t)
{
    if (t->deadline == MSEC_NEVER)
        return;
    t->deadline = MSEC_NEVER;
    if (--t->loop->armed == 0)
        set_clock(t->loop);
}

bool io_timer_armed(const struct io_timer *t)
{
    return t->deadline != MSEC_NEVER;
}

void io_timer_free(struct io_timer *t)
{
    if (!t)
        return;
    io_timer_fini(t);
    free(t);
}
