#include "sched/view.h"

static void dump_model(const struct sched *s, const struct smodel *m, struct strbuf *b)
{
    strbuf_addf(
        b, "# model %u " STR_FMT ": %s since %lld, %u in flight, %zu in line, %u wait for its load",
        m->self, STR_ARG(m->conf.id), model_state_name(m->state), (long long)m->since, m->inflight,
        model_queued(m), m->waiting);
    if (m->op)
        strbuf_addf(b, ", order %llu", (unsigned long long)m->op);
    strbuf_add(b, str_c(m->stuck ? ", refuses to die" : ""));
    strbuf_add(b, str_c(m->conf.retired ? ", retired" : ""));
    strbuf_addc(b, '\n');
}

static void dump_swap(const struct swap *sw, struct strbuf *b)
{
    static const char *const stages[] = { "draining", "stopping", "starting" };
    strbuf_addf(b, "# load %llu of model %u: %s since %lld, stops", (unsigned long long)sw->id,
                sw->target, stages[sw->stage], (long long)sw->started);
    for (size_t i = 0; i < sw->n_evict; i++)
        strbuf_addf(b, " %u", sw->evict[i]);
    strbuf_addc(b, '\n');
}

void sched_dump(const struct sched *s, struct strbuf *b)
{
    const struct policy_ops *row = s->ops && !s->stalled ? s->ops : s->builtin;
    strbuf_addf(b,
                "# scheduler %s, decided by %s; now %lld, %zu in line, %zu wait for loads, %zu in "
                "flight%s\n",
                sched_kind_name(s->kind), row->name, (long long)s->now, queue_len(&s->line),
                s->n_waiting, s->inflight, s->draining ? ", draining" : "");
    for (size_t i = 0; i < s->n_models; i++)
        dump_model(s, s->models[i], b);
    for (struct list *it = s->swaps.next; it != &s->swaps; it = it->next)
        dump_swap(LIST_ENTRY(it, struct swap, link), b);
    size_t place = 0;
    for (struct qnode *n = queue_first(&s->line); n && place < 100; n = queue_next(n)) {
        const struct ticket *t = line_ticket(n);
        strbuf_addf(b, "# %zu. ticket %llu for model %u since %lld\n", ++place,
                    (unsigned long long)t->id, t->model, (long long)t->arrived);
    }
    trace_ring_dump(s->ring, b);
}
