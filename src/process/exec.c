/* exec.c: see exec.h. */
#include "process/exec.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void words_add(struct words *w, char *text)
{
    w->v = mem_resize(w->v, w->n + 2, sizeof *w->v);
    w->bytes += strlen(text) + 1;
    w->v[w->n++] = text;
    w->v[w->n] = NULL;
}

void words_clear(struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->v[i]);
    free(w->v);
    *w = (struct words){ 0 };
}

static size_t name_len(const char *entry)
{
    return strcspn(entry, "=");
}

/* Ours, then the additions; of entries with one name the last stays. The texts are borrowed. */
static char **merged_env(const struct words *env)
{
    size_t ours = 0, n = 0;
    while (environ[ours])
        ours++;
    char **all = mem_calloc(ours + env->n + 1, sizeof *all);
    for (size_t i = 0; i < ours + env->n; i++) {
        char *entry = i < ours ? environ[i] : env->v[i - ours];
        size_t len = name_len(entry), k = 0;
        while (k < n && (name_len(all[k]) != len || memcmp(all[k], entry, len) != 0))
            k++;
        all[k] = entry;
        if (k == n)
            n++;
    }
    return all;
}

/* As the shell finds a program, but always by the PATH given, never by one in `env`. Returns on failure. */
static int exec_by_path(const char *path, char **argv, char **env)
{
    const char *file = argv[0];
    if (file[0] == '\0')
        return ENOENT;
    if (strchr(file, '/')) {
        execve(file, argv, env);
        return errno;
    }
    bool denied = false;
    str rest = str_c(path), dir;
    char buf[4096];
    for (bool more = rest.len > 0; more;) {
        more = str_cut(rest, ':', &dir, &rest);
        if (dir.len == 0)
            dir = S("."); /* POSIX: an empty entry is the working directory */
        int n = snprintf(buf, sizeof buf, STR_FMT "/%s", STR_ARG(dir), file);
        if (n < 0 || (size_t)n >= sizeof buf)
            continue;
        execve(buf, argv, env);
        if (errno == EACCES)
            denied = true;
        else if (errno != ENOENT && errno != ENOTDIR)
            return errno;
    }
    return denied ? EACCES : ENOENT;
}

/* fork(), into the group at once where the kernel can (clone3, Linux 5.7; refused by some containers): moving a process
 * that runs waits for every CPU, 10 ms and more. *ret_inside: no need to enter. The raw call leaves out the C library's
 * preparations for a child, which only makes system calls here until it becomes the command. */
static pid_t fork_into(const struct cgroup *cgroup, bool *ret_inside)
{
    *ret_inside = true;
    if (!cgroup || cgroup->dir < 0)
        return fork();
    struct clone_args how = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned long long)cgroup->dir };
    long pid = syscall(SYS_clone3, &how, sizeof how);
    if (pid >= 0)
        return (pid_t)pid;
    *ret_inside = false;
    return fork();
}

/* In the new process. `output` < 0: dropped; `cgroup`: to be entered. */
_Noreturn static void be_child(const struct words *args, char **env, const char *path, int output,
                               const struct cgroup *cgroup, int report, pid_t parent)
{
    setsid();
    if (cgroup)
        cgroup_enter(cgroup);
    /* If the supervisor itself is killed, the command must not go on as if somebody watched it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDWR);
    int fail = 0;
    if (null < 0 || dup2(null, 0) < 0 || dup2(output < 0 ? null : output, 1) < 0 || dup2(1, 2) < 0)
        fail = errno;
    if (null > 2)
        close(null);
    if (!fail)
        fail = exec_by_path(path ? path : "", args->v, env);
    while (write(report, &fail, sizeof fail) < 0 && errno == EINTR)
        ;
    _exit(127);
}

pid_t exec_words(const struct words *args, const struct words *add, const char *path, int output,
                 const struct cgroup *cgroup)
{
    int report[2];
    if (args->n == 0)
        return -EINVAL;
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    char **env = merged_env(add);
    bool inside;
    pid_t parent = getpid(), pid = fork_into(cgroup, &inside);
    if (pid == 0)
        be_child(args, env, path, output, inside ? NULL : cgroup, report[1], parent);
    int fail = pid < 0 ? errno : 0;
    close(report[1]);
    free(env);
    if (pid > 0) {
        /* Ends without a byte when execve closed the other end. */
        ssize_t n;
        while ((n = read(report[0], &fail, sizeof fail)) < 0 && errno == EINTR)
            ;
        if (n == (ssize_t)sizeof fail)
            waitpid(pid, NULL, 0);
        else
            fail = 0;
    }
    close(report[0]);
    return fail ? -fail : pid;
}
