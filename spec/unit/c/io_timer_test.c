/* Timers, deferred calls, the loop's end. */
#include "io/loop.h"
#include "io/timer.h"

#include "spec.h"


struct fired {
    struct io_loop *l;
    struct io_timer *t;
    int n;
    msec at;
};

static void fire(void *ud)
{
    struct fired *f = ud;
    f->n++;
    f->at = io_loop_now(f->l);
}

TEST(a_timer_fires_once_not_before_its_time)
{
    struct io_loop *l = io_loop_new();
    struct fired f = { .l = l };
    struct io_timer *t = io_timer_new(l, "t", fire, &f);
    msec from = io_loop_now(l);
    io_timer_set(t, 20);
    CHECK_TRUE(io_timer_armed(t));
    io_loop_run(l);
    CHECK_INT(1, f.n);
    CHECK_TRUE(f.at >= from + 20);
    CHECK_FALSE(io_timer_armed(t));
    io_timer_free(t);
    io_timer_free(NULL);
    io_loop_free(l);
}

TEST(a_timer_moves_later_earlier_and_away)
{
    struct io_loop *l = io_loop_new();
    struct fired a = { .l = l }, b = { .l = l }, c = { .l = l };
    struct io_timer *ta = io_timer_new(l, "a", fire, &a), *tb = io_timer_new(l, "b", fire, &b),
                    *tc = io_timer_new(l, "c", fire, &c);
    msec from = io_loop_now(l);
    io_timer_set(ta, 5);
    io_timer_set(ta, 40); /* later */
    io_timer_set(tb, 100000);
    io_timer_set(tb, 10); /* earlier */
    io_timer_set(tc, 5);
    io_timer_clear(tc);
    io_loop_run(l); /* ends although tc has a stale place in the heap */
    CHECK_INT(1, a.n);
    CHECK_TRUE(a.at >= from + 40);
    CHECK_INT(1, b.n);
    CHECK_TRUE(b.at >= from + 10 && b.at < from + 40);
    CHECK_INT(0, c.n);
    io_timer_free(ta);
    io_timer_free(tb);
    io_timer_free(tc);
    io_loop_free(l);
}

static void free_it(void *ud)
{
    struct fired *f = ud;
    f->n++;
    io_timer_free(f->t);
}

static void again(void *ud)
{
    struct fired *f = ud;
    if (++f->n < 3)
        io_timer_set(f->t, 0);
}

TEST(a_timer_may_free_or_set_itself_when_it_fires)
{
    struct io_loop *l = io_loop_new();
    struct fired f = { .l = l }, g = { .l = l };
    f.t = io_timer_new(l, "f", free_it, &f);
    g.t = io_timer_new(l, "g", again, &g);
    io_timer_set(f.t, 1);
    io_timer_set(g.t, 0);
    io_loop_run(l);
    CHECK_INT(1, f.n);
    CHECK_INT(3, g.n);
    io_timer_free(g.t);
    io_loop_free(l);
}

#define MANY 300

struct many {
    struct io_loop *l;
    struct io_timer t[MANY];
    msec due[MANY];
    int wrong, fired;
};
struct one {
    struct many *m;
    int i;
};

static void one_fired(void *ud)
{
    struct one *o = ud;
    struct many *m = o->m;
    m->fired++;
    if (io_loop_now(m->l) < m->due[o->i] || m->due[o->i] == MSEC_NEVER)
        m->wrong++;
    m->due[o->i] = MSEC_NEVER;
}

TEST(many_timers_in_random_order)
{
    static struct many m;
    static struct one o[MANY];
    uint64_t seed = 12345;
    m = (struct many){ .l = io_loop_new() };
    for (int i = 0; i < MANY; i++) {
        o[i] = (struct one){ &m, i };
        m.due[i] = MSEC_NEVER;
        io_timer_init(&m.t[i], m.l, "many", one_fired, &o[i]);
    }
    int armed = 0;
    for (int k = 0; k < 5000; k++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int i = (int)(seed >> 33) % MANY;
        if ((seed >> 20) % 5 == 0) {
            io_timer_clear(&m.t[i]);
            m.due[i] = MSEC_NEVER;
        } else {
            msec d = (msec)((seed >> 40) % 30);
            io_timer_set(&m.t[i], d);
            m.due[i] = io_loop_now(m.l) + d;
        }
    }
    for (int i = 0; i < MANY; i++)
        armed += m.due[i] != MSEC_NEVER;
    io_loop_run(m.l);
    CHECK_INT(0, m.wrong);
    CHECK_INT(armed, m.fired);
    for (int i = 0; i < MANY; i++)
        io_timer_fini(&m.t[i]);
    io_loop_free(m.l);
}

struct chain {
    struct io_loop *l;
    struct io_call a, b, c;
    char order[16];
    int n;
};

static void call_a(void *ud)
{
    struct chain *s = ud;
    s->order[s->n++] = 'a';
    io_call_post(s->l, &s->b);
    io_call_post(s->l, &s->b);
    io_call_cancel(&s->c);
}

static void call_b(void *ud)
{
    struct chain *s = ud;
    s->order[s->n++] = 'b';
}

TEST(calls_run_in_order_once_and_can_be_cancelled)
{
    struct chain s = { .l = io_loop_new() };
    io_call_init(&s.a, call_a, &s);
    io_call_init(&s.b, call_b, &s);
    io_call_init(&s.c, call_b, &s);
    io_call_post(s.l, &s.a);
    io_call_post(s.l, &s.c);
    io_call_post(s.l, &s.a);
    io_loop_run(s.l); /* runs what is posted although nothing keeps the loop alive */
    CHECK_STR("ab", s.order);
    CHECK_STR("", strbuf_str(io_loop_scratch(s.l)));
    struct strbuf b = STRBUF(1000);
    io_loop_handles(s.l, &b);
    strbuf_fini(&b);
    io_loop_free(s.l);
}
