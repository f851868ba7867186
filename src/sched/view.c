#include "sched/view.h"

#include "base/check.h"

#define FREE_TICKETS_MAX 256 /* kept for reuse */

static size_t bucket_of(const struct sched *s, ticket_id id)
{
    uint64_t x = id * 0x9e3779b97f4a7c15u;
    return (size_t)(x ^ (x >> 32)) & s->mask;
}

struct ticket *view_ticket(const struct sched *s, ticket_id id)
{
    if (!s->buckets)
        return NULL;
    struct ticket *t = s->buckets[bucket_of(s, id)];
    while (t && t->id != id)
        t = t->hash_next;
    return t;
}

static void grow_table(struct sched *s)
{
    size_t cap = s->buckets ? (s->mask + 1) * 2 : 64;
    struct ticket **old = s->buckets;
    size_t old_cap = old ? s->mask + 1 : 0;
    s->buckets = mem_calloc(cap, sizeof(struct ticket *));
    s->mask = cap - 1;
    for (size_t i = 0; i < old_cap; i++) {
        while (old[i]) {
            struct ticket *t = old[i];
            old[i] = t->hash_next;
            struct ticket **at = &s->buckets[bucket_of(s, t->id)];
            t->hash_next = *at;
            *at = t;
        }
    }
    free(old);
}

struct ticket *view_ticket_new(struct sched *s, ticket_id id)
{
    if (!s->buckets || s->n_tickets > s->mask)
        grow_table(s);
    struct ticket *t = s->free_tickets;
    if (t) {
        s->free_tickets = t->hash_next;
        s->n_free--;
        *t = (struct ticket){ 0 };
    } else {
        t = mem_zalloc(sizeof(*t));
    }
    t->id = id;
    t->abort_at = MSEC_NEVER;
    list_init(&t->by_age);
    list_init(&t->link);
    list_init(&t->guarded);
    struct ticket **at = &s->buckets[bucket_of(s, id)];
    t->hash_next = *at;
    *at = t;
    s->n_tickets++;
    return t;
}

void view_ticket_free(struct sched *s, struct ticket *t)
{
    ASSERT(t->state == TICKET_NEW);
    view_unguard(t);
    struct ticket **at = &s->buckets[bucket_of(s, t->id)];
    while (*at != t)
        at = &(*at)->hash_next;
    *at = t->hash_next;
    s->n_tickets--;
    if (s->n_free < FREE_TICKETS_MAX) {
        t->hash_next = s->free_tickets;
        s->free_tickets = t;
        s->n_free++;
    } else {
        free(t);
    }
}

/* ---- the line ---- */

static void moved(struct sched *s, struct qkey key)
{
    if (!s->moved || qkey_cmp(key, s->moved_from) < 0)
        s->moved_from = key;
    s->moved = true;
}

void view_enqueue(struct sched *s, struct ticket *t)
{
    ASSERT(t->state == TICKET_NEW);
    struct smodel *m = s->models[t->model];
    struct qkey key = ticket_key(s, t);
    if (!m->queue.root)
        list_push_back(&s->waiting, &m->waiting_link);
    queue_insert(&s->line, &t->in_line, key, t->want_positions);
    if (t->alone)
        key.level = INT64_MIN; /* whatever their priority, who is to be tried alone comes before the rest */
    queue_insert(&m->queue, &t->in_model, key, false);
    m->alone_wait += t->alone;
    t->place = 0;
    t->state = TICKET_QUEUED;
    struct list *at = s->by_age.prev; /* nearly always the youngest, after a retry the oldest */
    if (at != &s->by_age && LIST_ENTRY(s->by_age.next, struct ticket, by_age)->seq > t->seq)
        at = &s->by_age;
    while (at != &s->by_age && LIST_ENTRY(at, struct ticket, by_age)->seq > t->seq)
        at = at->prev;
    list_push_front(at, &t->by_age);
    moved(s, t->in_line.key);
}

void view_dequeue(struct sched *s, struct ticket *t)
{
    ASSERT(t->state == TICKET_QUEUED);
    struct smodel *m = s->models[t->model];
    moved(s, t->in_line.key);
    queue_remove(&s->line, &t->in_line);
    queue_remove(&m->queue, &t->in_model);
    m->alone_wait -= t->alone;
    list_remove(&t->by_age);
    if (!m->queue.root)
        list_remove(&m->waiting_link);
    t->state = TICKET_NEW;
}

void view_wait(struct sched *s, struct ticket *t, struct swap *sw)
{
    ASSERT(t->state == TICKET_NEW && t->model == sw->target);
    list_push_back(&sw->waiters, &t->link);
    t->swap = sw;
    t->state = TICKET_WAITING;
    s->models[t->model]->waiting++;
    s->models[t->model]->alone_wait += t->alone;
    s->n_waiting++;
}

void view_unwait(struct sched *s, struct ticket *t)
{
    ASSERT(t->state == TICKET_WAITING);
    list_remove(&t->link);
    t->swap = NULL;
    t->state = TICKET_NEW;
    s->models[t->model]->waiting--;
    s->models[t->model]->alone_wait -= t->alone;
    s->n_waiting--;
}

void view_activate(struct sched *s, struct ticket *t)
{
    ASSERT(t->state == TICKET_NEW);
    struct smodel *m = s->models[t->model];
    list_push_back(&m->active, &t->link);
    m->inflight++;
    t->excludes = t->alone;
    m->excluding += t->excludes;
    s->inflight++;
    t->state = TICKET_ACTIVE;
}

void view_deactivate(struct sched *s, struct ticket *t)
{
    ASSERT(t->state == TICKET_ACTIVE);
    struct smodel *m = s->models[t->model];
    list_remove(&t->link);
    m->inflight--;
    m->excluding -= t->excludes;
    t->excludes = false;
    s->inflight--;
    if (t->before_serial) {
        t->before_serial = false;
        s->before_serial--;
    }
    if (t->side) {
        t->side = false;
        s->n_side--;
    }
    view_unguard(t);
    t->state = TICKET_NEW;
}

void view_guard(struct sched *s, struct ticket *t, msec at, const char *why)
{
    if (t->aborted || at >= t->abort_at)
        return;
    t->abort_at = at;
    t->abort_why = why;
    if (!list_linked(&t->guarded))
        list_push_back(&s->guarded, &t->guarded);
}

void view_unguard(struct ticket *t)
{
    t->abort_at = MSEC_NEVER;
    list_remove(&t->guarded);
}

/* ---- models ---- */

uint32_t view_limit(const struct sched *s, const struct smodel *m)
{
    if (m->conf.limit > 0)
        return m->conf.limit;
    return s->kind == SCHED_KIND_SERIAL ? 0 : SCHED_FIFO_LIMIT;
}

size_t view_running(const struct sched *s, model_id except, bool except_alive, model_id *out)
{
    size_t n = 0;
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (m->self != except || (!except_alive && model_alive(m)))
            out[n++] = m->self;
    }
    return n;
}

void view_present(struct sched *s, struct smodel *m)
{
    bool want = model_alive(m) || m->swap;
    if (want == m->present)
        return;
    m->present = want;
    if (!want) {
        list_remove(&m->present_link);
        return;
    }
    struct list *at = s->present.next;
    while (at != &s->present && LIST_ENTRY(at, struct smodel, present_link)->rank < m->rank)
        at = at->next;
    list_insert_before(at, &m->present_link);
}

static void conf_set(struct smodel *m, const struct sched_model *conf)
{
    if (m->conf.id.ptr != conf->id.ptr && !str_eq(m->conf.id, conf->id)) {
        char *id = mem_zalloc(conf->id.len + 1);
        if (conf->id.len)
            memcpy(id, conf->id.ptr, conf->id.len);
        free((void *)(uintptr_t)m->conf.id.ptr);
        m->conf.id = str_n(id, conf->id.len);
        m->load_ms = m->stop_ms = 0; /* a reload gave the slot to another model */
        m->fails = 0;
    }
    str own = m->conf.id;
    m->conf = *conf;
    m->conf.id = own;
    m->idle_ttl_ms = conf->pinned ? 0 : conf->ttl_ms;
}

static struct smodel *model_new(model_id self, const struct sched_model *conf)
{
    struct smodel *m = mem_zalloc(sizeof(*m));
    m->self = self;
    m->conf.id = str_n(mem_zalloc(1), 0);
    list_init(&m->active);
    list_init(&m->present_link);
    list_init(&m->waiting_link);
    conf_set(m, conf);
    return m;
}

static int by_name(const void *a, const void *b)
{
    struct smodel *const *x = a;
    struct smodel *const *y = b;
    int c = str_cmp((*x)->conf.id, (*y)->conf.id);
    return c ? c : (*x)->self < (*y)->self ? -1 : (*x)->self > (*y)->self;
}

static void rank_models(struct sched *s)
{
    struct smodel **sorted = mem_calloc(s->n_models ? s->n_models : 1, sizeof(*sorted));
    for (size_t i = 0; i < s->n_models; i++)
        sorted[i] = s->models[i];
    if (s->n_models)
        qsort(sorted, s->n_models, sizeof(*sorted), by_name);
    for (size_t i = 0; i < s->n_models; i++)
        sorted[i]->rank = (uint32_t)i;
    /* The list of those present is kept in this order. */
    for (size_t i = 0; i < s->n_models; i++) {
        if (sorted[i]->present) {
            list_remove(&sorted[i]->present_link);
            list_push_back(&s->present, &sorted[i]->present_link);
        }
    }
    free(sorted);
}

static model_id *resize_ids(model_id *ids, size_t n)
{
    return mem_resize(ids, n ? n : 1, sizeof(*ids));
}

void view_models_update(struct sched *s, const struct sched_conf *conf)
{
    size_t n = conf->n_models > s->n_models ? conf->n_models : s->n_models;
    s->models = mem_resize(s->models, n ? n : 1, sizeof(*s->models));
    for (size_t i = 0; i < conf->n_models; i++) {
        if (i < s->n_models)
            conf_set(s->models[i], &conf->models[i]);
        else
            s->models[i] = model_new((model_id)i, &conf->models[i]);
    }
    for (size_t i = conf->n_models; i < s->n_models; i++)
        s->models[i]->conf.retired = true;
    s->n_models = n;
    s->scratch_running = resize_ids(s->scratch_running, n);
    s->scratch_evict = resize_ids(s->scratch_evict, n);
    s->scratch_plan = resize_ids(s->scratch_plan, n);
    s->scratch_check = resize_ids(s->scratch_check, n);
    for (struct list *it = s->swaps.next; it != &s->swaps; it = it->next) {
        struct swap *sw = LIST_ENTRY(it, struct swap, link);
        sw->evict = resize_ids(sw->evict, n);
    }
    rank_models(s);
}

void view_models_init(struct sched *s, const struct sched_conf *conf)
{
    list_init(&s->present);
    list_init(&s->waiting);
    list_init(&s->by_age);
    list_init(&s->swaps);
    list_init(&s->unloads);
    list_init(&s->guarded);
    view_models_update(s, conf);
}

void view_fini(struct sched *s)
{
    for (size_t i = 0; s->buckets && i <= s->mask; i++) {
        while (s->buckets[i]) {
            struct ticket *t = s->buckets[i];
            s->buckets[i] = t->hash_next;
            free(t);
        }
    }
    while (s->free_tickets) {
        struct ticket *t = s->free_tickets;
        s->free_tickets = t->hash_next;
        free(t);
    }
    free(s->buckets);
    LIST_FOREACH(it, &s->swaps)
    {
        struct swap *sw = LIST_ENTRY(it, struct swap, link);
        free(sw->evict);
        free(sw);
    }
    LIST_FOREACH(it, &s->unloads)
    {
        struct unload_wait *u = LIST_ENTRY(it, struct unload_wait, link);
        free(u->left);
        free(u->frozen);
        free(u);
    }
    for (size_t i = 0; i < s->n_models; i++) {
        free((void *)(uintptr_t)s->models[i]->conf.id.ptr);
        free(s->models[i]);
    }
    free(s->models);
    free(s->scratch_running);
    free(s->scratch_evict);
    free(s->scratch_plan);
    free(s->scratch_check);
}
