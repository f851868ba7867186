/* recycle.c: processes that must be replaced because their configuration has changed (reload).
 *
 * A frozen model is granted to nobody and started by nobody, until the whole operation has come to an end: what
 * the caller replaces then is never in use, and no new process meets an old one on its port. */
#include "sched/loop.h"

static bool wanted(const struct sched_event *ev, const struct smodel *m)
{
    for (size_t i = 0; i < ev->n_models; i++)
        if (ev->models[i] == m->self)
            return true;
    return false;
}

/* A load under way is undone; who waits for it goes back to his place in the line. */
static void undo_load(struct sched *s, struct smodel *m)
{
    struct swap *sw = m->swap;
    if (sw) {
        struct ticket *t;
        while ((t = swap_owner(sw))) {
            view_unwait(s, t);
            view_enqueue(s, t);
        }
        if (sw->by == SWAP_BY_PRELOAD)
            m->preload = s->preloads = true;
        swap_abort(s, sw);
    } else if (m->state == MODEL_STARTING) {
        loop_stop(s, m, model_grace(s, m));
    }
}

void recycle_idle(struct sched *s, struct smodel *m)
{
    if (m->frozen == 0 || m->state != MODEL_READY || m->inflight > 0)
        return;
    m->recycle_by = 0;
    loop_stop(s, m, model_grace(s, m));
}

void recycle_due(struct sched *s, struct smodel *m)
{
    if (m->recycle_by == 0 || s->now < m->recycle_by)
        return;
    m->recycle_by = 0;
    if (m->state != MODEL_READY)
        return;
    m->cut_on_stop = true;
    for (struct list *it = m->active.next; it != &m->active; it = it->next)
        LIST_ENTRY(it, struct ticket, link)->unloaded = true;
    loop_stop(s, m, model_grace(s, m));
}

/* The patience of an earlier operation counts when it ends first. */
static void recycle_until(struct smodel *m, msec at)
{
    if (m->recycle_by == 0 || at < m->recycle_by)
        m->recycle_by = at;
}

void recycle_event(struct sched *s, const struct sched_event *ev)
{
    struct unload_wait *u = mem_zalloc(sizeof(*u));
    u->op = ev->op;
    u->left = mem_calloc(s->n_models ? s->n_models : 1, sizeof(*u->left));
    u->frozen = mem_calloc(s->n_models ? s->n_models : 1, sizeof(*u->frozen));
    list_push_back(&s->unloads, &u->link);
    for (size_t i = 0; i < s->n_models; i++) {
        struct smodel *m = s->models[i];
        if (!wanted(ev, m))
            continue;
        m->frozen++;
        u->frozen[u->n_frozen++] = m->self;
        undo_load(s, m);
        if (!model_alive(m))
            continue;
        u->left[u->n_left++] = m->self;
        loop_note(s,
                  &(struct sched_note){ .kind = NOTE_UNLOAD, .model = m->self, .text = "reload" });
        if (m->state == MODEL_READY && m->inflight > 0)
            recycle_until(m, s->now + ev->grace_ms);
        else
            recycle_idle(s, m);
    }
    s->walk_due = true;
    if (u->n_left == 0)
        unload_ended(s, u);
}

void recycle_thaw(struct sched *s, const struct unload_wait *u)
{
    for (size_t i = 0; i < u->n_frozen; i++)
        s->models[u->frozen[i]]->frozen--;
    if (u->n_frozen > 0)
        s->advance_due = true;
}
