/* tree.c: see tree.h. */
#include "process/tree.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

void tree_init(struct tree *t)
{
    *t = (struct tree){ 0 };
}

void tree_fini(struct tree *t)
{
    free(t->procs);
    tree_init(t);
}

static bool to_pid(str s, pid_t *ret)
{
    uint64_t v;
    if (!str_to_u64(s, &v) || v > INT_MAX)
        return false;
    *ret = (pid_t)v;
    return true;
}

/* pid (comm) state ppid pgrp session ... starttime is field 22. comm may hold blanks and ')'. */
bool tree_parse_stat(str text, struct tree_proc *ret)
{
    struct tree_proc p = { 0 };
    str head, rest, word;
    if (!str_cut(text, ' ', &head, &rest) || !to_pid(head, &p.pid))
        return false;
    size_t close = rest.len;
    while (close > 0 && rest.ptr[close - 1] != ')')
        close--;
    rest = str_trim(str_sub(rest, close, rest.len));
    for (int field = 3; field <= 22; field++) {
        if (rest.len == 0)
            return false;
        str_cut(rest, ' ', &word, &rest);
        uint64_t v;
        switch (field) {
        case 3:
            p.state = word.len ? word.ptr[0] : '?';
            break;
        case 4:
            if (!to_pid(word, &p.ppid))
                return false;
            break;
        case 5:
            /* kernel threads have 0, and -1 is possible for a process that is just ending */
            if (!to_pid(word, &p.pgid))
                p.pgid = 0;
            break;
        case 6:
            if (!to_pid(word, &p.sid))
                p.sid = 0;
            break;
        case 22:
            if (!str_to_u64(word, &v))
                return false;
            p.start = v;
            break;
        default:
            break;
        }
    }
    *ret = p;
    return true;
}

static bool read_stat(pid_t pid, struct tree_proc *ret)
{
    char path[40], buf[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buf, sizeof buf);
    close(fd);
    return n > 0 && tree_parse_stat(str_n(buf, (size_t)n), ret);
}

static int by_pid(const void *a, const void *b)
{
    pid_t x = ((const struct tree_proc *)a)->pid, y = ((const struct tree_proc *)b)->pid;
    return (x > y) - (x < y);
}

static struct tree_proc *next_slot(struct tree *t)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->procs = mem_resize(t->procs, t->cap, sizeof *t->procs);
    }
    return &t->procs[t->n];
}

/* Appends the children of one thread. False when there is no such file. */
static bool add_children(struct tree *t, pid_t pid, const char *tid)
{
    char path[80], buf[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t have = 0;
    for (ssize_t n; (n = read(fd, buf + have, sizeof buf - have)) > 0;) {
        str rest = str_n(buf, have + (size_t)n), word, tail;
        while (str_cut(rest, ' ', &word, &tail)) {
            pid_t child;
            if (to_pid(word, &child) && read_stat(child, next_slot(t)))
                t->procs[t->n++].mark = true;
            rest = tail;
        }
        have = rest.len; /* a number cut in two */
        memmove(buf, rest.ptr ? rest.ptr : buf, have);
    }
    close(fd);
    return true;
}

bool tree_below(struct tree *t, pid_t pid)
{
    bool works = false;
    t->n = 0;
    for (size_t at = 0; at == 0 || at <= t->n; at++) {
        char path[40];
        pid_t of = at ? t->procs[at - 1].pid : pid;
        snprintf(path, sizeof path, "/proc/%d/task", (int)of);
        DIR *dir = opendir(path);
        for (struct dirent *d; dir && (d = readdir(dir));)
            if (chr_digit(d->d_name[0]))
                works = add_children(t, of, d->d_name) || works;
        if (dir)
            closedir(dir);
    }
    if (!works) {
        if (!tree_scan(t))
            return false;
        tree_mark_below(t, pid, true);
        return true;
    }
    if (t->n)
        qsort(t->procs, t->n, sizeof *t->procs, by_pid);
    return true;
}

bool tree_scan(struct tree *t)
{
    t->n = 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        return false;
    for (struct dirent *d; (d = readdir(dir));) {
        pid_t pid;
        if (!chr_digit(d->d_name[0]) || !to_pid(str_c(d->d_name), &pid))
            continue;
        if (read_stat(pid, next_slot(t)))
            t->n++;
    }
    closedir(dir);
    if (t->n)
        qsort(t->procs, t->n, sizeof *t->procs, by_pid);
    return true;
}

struct tree_proc *tree_find(const struct tree *t, pid_t pid)
{
    struct tree_proc key = { .pid = pid };
    return t->n ? bsearch(&key, t->procs, t->n, sizeof *t->procs, by_pid) : NULL;
}

/* Does p descend from root? Walks up; the snapshot is not atomic, so a loop is conceivable: bounded. */
static bool descends(const struct tree *t, const struct tree_proc *p, pid_t root)
{
    for (size_t steps = 0; p && p->ppid > 0 && steps <= t->n; steps++) {
        if (p->ppid == root)
            return true;
        p = tree_find(t, p->ppid);
    }
    return false;
}

size_t tree_mark_below(struct tree *t, pid_t pid, bool mark)
{
    size_t marked = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (descends(t, &t->procs[i], pid))
            t->procs[i].mark = mark;
        marked += t->procs[i].mark;
    }
    return marked;
}

bool tree_has_env(pid_t pid, str entry)
{
    char path[40], chunk[4096];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    /* Compared as it streams by: `at` is how much of entry the current variable has matched, SIZE_MAX = not. */
    size_t at = 0;
    bool found = false;
    for (ssize_t n; !found && (n = read(fd, chunk, sizeof chunk)) > 0;) {
        for (ssize_t i = 0; i < n && !found; i++) {
            if (chunk[i] == '\0') {
                found = at == entry.len;
                at = 0;
            } else if (at < entry.len && chunk[i] == entry.ptr[at]) {
                at++;
            } else {
                at = SIZE_MAX;
            }
        }
    }
    close(fd);
    return found;
}

void tree_signal(const struct tree_proc *p, int sig)
{
    if (p->state == 'Z' || p->pid <= 1)
        return;
    /* The descriptor pins the process: after the comparison, the pid cannot come to mean another one. */
    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (fd < 0 && errno != ENOSYS)
        return;
    struct tree_proc now;
    if (read_stat(p->pid, &now) && now.start == p->start) {
        if (fd < 0)
            kill(p->pid, sig);
        else
            syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
    }
    if (fd >= 0)
        close(fd);
}
