/* sigs.c: see sigs.h. */
#include "io/sigs.h"

#include "base/check.h"
#include "io/uvloop.h"

#include <signal.h>
#include <stdio.h>

static const int watched[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

struct io_sigs {
    uv_signal_t handles[ARRAY_LEN(watched)];
    void (*fn)(void *ud, int signal);
    void *ud;
    size_t open;
};

static void on_signal(uv_signal_t *h, int signum)
{
    struct io_sigs *s = h->data;
    if (s->fn)
        s->fn(s->ud, signum);
}

struct io_sigs *io_sigs_new(struct io_loop *l, void (*fn)(void *ud, int signal), void *ud)
{
    struct io_sigs *s = mem_zalloc(sizeof *s);
    s->fn = fn;
    s->ud = ud;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        uv_signal_t *h = &s->handles[i];
        ASSERT(uv_signal_init(io_loop_uv(l), h) == 0);
        h->data = s;
        ASSERT(uv_signal_start(h, on_signal, watched[i]) == 0);
        uv_unref((uv_handle_t *)h);
        s->open++;
    }
    return s;
}

static void on_closed(uv_handle_t *h)
{
    struct io_sigs *s = h->data;
    if (--s->open == 0)
        free(s);
}

void io_sigs_free(struct io_sigs *s)
{
    if (!s || !s->fn)
        return;
    s->fn = NULL;
    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        uv_close((uv_handle_t *)&s->handles[i], on_closed);
}

const char *io_signal_name(int signal)
{
    static _Thread_local char text[24];
    const char *abbrev = sigabbrev_np(signal);
    if (abbrev)
        snprintf(text, sizeof text, "SIG%s", abbrev);
    else
        snprintf(text, sizeof text, "signal %d", signal);
    return text;
}
