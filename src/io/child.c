/* child.c: see child.h.
 *
 * Not uv_spawn: that one forks, and a fork copies the tables of all of our memory, a millisecond and more when we
 * hold large bodies, while a model waits to be started. vfork copies nothing; the child borrows our memory until it
 * has become another program, so all it does is in become() and made of system calls only.
 */
#include "io/child.h"

#include "base/check.h"
#include "io/uvloop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME_BYTES 4096

extern char **environ;

struct io_child {
    uv_signal_t ends; /* SIGCHLD, until it has ended */
    pid_t pid;
    io_exit_fn *exited;
    void *ud;
    bool ended;
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void on_sigchld(uv_signal_t *h, int sig)
{
    struct io_child *c = h->data;
    int status;
    pid_t rc;
    (void)sig;
    while ((rc = waitpid(c->pid, &status, WNOHANG)) < 0 && errno == EINTR)
        ;
    if (rc == 0)
        return;
    c->ended = true;
    uv_signal_stop(h);
    if (rc < 0) /* somebody else has reaped it: its end is all that is known */
        c->exited(c->ud, -1, 0);
    else
        c->exited(c->ud, WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* Tries the entries of our PATH, as execvp does, but without its allocations. Returns on failure. */
static int exec_somewhere(const struct io_child_conf *conf, char *name)
{
    char *const *argv = (char *const *)(uintptr_t)conf->argv; /* execve has no const; it does not write either */
    char *const *env = conf->env ? (char *const *)(uintptr_t)conf->env : environ;
    const char *path = getenv("PATH");
    size_t len = strlen(conf->file);
    int fail = ENOENT;
    if (strchr(conf->file, '/')) {
        execve(conf->file, argv, env);
        return errno;
    }
    for (str rest = str_c(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir; rest.len;) {
        str_cut(rest, ':', &dir, &rest);
        if (dir.len == 0)
            dir = S(".");
        if (dir.len + len + 2 > NAME_BYTES)
            continue;
        memcpy(name, dir.ptr, dir.len);
        name[dir.len] = '/';
        memcpy(name + dir.len + 1, conf->file, len + 1);
        execve(name, argv, env);
        if (errno != ENOENT && errno != ENOTDIR)
            fail = errno;
    }
    return fail;
}

/* Number i becomes what conf says. Those we hold are first moved above all targets, so that none is overwritten
 * before its turn. */
static bool place_descriptors(const struct io_child_conf *conf, int *moved)
{
    for (size_t i = 0; i < conf->n_fds; i++)
        if (conf->fds[i] >= 0 && (moved[i] = fcntl(conf->fds[i], F_DUPFD_CLOEXEC, IO_CHILD_FDS)) < 0)
            return false;
    for (size_t i = 0; i < conf->n_fds; i++) {
        int fd = (int)i;
        if (conf->fds[i] >= 0) {
            if (dup2(moved[i], fd) < 0)
                return false;
        } else if (i < 3) {
            int null = open("/dev/null", i == 0 ? O_RDONLY : O_RDWR);
            if (null < 0 || (null != fd && dup2(null, fd) < 0))
                return false;
            if (null != fd)
                close(null);
        } else {
            close(fd);
        }
    }
    return true;
}

/* In the child, in our memory, all signals blocked. `name` and `moved` are room to write in. */
_Noreturn static void become(const struct io_child_conf *conf, int report, char *name, int *moved)
{
    struct sigaction usual = { .sa_handler = SIG_DFL };
    sigset_t none;
    int fail;
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            (void)sigaction(sig, &usual, NULL); /* refused for those of the C library */
    setsid();
    fail = place_descriptors(conf, moved) ? 0 : errno;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!fail)
        fail = exec_somewhere(conf, name);
    while (write(report, &fail, sizeof fail) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* 0 and *ret, or an errno. */
static int spawn(const struct io_child_conf *conf, pid_t *ret)
{
    char name[NAME_BYTES];
    int report[2], moved[IO_CHILD_FDS], fail = 0;
    sigset_t all, before;
    if (pipe2(report, O_CLOEXEC) < 0)
        return errno;
    /* out of the way of the child's own numbers */
    int high = fcntl(report[1], F_DUPFD_CLOEXEC, IO_CHILD_FDS);
    if (high < 0)
        fail = errno;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fail ? -1 : vfork();
    if (pid == 0)
        become(conf, high, name, moved);
    if (pid < 0 && !fail)
        fail = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (high >= 0)
        close(high);
    if (pid > 0) {
        /* ends without a byte when execve closed the other end */
        ssize_t n;
        while ((n = read(report[0], &fail, sizeof fail)) < 0 && errno == EINTR)
            ;
        if (n != (ssize_t)sizeof fail)
            fail = 0;
        else
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
    }
    close(report[0]);
    *ret = pid;
    return fail;
}

struct io_child *io_child_spawn(struct io_loop *l, const struct io_child_conf *conf,
                                io_exit_fn *exited, void *ud, struct error *e)
{
    ASSERT(conf->n_fds >= 3 && conf->n_fds <= IO_CHILD_FDS);
    struct io_child *c = mem_zalloc(sizeof *c);
    c->exited = exited;
    c->ud = ud;
    c->ends.data = c;
    int rc = -uv_signal_init(io_loop_uv(l), &c->ends);
    ASSERT(rc == 0);
    /* before it can end */
    rc = -uv_signal_start(&c->ends, on_sigchld, SIGCHLD);
    if (rc == 0)
        rc = spawn(conf, &c->pid);
    if (rc != 0) {
        error_sys(e, ERR_SYS, rc, "cannot start %s", conf->file);
        uv_close((uv_handle_t *)&c->ends, on_closed);
        return NULL;
    }
    return c;
}

int io_child_pid(const struct io_child *c)
{
    return c && !c->ended ? c->pid : 0;
}

void io_child_kill(struct io_child *c, int signal)
{
    if (io_child_pid(c))
        kill(c->pid, signal);
}

void io_child_free(struct io_child *c)
{
    if (c)
        uv_close((uv_handle_t *)&c->ends, on_closed);
}
