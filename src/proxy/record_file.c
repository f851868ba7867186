/* record_file.c: traces in files, written by a worker thread; the loop only appends to a buffer.
 *
 * A file begins with its world, so each one can be simulated by itself. One job is under way at a time; what comes
 * meanwhile is buffered up to BUFFER_MAX, then dropped and counted.
 */
#include "base/check.h"
#include "base/log.h"
#include "io/timer.h"
#include "io/work.h"
#include "proxy/record.h"
#include "proxy/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define BUFFER_MAX (4u * 1024 * 1024)
#define FLUSH_AT (64u * 1024)
#define FLUSH_MS 1000
#define PATH_MAX_LEN 4096

struct record_file {
    struct recorder *r; /* NULL: nobody writes to it any more */
    struct io_loop *loop;
    char path[PATH_MAX_LEN];
    unsigned keep;
    uint64_t max, size; /* size: of the file, with what is buffered */
    struct strbuf buf;
    struct record_labels *labels; /* NULL: the file has not begun */
    msec t0;
    uint64_t dropped;
    bool rotate;  /* the buffer begins a new file */
    bool working, failing;
    struct io_timer *timer;
    /* of the job */
    int fd;
    bool job_rotate;
    struct strbuf job;
    int job_errno;
};

/* --- in the worker --- */

static void rotate(struct record_file *f)
{
    char from[PATH_MAX_LEN + 16], to[PATH_MAX_LEN + 16];
    if (f->fd >= 0)
        close(f->fd);
    for (unsigned i = f->keep; i >= 1; i--) {
        if (i == 1)
            snprintf(from, sizeof from, "%s", f->path);
        else
            snprintf(from, sizeof from, "%s.%u", f->path, i - 1);
        snprintf(to, sizeof to, "%s.%u", f->path, i);
        (void)rename(from, to); /* most of them are not there */
    }
    f->fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

static void on_work(void *ud)
{
    struct record_file *f = ud;
    f->job_errno = 0;
    if (f->job_rotate || f->fd < 0)
        rotate(f);
    if (f->fd < 0) {
        f->job_errno = errno;
        return;
    }
    for (size_t at = 0; at < f->job.len;) {
        ssize_t n = write(f->fd, f->job.ptr + at, f->job.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            f->job_errno = n < 0 ? errno : EIO;
            return;
        }
        at += (size_t)n;
    }
}

/* --- on the loop --- */

static void file_free(struct record_file *f)
{
    io_timer_free(f->timer);
    if (f->fd >= 0)
        close(f->fd);
    strbuf_fini(&f->buf);
    strbuf_fini(&f->job);
    free(f->labels);
    free(f);
}

static void job_take(struct record_file *f)
{
    struct strbuf empty = f->job;
    f->job = f->buf;
    f->buf = empty;
    strbuf_clear(&f->buf);
    f->job_rotate = f->rotate;
    f->rotate = false;
    io_timer_clear(f->timer);
}

static void job_over(struct record_file *f)
{
    if (f->job_errno && !f->failing)
        log_error("recording", "%s: %s; what happens meanwhile is not recorded", f->path, strerror(f->job_errno));
    else if (!f->job_errno && f->failing)
        log_info("recording", "%s is written again", f->path);
    f->failing = f->job_errno != 0;
    if (f->failing) { /* the next file begins whole */
        free(f->labels);
        f->labels = NULL;
        f->size = 0;
        strbuf_clear(&f->buf);
        f->rotate = false;
    }
    if (f->dropped) {
        log_warn("recording", "%s: %llu lines were lost, the disk is too slow", f->path, (unsigned long long)f->dropped);
        f->dropped = 0;
    }
    strbuf_clear(&f->job);
}

static void flush(struct record_file *f);

static void on_done(void *ud, bool cancelled)
{
    struct record_file *f = ud;
    (void)cancelled;
    f->working = false;
    job_over(f);
    if (f->r && f->buf.len < FLUSH_AT) {
        if (f->buf.len)
            io_timer_set(f->timer, FLUSH_MS);
        return;
    }
    if (f->buf.len)
        flush(f);
    else if (!f->r)
        file_free(f);
}

static void flush(struct record_file *f)
{
    job_take(f);
    f->working = true;
    (void)io_work_start(f->loop, on_work, on_done, f);
}

static void on_timer(void *ud)
{
    struct record_file *f = ud;
    if (!f->working && f->buf.len)
        flush(f);
}

/* Of the requests that will come into this file. */
static msec earliest(const struct record_file *f)
{
    static const enum req_state states[] = { REQ_QUEUED, REQ_SEND, REQ_STREAM, REQ_FLUSH, REQ_REPLY };
    struct server *srv = f->r->srv;
    msec t = io_loop_now(f->loop);
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        for (struct list *it = srv->by_state[states[i]].next; it != &srv->by_state[states[i]]; it = it->next) {
            const struct record *k = LIST_ENTRY(it, struct request, node)->record;
            if (k && k->arrived < t)
                t = k->arrived;
        }
    return t;
}

static void begin(struct record_file *f)
{
    free(f->labels);
    f->labels = record_labels_new();
    f->t0 = earliest(f);
    f->rotate = true;
    f->size = 0;
    record_world_lines(f->r, f->t0, &f->buf);
    f->size = f->buf.len;
}

/* False: no room. */
static bool ready(struct record_file *f)
{
    if (f->labels && f->size >= f->max && (f->buf.len == 0 || !f->working)) {
        if (f->buf.len)
            flush(f);
        begin(f);
    } else if (!f->labels) {
        begin(f);
    }
    if (f->buf.len < BUFFER_MAX - FLUSH_AT)
        return true;
    f->dropped++;
    return false;
}

static void added(struct record_file *f, size_t before)
{
    f->size += f->buf.len - before;
    if (f->working)
        return;
    if (f->buf.len >= FLUSH_AT)
        flush(f);
    else if (!io_timer_armed(f->timer))
        io_timer_set(f->timer, FLUSH_MS);
}

void record_file_add(struct recorder *r, const struct record *k)
{
    struct record_file *f = r->file;
    if (!ready(f))
        return;
    size_t before = f->buf.len;
    record_line(r, k, f->t0, f->labels, &f->buf);
    added(f, before);
}

void record_file_fact(struct recorder *r, const struct record_fact *fact)
{
    struct record_file *f = r->file;
    if (!ready(f))
        return;
    size_t before = f->buf.len;
    record_fact_line(r, fact, f->t0, &f->buf);
    added(f, before);
}

static void retire(struct record_file *f)
{
    f->r->file = NULL;
    f->r = NULL;
    if (f->working)
        return; /* on_done goes on */
    if (f->buf.len)
        flush(f);
    else
        file_free(f);
}

void record_file_reconf(struct recorder *r)
{
    const struct config *cfg = r->srv->cfg;
    str path = cfg->recording.file;
    if (r->file) { /* another world from here on: another file */
        bool same = str_eq(str_c(r->file->path), path);
        if (same && r->file->labels)
            r->file->size = UINT64_MAX / 2;
        if (!same)
            retire(r->file);
    }
    if (!path.len || path.len >= PATH_MAX_LEN)
        return;
    if (!r->file) {
        struct record_file *f = r->file = mem_zalloc(sizeof *f);
        f->r = r;
        f->loop = r->srv->loop;
        f->fd = -1;
        memcpy(f->path, path.ptr, path.len);
        strbuf_init(&f->buf, BUFFER_MAX);
        strbuf_init(&f->job, BUFFER_MAX);
        f->timer = io_timer_new(f->loop, "recording", on_timer, f);
        log_info("recording", "requests are recorded in %s", f->path);
    }
    r->file->max = (uint64_t)cfg->recording.file_size;
    r->file->keep = (unsigned)cfg->recording.files;
}

void record_file_stop(struct recorder *r)
{
    if (r->file)
        io_timer_clear(r->file->timer);
}

void record_file_fini(struct recorder *r)
{
    struct record_file *f = r->file;
    if (!f)
        return;
    ASSERT(!f->working); /* the loop has run dry */
    if (f->buf.len) {
        job_take(f);
        on_work(f);
        job_over(f);
    }
    r->file = NULL;
    file_free(f);
}
