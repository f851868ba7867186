/* watch.c: see watch.h.
 *
 * Two halves that know nothing of each other: `state` is what the source looks like (stat), `spots` are the
 * folders in which an event may mean that it looks different now. Any event leads to a look; only the
 * comparison of two states decides.
 */
#include "io/watch.h"

#include "base/arena.h"
#include "base/check.h"
#include "io/timer.h"
#include "io/uvloop.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define QUIET_MS 100
#define PATIENCE_MS 1000
#define POLL_MS 2000
#define LINKS_MAX 40
#define SPOTS_MAX 64
#define FILES_MAX 4096

struct mark {
    char *name; /* in a folder; NULL for a file */
    struct timespec mtime;
    off_t size;
    ino_t ino;
    dev_t dev;
};
struct state {
    struct mark *marks; /* sorted by name */
    size_t n, cap;
};

/* A folder under watch. Freed by its own close callback. */
struct spot {
    uv_fs_event_t ev;
    struct io_watch *w; /* NULL = being closed */
    char *dir;
    bool wanted;
};

struct io_watch {
    struct io_loop *loop;
    enum io_watch_kind kind;
    char *path;
    void (*fn)(void *ud);
    void *ud;
    struct state state;
    struct spot *spots[SPOTS_MAX];
    size_t n_spots;
    bool deaf; /* some folder cannot be watched */
    struct io_timer *quiet, *poll;
    msec first; /* event since the last look, MSEC_NEVER = none */
};

/* ---- what it looks like ---- */

static void state_clear(struct state *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->marks[i].name);
    free(s->marks);
    *s = (struct state){ 0 };
}

static void state_add(struct state *s, const char *name, const struct stat *st)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 8;
        s->marks = mem_resize(s->marks, s->cap, sizeof *s->marks);
    }
    s->marks[s->n++] = (struct mark){ .name = name ? mem_strdup(name) : NULL,
                                      .mtime = st->st_mtim,
                                      .size = st->st_size,
                                      .ino = st->st_ino,
                                      .dev = st->st_dev };
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct mark *)a)->name, ((const struct mark *)b)->name);
}

static bool is_yaml(const char *name)
{
    str s = str_c(name);
    return str_ends(s, S(".yml")) || str_ends(s, S(".yaml"));
}

static struct state look_at(const struct io_watch *w)
{
    struct state s = { 0 };
    struct stat st;
    if (w->kind == IO_WATCH_FILE) {
        if (stat(w->path, &st) == 0)
            state_add(&s, NULL, &st);
        return s;
    }
    DIR *dir = opendir(w->path);
    for (struct dirent *d; dir && s.n < FILES_MAX && (d = readdir(dir));)
        if (is_yaml(d->d_name) && fstatat(dirfd(dir), d->d_name, &st, 0) == 0 &&
            S_ISREG(st.st_mode))
            state_add(&s, d->d_name, &st);
    if (dir)
        closedir(dir);
    if (s.n)
        qsort(s.marks, s.n, sizeof *s.marks, by_name);
    return s;
}

static bool same_mark(const struct mark *a, const struct mark *b)
{
    return a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
           a->size == b->size && a->ino == b->ino && a->dev == b->dev &&
           (!a->name || strcmp(a->name, b->name) == 0);
}

static bool same_state(const struct state *a, const struct state *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_mark(&a->marks[i], &b->marks[i]))
            return false;
    return true;
}

/* ---- where to listen ---- */

static void on_event(uv_fs_event_t *h, const char *filename, int events, int status)
{
    struct spot *s = h->data;
    struct io_watch *w = s->w;
    if (!w)
        return;
    msec now = io_loop_now(w->loop);
    if (w->first == MSEC_NEVER)
        w->first = now;
    msec left = w->first + PATIENCE_MS - now;
    io_timer_set(w->quiet, left < QUIET_MS ? left : QUIET_MS);
}

static void on_spot_closed(uv_handle_t *h)
{
    struct spot *s = h->data;
    free(s->dir);
    free(s);
}

static void spot_close(struct spot *s)
{
    s->w = NULL;
    uv_close((uv_handle_t *)&s->ev, on_spot_closed);
}

/* File systems whose other writers the kernel here does not hear. */
static bool is_remote(const char *dir)
{
    static const unsigned long remote[] = {
        0x6969 /* nfs */,      0x517B /* smb */,        0xFF534D42 /* cifs */,
        0xFE534D42 /* smb2 */, 0x65735546 /* fuse */,   0x01021997 /* 9p */,
        0x00C36400 /* ceph */, 0x0BD00BD0 /* lustre */, 0x786F4256 /* vboxsf */,
        0x5346414F /* afs */,
    };
    struct statfs fs;
    if (statfs(dir, &fs) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(remote); i++)
        if (((unsigned long)fs.f_type & 0xFFFFFFFF) == remote[i])
            return true;
    return false;
}

static void want_dir(struct io_watch *w, const char *dir)
{
    for (size_t i = 0; i < w->n_spots; i++) {
        if (strcmp(w->spots[i]->dir, dir) == 0) {
            w->spots[i]->wanted = true;
            return;
        }
    }
    if (w->n_spots == SPOTS_MAX) {
        w->deaf = true;
        return;
    }
    struct spot *s = mem_zalloc(sizeof *s);
    s->w = w;
    s->dir = mem_strdup(dir);
    s->wanted = true;
    ASSERT(uv_fs_event_init(io_loop_uv(w->loop), &s->ev) == 0);
    s->ev.data = s;
    if (uv_fs_event_start(&s->ev, on_event, dir, 0) < 0) {
        w->deaf = true;
        spot_close(s);
        return;
    }
    uv_unref((uv_handle_t *)&s->ev);
    w->deaf = w->deaf || is_remote(dir);
    w->spots[w->n_spots++] = s;
}

/* Wants every folder in which the meaning of an absolute path is decided: that of each symbolic link on the way,
 * that of the end, or the last one that exists. Writes the path without links to `real` if there is one. */
static bool want_way(struct io_watch *w, const char *path, char real[PATH_MAX])
{
    char todo[2 * PATH_MAX], link[PATH_MAX], next[PATH_MAX];
    int links = 0;
    real[0] = '\0';
    if ((size_t)snprintf(todo, sizeof todo, "%s", path) >= sizeof todo)
        return false;
    str rest = str_c(todo);
    while (rest.len) {
        str part;
        str_cut(rest, '/', &part, &rest);
        if (part.len == 0 || str_eq(part, S(".")))
            continue;
        if (str_eq(part, S(".."))) {
            char *slash = strrchr(real, '/');
            if (slash)
                *slash = '\0';
            continue;
        }
        if ((size_t)snprintf(next, sizeof next, "%s/" STR_FMT, real, STR_ARG(part)) >= sizeof next)
            return false;
        struct stat st;
        const char *here = real[0] ? real : "/";
        if (lstat(next, &st) < 0) {
            want_dir(w, here);
            return false;
        }
        bool last = str_trim(rest).len == 0;
        if (last || S_ISLNK(st.st_mode))
            want_dir(w, here);
        if (!S_ISLNK(st.st_mode)) {
            memcpy(real, next, strlen(next) + 1);
            continue;
        }
        ssize_t n = readlink(next, link, sizeof link - 1);
        if (n <= 0 || ++links > LINKS_MAX)
            return false;
        char joined[2 * PATH_MAX];
        int len = snprintf(joined, sizeof joined, "%.*s/" STR_FMT, (int)n, link, STR_ARG(rest));
        if (len < 0 || (size_t)len >= sizeof joined)
            return false;
        memcpy(todo, joined, (size_t)len + 1);
        rest = str_c(todo);
        if (link[0] == '/')
            real[0] = '\0';
    }
    return true;
}

static void want_all(struct io_watch *w)
{
    char real[PATH_MAX], file[2 * PATH_MAX], ignored[PATH_MAX];
    bool there = want_way(w, w->path, real);
    if (w->kind == IO_WATCH_FILE || !there)
        return;
    want_dir(w, real[0] ? real : "/");
    for (size_t i = 0; i < w->state.n; i++) {
        struct stat st;
        snprintf(file, sizeof file, "%s/%s", real, w->state.marks[i].name);
        if (lstat(file, &st) == 0 && S_ISLNK(st.st_mode))
            want_way(w, file, ignored);
    }
}

static void listen_now(struct io_watch *w)
{
    w->deaf = false;
    for (size_t i = 0; i < w->n_spots; i++)
        w->spots[i]->wanted = false;
    want_all(w);
    for (size_t i = 0; i < w->n_spots;) {
        struct spot *s = w->spots[i];
        if (s->wanted) {
            w->deaf = w->deaf || is_remote(s->dir);
            i++;
            continue;
        }
        w->spots[i] = w->spots[--w->n_spots];
        spot_close(s);
    }
    if (w->deaf)
        io_timer_set(w->poll, POLL_MS);
    else
        io_timer_clear(w->poll);
}

/* ---- looking ---- */

/* A folder under watch that was replaced by another of the same name still listens to the old one. */
static void forget_spots(struct io_watch *w)
{
    while (w->n_spots)
        spot_close(w->spots[--w->n_spots]);
}

static void look(void *ud)
{
    struct io_watch *w = ud;
    w->first = MSEC_NEVER;
    io_timer_clear(w->quiet);
    struct state now = look_at(w);
    bool changed = !same_state(&w->state, &now);
    bool fires = changed && now.n > 0;
    state_clear(&w->state);
    w->state = now;
    /* listen first, then make sure that nothing has happened in between */
    forget_spots(w);
    listen_now(w);
    struct state again = look_at(w);
    if (!same_state(&w->state, &again))
        io_timer_set(w->quiet, QUIET_MS);
    state_clear(&again);
    if (fires)
        w->fn(w->ud);
}

struct io_watch *io_watch_new(struct io_loop *l, enum io_watch_kind kind, str path,
                              void (*fn)(void *ud), void *ud, struct error *e)
{
    char cwd[PATH_MAX] = "", whole[2 * PATH_MAX];
    bool absolute = path.len && path.ptr[0] == '/';
    if (path.len == 0 || path.len >= PATH_MAX || memchr(path.ptr, '\0', path.len)) {
        error_set(e, ERR_CONFIG, "not a path to watch");
        return NULL;
    }
    if (!absolute && !getcwd(cwd, sizeof cwd)) {
        error_sys(e, ERR_SYS, errno, "cannot tell where " STR_FMT " is", STR_ARG(path));
        return NULL;
    }
    snprintf(whole, sizeof whole, "%s%s" STR_FMT, cwd, absolute ? "" : "/", STR_ARG(path));
    struct io_watch *w = mem_zalloc(sizeof *w);
    w->loop = l;
    w->kind = kind;
    w->path = mem_strdup(whole);
    w->fn = fn;
    w->ud = ud;
    w->first = MSEC_NEVER;
    w->quiet = io_timer_new(l, "change of a watched file", look, w);
    w->poll = io_timer_new(l, "look at a watched file", look, w);
    w->state = look_at(w);
    listen_now(w);
    return w;
}

bool io_watch_polls(const struct io_watch *w)
{
    return w->deaf;
}

void io_watch_free(struct io_watch *w)
{
    if (!w)
        return;
    forget_spots(w);
    io_timer_free(w->quiet);
    io_timer_free(w->poll);
    state_clear(&w->state);
    free(w->path);
    free(w);
}
