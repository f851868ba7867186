/* sched.c: what one scheduler event costs, with 10,000 requests in the line. Prints ns per event, best of 5.
 *
 *   bench_sched [tickets]
 *
 * serial    the line is full; each round is DONE (the next is granted) and ARRIVE at its end
 * positions the same with 40 requests that show their place
 * fifo hit  a ready model, nobody waits for it: ARRIVE (granted) and DONE, beside a full line for other models
 * fifo swap four models push each other out; each round serves all that wait for one of them
 */
#include "base/clock.h"
#include "base/mem.h"
#include "sched/sched.h"

#include <stdio.h>
#include <stdlib.h>

#define MODELS 4
#define ROUNDS 20000
#define RUNS 5

struct bench {
    struct sched *s;
    struct sched_actions out;
    size_t events;
    ticket_id next;
    ticket_id *active; /* granted, in order */
    size_t n_active, cap_active;
    model_id up; /* a START or STOP that waits for its answer */
    swap_id up_op, down_op;
    model_id down;
};

static void post(struct bench *b, struct sched_event ev)
{
    ev.now = 1000;
    b->out.len = 0;
    sched_post(b->s, &ev, &b->out);
    b->events++;
    for (size_t i = 0; i < b->out.len; i++) {
        const struct sched_action *a = &b->out.at[i];
        if (a->kind == SCHED_GRANT) {
            if (b->n_active == b->cap_active) {
                b->cap_active = b->cap_active ? b->cap_active * 2 : 64;
                b->active = mem_resize(b->active, b->cap_active, sizeof(*b->active));
            }
            b->active[b->n_active++] = a->ticket;
        } else if (a->kind == SCHED_START) {
            b->up = a->model;
            b->up_op = a->swap;
        } else if (a->kind == SCHED_STOP) {
            b->down = a->model;
            b->down_op = a->swap;
        }
    }
}

static void arrive(struct bench *b, model_id m, bool positions)
{
    post(b,
         (struct sched_event){
             .kind = SCHED_ARRIVE, .ticket = ++b->next, .model = m, .want_positions = positions });
}

static void done(struct bench *b)
{
    post(b, (struct sched_event){
                .kind = SCHED_DONE, .ticket = b->active[--b->n_active], .model = MODEL_NONE });
}

/* Answers what is open until somebody is granted. */
static void answer(struct bench *b)
{
    while (b->n_active == 0 && (b->up_op || b->down_op)) {
        if (b->down_op) {
            swap_id op = b->down_op;
            b->down_op = 0;
            post(b, (struct sched_event){ .kind = SCHED_MODEL_DOWN, .model = b->down, .swap = op });
        } else {
            swap_id op = b->up_op;
            b->up_op = 0;
            post(b, (struct sched_event){ .kind = SCHED_MODEL_UP, .model = b->up, .swap = op });
        }
    }
}

static void begin(struct bench *b, enum sched_kind kind)
{
    struct sched_model models[MODELS] = { 0 };
    static const char *const ids[] = { "a", "b", "c", "d" };
    for (size_t i = 0; i < MODELS; i++)
        models[i] = (struct sched_model){
            .id = str_c(ids[i]), .limit = 1000000, .group_swap = true, .group_exclusive = true
        };
    *b = (struct bench){ .s = sched_new(&(struct sched_conf){
                             .kind = kind, .models = models, .n_models = MODELS }) };
}

static void end(struct bench *b)
{
    sched_free(b->s);
    sched_actions_fini(&b->out);
    free(b->active);
}

static double serial(size_t tickets, size_t wants)
{
    struct bench b;
    begin(&b, SCHED_KIND_SERIAL);
    for (size_t i = 0; i <= tickets; i++)
        arrive(&b, 0, i > 0 && i <= wants);
    answer(&b);
    b.events = 0;
    uint64_t from = clock_nsec();
    for (size_t i = 0; i < ROUNDS; i++) {
        done(&b);
        arrive(&b, 0, wants > 0 && i % (tickets / wants) == 0);
    }
    double ns = (double)(clock_nsec() - from) / (double)b.events;
    end(&b);
    return ns;
}

static double fifo_hit(size_t tickets)
{
    struct bench b;
    begin(&b, SCHED_KIND_FIFO);
    sched_adopt(b.s, 0, MODEL_READY, 0);
    arrive(&b, 0, false); /* stays, so that the others wait */
    b.n_active = 0;
    for (size_t i = 0; i < tickets; i++)
        arrive(&b, (model_id)(1 + i % 3), false);
    b.events = 0;
    uint64_t from = clock_nsec();
    for (size_t i = 0; i < ROUNDS; i++) {
        arrive(&b, 0, false);
        done(&b);
    }
    double ns = (double)(clock_nsec() - from) / (double)b.events;
    end(&b);
    return ns;
}

static double fifo_swap(size_t tickets)
{
    struct bench b;
    begin(&b, SCHED_KIND_FIFO);
    uint64_t from = clock_nsec();
    for (size_t i = 0; i < tickets; i++)
        arrive(&b, (model_id)(i % MODELS), false);
    for (size_t swaps = 0; swaps < 4 * MODELS; swaps++) {
        answer(&b);
        size_t served = 0;
        while (b.n_active > 0) {
            done(&b);
            served++;
        }
        for (size_t i = 0; i < served; i++)
            arrive(&b, (model_id)((swaps + i) % MODELS), false);
    }
    double ns = (double)(clock_nsec() - from) / (double)b.events;
    end(&b);
    return ns;
}

int main(int argc, char **argv)
{
    size_t tickets = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    double best[4] = { 1e18, 1e18, 1e18, 1e18 };
    if (tickets < 40)
        tickets = 40;
    for (int run = 0; run < RUNS; run++) {
        double now[4] = { serial(tickets, 0), serial(tickets, 40), fifo_hit(tickets),
                          fifo_swap(tickets) };
        for (int i = 0; i < 4; i++)
            best[i] = now[i] < best[i] ? now[i] : best[i];
    }
    printf("%zu tickets, ns per event: serial %.0f, serial with 40 places %.0f, fifo hit %.0f, "
           "fifo swap %.0f\n",
           tickets, best[0], best[1], best[2], best[3]);
    return 0;
}
