/* child.c: see child.h. */
#include "io/child.h"

#include "base/check.h"
#include "io/uvloop.h"

struct io_child {
    uv_process_t proc;
    io_exit_fn *exited;
    void *ud;
    bool ended;
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void on_exit_child(uv_process_t *h, int64_t status, int signal)
{
    struct io_child *c = h->data;
    c->ended = true;
    c->exited(c->ud, (int)status, signal);
}

struct io_child *io_child_spawn(struct io_loop *l, const struct io_child_conf *conf,
                                io_exit_fn *exited, void *ud, struct error *e)
{
    ASSERT(conf->n_fds >= 3 && conf->n_fds <= IO_CHILD_FDS);
    uv_stdio_container_t stdio[IO_CHILD_FDS];
    for (size_t i = 0; i < conf->n_fds; i++) {
        stdio[i].flags = conf->fds[i] < 0 ? UV_IGNORE : UV_INHERIT_FD;
        stdio[i].data.fd = conf->fds[i];
    }
    struct io_child *c = mem_zalloc(sizeof *c);
    c->exited = exited;
    c->ud = ud;
    c->proc.data = c;
    /* libuv's options have no const; it does not write through them */
    uv_process_options_t opt = {
        .file = conf->file,
        .args = (char **)(uintptr_t)conf->argv,
        .env = (char **)(uintptr_t)conf->env,
        .exit_cb = on_exit_child,
        .flags = UV_PROCESS_DETACHED,
        .stdio = stdio,
        .stdio_count = (int)conf->n_fds,
    };
    int rc = uv_spawn(io_loop_uv(l), &c->proc, &opt);
    if (rc < 0) {
        error_sys(e, ERR_SYS, -rc, "cannot start %s", conf->file);
        uv_close((uv_handle_t *)&c->proc, on_closed);
        return NULL;
    }
    return c;
}

int io_child_pid(const struct io_child *c)
{
    return c && !c->ended ? c->proc.pid : 0;
}

void io_child_kill(struct io_child *c, int signal)
{
    if (io_child_pid(c))
        uv_process_kill(&c->proc, signal);
}

void io_child_free(struct io_child *c)
{
    if (c)
        uv_close((uv_handle_t *)&c->proc, on_closed);
}
