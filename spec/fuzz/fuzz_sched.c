/* fuzz_sched.c: bytes become a configuration and events. After each event sched_check() must be content and the
 * actions must fit a small model of the world kept here; at the end everything is answered and nobody may be left
 * waiting. */
#include "base/check.h"
#include "base/strbuf.h"
#include "sched/matrix.h"
#include "sched/view.h"

#include <stdio.h>

#define MODELS 5
#define TICKETS 600
#define TICKET_BASE 1

struct fuzz {
    const uint8_t *at, *end;
    struct sched *s;
    struct sched_conf conf;
    struct sched_model models[MODELS];
    struct matrix *mx;
    struct sched_actions out;
    msec now;
    enum model_state truth[MODELS];
    swap_id start_op[MODELS], stop_op[MODELS];
    enum { T_FRESH, T_WAITS, T_ACTIVE, T_ENDED } ticket[TICKETS];
    bool left[TICKETS]; /* its client left while it was served */
    size_t n_tickets, unloads, unloaded;
    bool kind_changed, drained;
};

static unsigned byte(struct fuzz *f)
{
    return f->at < f->end ? *f->at++ : 0;
}

static void expect(struct fuzz *f, bool ok, const char *what)
{
    if (ok)
        return;
    struct strbuf b = STRBUF(1u << 22);
    sched_dump(f->s, &b);
    fprintf(stderr, "%.*s\nbroken: %s\n", (int)b.len, b.ptr ? b.ptr : "", what);
    abort();
}

static void perform(struct fuzz *f, const struct sched_action *a)
{
    size_t t = (size_t)a->ticket;
    if (a->ticket >= TICKETS) {
        expect(f, a->kind == SCHED_REJECT, "noise was let in");
        return;
    }
    switch (a->kind) {
    case SCHED_ADMIT:
        expect(f, f->ticket[t] == T_FRESH, "admitted twice");
        f->ticket[t] = T_WAITS;
        break;
    case SCHED_REJECT:
        expect(f, f->ticket[t] == T_FRESH || f->ticket[t] == T_WAITS,
               "rejected what does not wait");
        f->ticket[t] = T_ENDED;
        break;
    case SCHED_GRANT:
        expect(f, f->ticket[t] == T_WAITS, "granted what does not wait");
        expect(f, f->truth[a->model] == MODEL_READY, "granted to a process that is not ready");
        f->ticket[t] = T_ACTIVE;
        break;
    case SCHED_START:
        expect(f, f->truth[a->model] == MODEL_STOPPED, "started what is not stopped");
        for (size_t i = 0; i < MODELS; i++)
            expect(f, f->conf.kind != SCHED_KIND_SERIAL || f->truth[i] == MODEL_STOPPED,
                   "serial: started beside another");
        f->truth[a->model] = MODEL_STARTING;
        f->start_op[a->model] = a->swap;
        break;
    case SCHED_STOP:
        f->stop_op[a->model] = a->swap;
        if (f->truth[a->model] != MODEL_STOPPED)
            f->truth[a->model] = MODEL_STOPPING;
        break;
    case SCHED_ABORT_SERVE:
        expect(f, f->ticket[t] == T_ACTIVE, "cut what is not served");
        break;
    case SCHED_POSITION:
        expect(f, f->ticket[t] == T_WAITS && a->n > 0, "told a place to one that does not wait");
        break;
    case SCHED_MOVED:
        expect(f, f->ticket[t] == T_WAITS, "moved what does not wait");
        break;
    case SCHED_UNLOADED:
        f->unloaded++;
        break;
    case SCHED_WAKE_AT:
        expect(f, a->at > f->now, "wants to be woken in the past");
        break;
    }
}

static void post(struct fuzz *f, struct sched_event ev)
{
    ev.now = f->now;
    f->out.len = 0;
    sched_post(f->s, &ev, &f->out);
    for (size_t i = 0; i < f->out.len; i++)
        perform(f, &f->out.at[i]);
    struct error e = { 0 };
    if (sched_check(f->s, &e))
        expect(f, false, e.msg);
}

/* The k-th ticket in a state, 0 = none. */
static size_t pick(const struct fuzz *f, unsigned k, int state)
{
    size_t n = 0, found = 0;
    for (size_t i = TICKET_BASE; i < f->n_tickets; i++)
        n += (int)f->ticket[i] == state;
    if (n == 0)
        return 0;
    k %= (unsigned)n;
    for (size_t i = TICKET_BASE; i < f->n_tickets; i++) {
        if ((int)f->ticket[i] != state)
            continue;
        found = i;
        if (k-- == 0)
            break;
    }
    return found;
}

static void end_active(struct fuzz *f, size_t t, enum sched_ev_kind how, bool sent)
{
    if (t == 0)
        return;
    f->ticket[t] = how == SCHED_RETRY && !f->left[t] ? T_WAITS : T_ENDED;
    post(f, (struct sched_event){ .kind = how, .ticket = t, .model = MODEL_NONE,
                                  .sent = sent && how == SCHED_RETRY, .died = sent && how == SCHED_DONE });
}

static void result(struct fuzz *f, model_id m, enum sched_ev_kind kind)
{
    struct sched_event ev = { .kind = kind, .model = m };
    switch (kind) {
    case SCHED_MODEL_UP:
        if (f->truth[m] != MODEL_STARTING)
            return;
        f->truth[m] = MODEL_READY;
        ev.swap = f->start_op[m];
        break;
    case SCHED_MODEL_FAILED:
        if (f->truth[m] != MODEL_STARTING)
            return;
        f->truth[m] = MODEL_STOPPED;
        ev.swap = f->start_op[m];
        ev.text = S("no");
        break;
    case SCHED_MODEL_DYING:
        if (f->truth[m] != MODEL_READY)
            return;
        f->truth[m] = MODEL_STOPPING;
        f->stop_op[m] = 0;
        break;
    case SCHED_MODEL_STUCK:
        if (f->truth[m] == MODEL_STARTING) { /* it failed, and something of it does not die */
            f->truth[m] = MODEL_STOPPING;
            f->stop_op[m] = 0;
        }
        if (f->truth[m] != MODEL_STOPPING)
            return;
        ev.swap = f->stop_op[m];
        break;
    default:
        if (f->truth[m] == MODEL_READY)
            ev.swap = 0;
        else if (f->truth[m] == MODEL_STOPPING)
            ev.swap = f->stop_op[m];
        else
            return;
        f->truth[m] = MODEL_STOPPED;
        break;
    }
    post(f, ev);
}

/* Nothing that a sane world sends: it must change nothing. */
static void noise(struct fuzz *f)
{
    unsigned what = byte(f), arg = byte(f);
    struct sched_event ev = { .kind = (enum sched_ev_kind)(what % (SCHED_DRAIN + 1)),
                              .model = arg % 8,
                              .ticket = 100000u + arg,
                              .swap = 1000000u + arg };
    if (ev.kind == SCHED_ARRIVE)
        ev.model = MODEL_NONE - arg;
    if (ev.kind == SCHED_DRAIN || ev.kind == SCHED_UNLOAD || ev.kind == SCHED_RECYCLE ||
        ev.kind == SCHED_PRELOAD)
        ev.kind = SCHED_TICK;
    post(f, ev);
}

static void set_models(struct fuzz *f)
{
    static char ids[MODELS][2] = { "c", "a", "e", "b", "d" };
    for (size_t i = 0; i < MODELS; i++) {
        unsigned b = byte(f), c = byte(f);
        f->models[i] = (struct sched_model){
            .id = str_c(ids[i]),
            .limit = b & 3,
            .priority = (int)(b >> 2 & 3),
            .ttl_ms = b & 64 ? c * 10 : 0,
            .unload_grace_ms = c,
            .pinned = b == 255,
            .retired = f->models[i].retired,
            .group = b >> 4 & 1,
            .group_swap = c & 1,
            .group_exclusive = c & 2,
            .group_persistent = c & 4,
        };
    }
    unsigned m = byte(f);
    f->conf.models = f->models;
    f->conf.serial_max_queue = m & 1 ? 5 : 0;
    f->conf.serial_max_serve_ms = m & 2 ? 100 : 0;
    f->conf.fifo_max_wait_ms = m & 4 ? 200 : 0;
    f->conf.fifo_orphan = m & 8 ? SCHED_ORPHAN_ABORT : SCHED_ORPHAN_KEEP;
    f->conf.matrix = m & 16 ? f->mx : NULL;
}

static void reload(struct fuzz *f)
{
    unsigned b = byte(f);
    if (b & 1) {
        f->conf.kind = b & 2 ? SCHED_KIND_FIFO : SCHED_KIND_SERIAL;
        f->kind_changed = true;
    }
    f->models[(b >> 2) % MODELS].retired = b & 32;
    set_models(f);
    sched_reconfigure(f->s, &f->conf);
    post(f, (struct sched_event){ .kind = SCHED_TICK, .model = MODEL_NONE });
}

static void recycle(struct fuzz *f, unsigned arg)
{
    model_id targets[MODELS];
    size_t n = 0;
    for (model_id i = 0; i < MODELS; i++)
        if (arg >> i & 1)
            targets[n++] = i;
    f->unloads++;
    post(f, (struct sched_event){ .kind = SCHED_RECYCLE,
                                  .op = f->unloads,
                                  .model = MODEL_NONE,
                                  .models = targets,
                                  .n_models = n,
                                  .grace_ms = arg & 32 ? 50 : 5000 });
}

static void step(struct fuzz *f)
{
    unsigned op = byte(f), arg = byte(f);
    model_id m = arg % MODELS;
    f->now += op >> 4;
    switch (op & 15) {
    case 0:
    case 1:
    case 2:
        if (f->n_tickets == TICKETS)
            break;
        f->n_tickets++;
        post(f, (struct sched_event){ .kind = SCHED_ARRIVE,
                                      .ticket = f->n_tickets - 1,
                                      .model = m,
                                      .want_positions = arg & 8,
                                      .side = arg & 16,
                                      .priority = (int)(arg >> 6) });
        break;
    case 3:
    case 4:
        end_active(f, pick(f, arg & 127, T_ACTIVE), SCHED_DONE, arg & 128);
        break;
    case 5: {
        size_t t = pick(f, arg, T_WAITS);
        if (t) {
            f->ticket[t] = T_ENDED;
            post(f, (struct sched_event){ .kind = SCHED_CANCEL, .ticket = t, .model = MODEL_NONE });
        }
        break;
    }
    case 6:
        result(f, m, SCHED_MODEL_UP);
        break;
    case 7:
        result(f, m, arg & 128 ? SCHED_MODEL_DYING : SCHED_MODEL_DOWN);
        break;
    case 8:
        result(f, m, arg & 128 ? SCHED_MODEL_STUCK : SCHED_MODEL_FAILED);
        break;
    case 9: {
        model_id targets[MODELS];
        size_t n = 0;
        for (model_id i = 0; i < MODELS; i++)
            if (arg >> i & 1)
                targets[n++] = i;
        f->unloads++;
        post(f, (struct sched_event){ .kind = SCHED_UNLOAD,
                                      .op = f->unloads,
                                      .model = MODEL_NONE,
                                      .models = arg & 64 ? NULL : targets,
                                      .n_models = n,
                                      .grace_ms = arg & 128 ? 5 : 0 });
        break;
    }
    case 10:
        f->now += (msec)arg * arg;
        post(f, (struct sched_event){ .kind = SCHED_TICK, .model = MODEL_NONE });
        break;
    case 11:
        end_active(f, pick(f, arg, T_ACTIVE), SCHED_RETRY, arg & 128);
        break;
    case 12: {
        size_t t = pick(f, arg, T_ACTIVE);
        if (t) {
            f->left[t] = true;
            post(f, (struct sched_event){ .kind = SCHED_CANCEL, .ticket = t, .model = MODEL_NONE });
        }
        break;
    }
    case 13:
        noise(f);
        break;
    case 14:
        post(f, (struct sched_event){ .kind = SCHED_PRELOAD, .model = m, .evict = arg & 128 });
        break;
    default:
        if (arg > 250) {
            f->drained = true;
            post(f, (struct sched_event){ .kind = SCHED_DRAIN, .model = MODEL_NONE });
        } else if (arg > 200) {
            reload(f);
        } else if (arg > 100) {
            recycle(f, arg);
        } else {
            size_t t = pick(f, byte(f), arg & 64 ? T_ACTIVE : T_WAITS); /* heeded for those in the line only */
            if (t)
                post(f, (struct sched_event){ .kind = SCHED_MOVE, .ticket = t, .model = m });
        }
        break;
    }
}

/* All answers come: then all must end. */
static void settle(struct fuzz *f)
{
    for (int round = 0; round < 4 * TICKETS; round++) {
        bool busy = false;
        for (model_id m = 0; m < MODELS; m++) {
            busy = busy || f->truth[m] == MODEL_STARTING || f->truth[m] == MODEL_STOPPING;
            result(f, m, f->truth[m] == MODEL_STARTING ? SCHED_MODEL_UP : SCHED_MODEL_STUCK);
            if (f->truth[m] == MODEL_STOPPING)
                result(f, m, SCHED_MODEL_DOWN);
        }
        size_t t;
        while ((t = pick(f, 0, T_ACTIVE))) {
            busy = true;
            end_active(f, t, SCHED_DONE, false);
        }
        f->now += 20000;
        post(f, (struct sched_event){ .kind = SCHED_TICK, .model = MODEL_NONE });
        if (!busy && pick(f, 0, T_WAITS) == 0 && pick(f, 0, T_ACTIVE) == 0)
            break;
    }
    expect(f, pick(f, 0, T_WAITS) == 0 && pick(f, 0, T_ACTIVE) == 0, "somebody is left at the end");
    expect(f, sched_waiting(f->s) == 0 && sched_inflight(f->s, MODEL_NONE) == 0,
           "the scheduler still holds somebody");
    expect(f, f->unloads == f->unloaded, "an unload was not answered");
}

static struct matrix *some_matrix(void)
{
    static const str models[] = { { "c", 1 }, { "a", 1 }, { "e", 1 }, { "b", 1 }, { "d", 1 } };
    static const struct matrix_set sets[] = { { { "x", 1 }, { "a & (b | c)", 11 } },
                                              { { "y", 1 }, { "+x | d & e", 10 } } };
    struct matrix_src src = { .models = models, .n_models = MODELS, .sets = sets, .n_sets = 2 };
    struct matrix *m = NULL;
    if (matrix_compile(&src, &m, NULL, NULL))
        abort();
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz *f = mem_zalloc(sizeof(*f));
    f->at = data;
    f->end = data + size;
    f->n_tickets = TICKET_BASE;
    f->mx = some_matrix();
    f->conf.kind = byte(f) & 1 ? SCHED_KIND_FIFO : SCHED_KIND_SERIAL;
    f->conf.n_models = MODELS;
    set_models(f);
    f->s = sched_new(&f->conf);
    while (f->at < f->end)
        step(f);
    settle(f);
    sched_free(f->s);
    sched_actions_fini(&f->out);
    matrix_free(f->mx);
    free(f);
    return 0;
}
