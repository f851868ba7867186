/* policy_watch.c: see policy_watch.h. */
#include "main/policy_watch.h"

#include "base/log.h"

struct policy_watched {
    char *path;
    struct io_watch *io; /* NULL: it could not be watched */
};

static void drop(struct policy_watched *p)
{
    io_watch_free(p->io);
    free(p->path);
}

/* Moves the watch of that path over from the old ones, or makes one. */
static void add(struct policy_watch *w, struct policy_watch *old, struct io_loop *l, str path, void (*fn)(void *ud), void *ud)
{
    for (size_t i = 0; i < w->len; i++)
        if (str_eq(str_c(w->at[i].path), path))
            return;
    struct policy_watched *mine = &w->at[w->len++];
    for (size_t i = 0; i < old->len; i++) {
        if (!old->at[i].path || !str_eq(str_c(old->at[i].path), path))
            continue;
        *mine = old->at[i];
        old->at[i] = (struct policy_watched){ 0 };
        return;
    }
    struct error e = { 0 };
    mine->path = mem_zalloc(path.len + 1);
    memcpy(mine->path, path.ptr, path.len);
    mine->io = io_watch_new(l, IO_WATCH_FILE, path, fn, ud, &e);
    if (!mine->io)
        log_warn("config", "%s is not watched: %s", mine->path, e.msg);
    else
        log_info("config", "watching %s%s", mine->path, io_watch_polls(mine->io) ? " (a look every 2 s)" : "");
}

void policy_watch_set(struct policy_watch *w, struct io_loop *l, const struct config *now, const struct config *next,
                      void (*fn)(void *ud), void *ud)
{
    const struct config *const both[] = { now, next };
    struct policy_watch old = *w;
    size_t n = (now ? now->n_policies : 0) + (next ? next->n_policies : 0);
    *w = (struct policy_watch){ .at = n ? mem_calloc(n, sizeof *w->at) : NULL };
    for (size_t k = 0; k < ARRAY_LEN(both); k++)
        for (size_t i = 0; both[k] && i < both[k]->n_policies; i++)
            if (both[k]->policies[i].file.len > 0)
                add(w, &old, l, both[k]->policies[i].file, fn, ud);
    policy_watch_clear(&old);
}

void policy_watch_clear(struct policy_watch *w)
{
    for (size_t i = 0; i < w->len; i++)
        drop(&w->at[i]);
    free(w->at);
    *w = (struct policy_watch){ 0 };
}
