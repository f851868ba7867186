/* loop.c: see loop.h. */
#include "io/uvloop.h"

#include "base/check.h"
#include "io/timer.h"

#include <inttypes.h>
#include <time.h>

/* Calls that are posted again and again from calls would starve the sockets: after so many, the next turn. */
#define CALLS_PER_TURN 100000

/* How long the end of the loop waits for the resolver. */
#define LOOKUP_WAIT_MS 15000

static void run_calls(struct io_loop *l)
{
    int budget = CALLS_PER_TURN;
    struct list *n;
    while (budget-- > 0 && (n = list_first(&l->calls))) {
        struct io_call *c = LIST_ENTRY(n, struct io_call, node);
        list_remove(n);
        c->fn(c->ud);
    }
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Waiting for events takes no CPU, so this is the work of one turn. */
static void measure(struct io_loop *l)
{
    uint64_t now = cpu_ns();
    if (now - l->turn_cpu > l->longest_cpu)
        l->longest_cpu = now - l->turn_cpu;
    l->turn_cpu = now;
}

static void on_prepare(uv_prepare_t *h)
{
    struct io_loop *l = h->data;
    bool any = !list_empty(&l->calls);
    if (any)
        run_calls(l);
    if (l->watched)
        measure(l);
    if (any && l->one_turn)
        uv_stop(&l->uv); /* the turn had its event: do not wait for another */
}

void io_loop_watch(struct io_loop *l, bool on)
{
    l->watched = on;
    l->longest_cpu = 0;
    l->turn_cpu = on ? cpu_ns() : 0;
}

uint64_t io_loop_longest_us(const struct io_loop *l)
{
    return l->longest_cpu / 1000;
}

static void on_check(uv_check_t *h)
{
    run_calls(h->data);
}

struct io_loop *io_loop_new(void)
{
    struct io_loop *l = mem_zalloc(sizeof *l);
    ASSERT(uv_loop_init(&l->uv) == 0);
    l->uv.data = l;
    list_init(&l->calls);
    list_init(&l->gathered);
    l->read_buf = mem_resize(NULL, IO_READ_SIZE, 1);
    l->scratch = STRBUF(64u << 20);
    ASSERT(uv_prepare_init(&l->uv, &l->before_poll) == 0 && uv_check_init(&l->uv, &l->after_poll) == 0);
    l->before_poll.data = l->after_poll.data = l;
    uv_prepare_start(&l->before_poll, on_prepare);
    uv_check_start(&l->after_poll, on_check);
    uv_unref((uv_handle_t *)&l->before_poll);
    uv_unref((uv_handle_t *)&l->after_poll);
    io_timers_init(l);
    return l;
}

void io_loop_free(struct io_loop *l)
{
    if (!l)
        return;
    io_timers_stop(l);
    uv_close((uv_handle_t *)&l->before_poll, NULL);
    uv_close((uv_handle_t *)&l->after_poll, NULL);
    /* Owners that closed their handles just now still wait for the close callbacks. */
    for (int i = 0; i < 100 && uv_run(&l->uv, UV_RUN_NOWAIT); i++)
        run_calls(l);
    run_calls(l);
    /* A name that is being looked up in the pool can neither be cancelled nor left behind. */
    for (int i = 0; i < LOOKUP_WAIT_MS && l->uv.active_reqs.count > 0; i++) {
        uv_sleep(1);
        uv_run(&l->uv, UV_RUN_NOWAIT);
    }
    ASSERT(l->n_heap == 0);
    int rc = uv_loop_close(&l->uv);
    if (rc != 0)
        uv_print_all_handles(&l->uv, stderr);
    ASSERT(rc == 0);
    free(l->heap);
    free(l->read_buf);
    strbuf_fini(&l->scratch);
    io_streams_stop(l);
    free(l);
}

void io_loop_run(struct io_loop *l)
{
    /* uv_run ends when nothing is left to wait for; a call posted by the last close callback is still due. */
    while (uv_run(&l->uv, UV_RUN_DEFAULT) == 0 && !list_empty(&l->calls))
        run_calls(l);
}

bool io_loop_turn(struct io_loop *l)
{
    l->one_turn = true;
    bool more = uv_run(&l->uv, UV_RUN_ONCE) != 0;
    l->one_turn = false;
    if (!more && !list_empty(&l->calls)) {
        run_calls(l);
        return true;
    }
    return more;
}

void io_loop_stop(struct io_loop *l)
{
    uv_stop(&l->uv);
}

msec io_loop_now(const struct io_loop *l)
{
    return (msec)uv_now(&l->uv);
}

void io_call_init(struct io_call *c, void (*fn)(void *ud), void *ud)
{
    list_init(&c->node);
    c->fn = fn;
    c->ud = ud;
}

void io_call_post(struct io_loop *l, struct io_call *c)
{
    if (!list_linked(&c->node))
        list_push_back(&l->calls, &c->node);
}

void io_call_cancel(struct io_call *c)
{
    list_remove(&c->node);
}

struct strbuf *io_loop_scratch(struct io_loop *l)
{
    /* One big answer must not keep its memory for ever. */
    if (l->scratch.cap > 1u << 20)
        strbuf_fini(&l->scratch);
    strbuf_clear(&l->scratch);
    return &l->scratch;
}

static void name_handle(uv_handle_t *h, void *arg)
{
    struct strbuf *out = arg;
    if (h->type == UV_PREPARE || h->type == UV_CHECK)
        return;
    strbuf_addf(out, "%s", uv_handle_type_name(h->type));
    uv_os_fd_t fd;
    if (uv_fileno(h, &fd) == 0)
        strbuf_addf(out, " fd=%d", (int)fd);
    strbuf_addf(out, "%s%s%s\n", uv_is_active(h) ? " active" : "", uv_has_ref(h) ? "" : " unref",
                uv_is_closing(h) ? " closing" : "");
}

void io_loop_handles(struct io_loop *l, struct strbuf *out)
{
    uv_walk(&l->uv, name_handle, out);
    for (size_t i = 0; i < l->n_heap; i++) {
        const struct io_timer *t = l->heap[i];
        if (t->deadline != MSEC_NEVER)
            strbuf_addf(out, "timer %s in %" PRId64 " ms\n", t->name, t->deadline - io_loop_now(l));
    }
}
