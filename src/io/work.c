/* work.c: see work.h. */
#include "io/work.h"

#include "base/check.h"
#include "io/uvloop.h"

struct io_work {
    uv_work_t req;
    void (*run)(void *ud);
    void (*done)(void *ud, bool cancelled);
    void *ud;
};

static void on_run(uv_work_t *req)
{
    struct io_work *w = req->data;
    w->run(w->ud);
}

static void on_done(uv_work_t *req, int status)
{
    struct io_work *w = req->data;
    w->done(w->ud, status == UV_ECANCELED);
    free(w);
}

struct io_work *io_work_start(struct io_loop *l, void (*run)(void *ud), void (*done)(void *ud, bool cancelled),
                              void *ud)
{
    struct io_work *w = mem_zalloc(sizeof *w);
    w->req.data = w;
    w->run = run;
    w->done = done;
    w->ud = ud;
    ASSERT(uv_queue_work(&l->uv, &w->req, on_run, on_done) == 0);
    return w;
}

void io_work_cancel(struct io_work *w)
{
    uv_cancel((uv_req_t *)&w->req);
}
