/* supervise.c: see supervise.h. Everything here runs in the supervisor's own process. */
#include "process/supervise.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "process/cgroup.h"
#include "process/exec.h"
#include "process/tree.h"
#include "process/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Arguments and environment in all; execve itself allows about 2 MiB. */
#define WORDS_MAX (4u << 20)
#define REPLIES_MAX (256u * 1024)
/* After SIGTERM: most trees have ended by then and need no second look. */
#define LOOK_AGAIN_MS 20
/* Between two rounds of SIGKILL while something is left. */
#define KILL_GAP_MIN_MS 2
#define KILL_GAP_MAX_MS 200

enum life { LIFE_IDLE, LIFE_RUNNING, LIFE_EXITED, LIFE_GONE };

/* Somebody who has been sent SIGTERM. */
struct told {
    pid_t pid;
    unsigned long long start;
    bool by_group;
};

struct sup {
    int line, children, output; /* descriptors, -1 = closed */
    bool closing;               /* no luaswap any more: end when nothing is left */
    enum life life;
    pid_t group;   /* of the command, 0 = not started */
    pid_t leader;  /* likewise; 0 when it has been reaped */
    pid_t stopper; /* likewise */
    bool terming;  /* SIGTERM was sent: newcomers may need it too */
    msec look_at;  /* when to look for them, MSEC_NEVER = when somebody ends */
    struct told *told;
    size_t n_told;
    bool killing;
    struct cgroup cgroup;
    msec kill_at, kill_gap; /* next SIGKILL round, MSEC_NEVER = none */
    msec grace;
    struct strbuf in, out;
    struct words args, env;
    char *path;
};

/* ---- the tree ---- */

/* Marks every descendant that belongs to the command: all of ours without the stopper and what it started. */
static void mark_command(const struct sup *s, struct tree *t)
{
    tree_mark_below(t, getpid(), true);
    if (s->stopper == 0)
        return;
    tree_mark_below(t, s->stopper, false);
    struct tree_proc *p = tree_find(t, s->stopper);
    if (p)
        p->mark = false;
}

static struct told *told_of(const struct sup *s, const struct tree_proc *p)
{
    for (size_t i = 0; i < s->n_told; i++)
        if (s->told[i].pid == p->pid && s->told[i].start == p->start)
            return &s->told[i];
    return NULL;
}

static void term_one(struct sup *s, const struct tree_proc *p, bool by_group)
{
    struct told *t = told_of(s, p);
    if (!t) {
        s->told = mem_resize(s->told, s->n_told + 1, sizeof *s->told);
        t = &s->told[s->n_told++];
    }
    *t = (struct told){ .pid = p->pid, .start = p->start, .by_group = by_group };
    if (!by_group)
        tree_signal(p, SIGTERM);
    /* a suspended process would sleep through its grace */
    if (p->state == 'T')
        tree_signal(p, SIGCONT);
}

/* A look cannot be atomic, so there are more looks: who left the group between the first one and the signal
 * to it, and who was born outside of it meanwhile and has lost its parent to the signal, gets it later. Nobody
 * gets it twice, and what a handler of SIGTERM starts in order to tidy up does not get it. */
static void term_again(struct sup *s)
{
    struct tree t;
    tree_init(&t);
    if (tree_below(&t, getpid()))
        mark_command(s, &t);
    for (size_t i = 0; i < t.n; i++) {
        const struct tree_proc *p = &t.procs[i];
        if (!p->mark || p->pgid == s->group)
            continue;
        const struct told *before = told_of(s, p);
        if (before ? before->by_group : p->ppid == getpid())
            term_one(s, p, false);
    }
    tree_fini(&t);
}

/* SIGTERM to all. While the leader has not been reaped, its group cannot be another's: one call for all of its
 * members. The others one by one. */
static void term_begin(struct sup *s)
{
    struct tree t;
    tree_init(&t);
    if (tree_below(&t, getpid()))
        mark_command(s, &t);
    bool group = s->leader > 0 && kill(-s->leader, SIGTERM) == 0;
    for (size_t i = 0; i < t.n; i++)
        if (t.procs[i].mark)
            term_one(s, &t.procs[i], group && t.procs[i].pgid == s->group);
    tree_fini(&t);
    s->terming = true;
    s->look_at = clock_msec() + LOOK_AGAIN_MS;
}

static void kill_command(const struct sup *s)
{
    struct tree t;
    tree_init(&t);
    if (tree_scan(&t))
        mark_command(s, &t);
    bool group = s->leader > 0 && kill(-s->leader, SIGKILL) == 0;
    for (size_t i = 0; i < t.n; i++)
        if (t.procs[i].mark && !(group && t.procs[i].pgid == s->group))
            tree_signal(&t.procs[i], SIGKILL);
    tree_fini(&t);
}

static void kill_stopper(const struct sup *s)
{
    if (s->stopper == 0)
        return;
    struct tree t;
    tree_init(&t);
    if (tree_scan(&t))
        tree_mark_below(&t, s->stopper, true);
    kill(-s->stopper, SIGKILL);
    for (size_t i = 0; i < t.n; i++)
        if (t.procs[i].mark)
            tree_signal(&t.procs[i], SIGKILL);
    tree_fini(&t);
}

static void kill_round(struct sup *s)
{
    cgroup_kill(&s->cgroup);
    kill_command(s);
    kill_stopper(s);
    s->kill_at = clock_msec() + s->kill_gap;
    s->kill_gap = s->kill_gap * 2 > KILL_GAP_MAX_MS ? KILL_GAP_MAX_MS : s->kill_gap * 2;
}

static void kill_begin(struct sup *s)
{
    s->killing = true;
    s->terming = false;
    s->look_at = MSEC_NEVER;
    s->kill_gap = KILL_GAP_MIN_MS;
    kill_round(s);
}

/* Is the stopper (and what it started) all that we are the parent of? */
static bool only_stopper(const struct sup *s)
{
    struct tree t;
    bool only = false;
    pid_t self = getpid();
    tree_init(&t);
    if (tree_scan(&t)) {
        only = true;
        for (size_t i = 0; i < t.n; i++)
            if (t.procs[i].ppid == self && t.procs[i].pid != s->stopper)
                only = false;
    }
    tree_fini(&t);
    return only;
}

/* ---- the line ---- */

static void reply(struct sup *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void reply(struct sup *s, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0 && s->line >= 0) {
        strbuf_add(&s->out, str_n(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
        strbuf_addc(&s->out, '\n');
    }
}

static const char *life_name(enum life l)
{
    static const char *const names[] = { "idle", "running", "exited", "gone" };
    return names[l];
}

static void reply_end(struct sup *s, const char *prefix, int status)
{
    if (WIFSIGNALED(status))
        reply(s, "%ssignaled %d", prefix, WTERMSIG(status));
    else
        reply(s, "%sexited %d", prefix, WEXITSTATUS(status));
}

/* Takes what has ended and says so: always before an answer to a later question. */
static void reap(struct sup *s)
{
    pid_t pid;
    int status;
    bool some = false;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        some = true;
        if (pid == s->leader) {
            s->leader = 0;
            s->life = LIFE_EXITED;
            reply_end(s, "", status);
        } else if (pid == s->stopper) {
            s->stopper = 0;
            reply_end(s, "stopper ", status);
        }
    }
    bool none = pid < 0 && errno == ECHILD;
    if (s->life == LIFE_EXITED && (none || (some && s->stopper && only_stopper(s)))) {
        s->life = LIFE_GONE;
        reply(s, "gone");
    }
    if (none) {
        s->killing = s->terming = false;
        s->kill_at = s->look_at = MSEC_NEVER;
    } else if (some && s->killing) {
        /* what the dead have left behind is our child now */
        s->kill_gap = KILL_GAP_MIN_MS;
        kill_round(s);
    } else if (some && s->terming) {
        term_again(s);
    }
}

static bool nothing_left(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

/* The line has ended or luaswap says good-bye: from now on we decide ourselves. */
static void close_line(struct sup *s)
{
    if (s->line >= 0)
        close(s->line);
    s->line = -1;
    if (s->closing)
        return;
    s->closing = true;
    if (s->killing || nothing_left())
        return;
    term_begin(s);
    kill_stopper(s);
    s->kill_gap = KILL_GAP_MIN_MS;
    s->kill_at = clock_msec() + s->grace;
}

static void do_start(struct sup *s)
{
    if (s->life != LIFE_IDLE) {
        reply(s, "error started before");
        return;
    }
    pid_t pid = exec_words(&s->args, &s->env, s->path, s->output, &s->cgroup);
    words_clear(&s->args);
    if (s->output >= 0)
        close(s->output);
    s->output = -1;
    if (pid < 0) {
        reply(s, "failed %d", (int)-pid);
        return;
    }
    s->leader = s->group = pid;
    s->life = LIFE_RUNNING;
    reply(s, "started %d", (int)pid);
}

static void do_stopper(struct sup *s)
{
    if (s->stopper) {
        reply(s, "error a stopper runs");
        return;
    }
    pid_t pid = exec_words(&s->args, &s->env, s->path, -1, NULL);
    words_clear(&s->args);
    if (pid < 0)
        reply(s, "stopper failed %d", (int)-pid);
    else
        s->stopper = pid;
}

/* A word as an owned text; NULL when it is malformed, holds a NUL or would pass the limit. */
static char *take_text(str word, size_t already)
{
    struct strbuf b = STRBUF(WIRE_LINE_MAX);
    char *text = NULL;
    if (wire_text(&b, word) && (b.len == 0 || !memchr(b.ptr, '\0', b.len)) &&
        already + b.len < WORDS_MAX) {
        text = mem_resize(NULL, b.len + 1, 1);
        if (b.len)
            memcpy(text, b.ptr, b.len);
        text[b.len] = '\0';
    }
    strbuf_fini(&b);
    return text;
}

static void do_word(struct sup *s, str verb, str word)
{
    char *text = take_text(word, s->args.bytes + s->env.bytes);
    if (!text) {
        reply(s, "error bad word");
    } else if (str_eq(verb, S("arg"))) {
        words_add(&s->args, text);
    } else if (str_eq(verb, S("env"))) {
        words_add(&s->env, text);
    } else {
        free(s->path);
        s->path = text;
    }
}

static void do_line(struct sup *s, str line)
{
    str verb, word = STR_NONE;
    int n = 0;
    wire_word(&line, &verb);
    bool has_word = wire_word(&line, &word);
    if (has_word && (str_eq(verb, S("arg")) || str_eq(verb, S("env")) || str_eq(verb, S("path")))) {
        do_word(s, verb, word);
    } else if (str_eq(verb, S("start"))) {
        do_start(s);
    } else if (str_eq(verb, S("stopper"))) {
        do_stopper(s);
    } else if (str_eq(verb, S("term"))) {
        term_begin(s);
    } else if (str_eq(verb, S("kill"))) {
        if (!nothing_left())
            kill_begin(s);
    } else if (str_eq(verb, S("killstopper"))) {
        kill_stopper(s);
    } else if (str_eq(verb, S("grace")) && wire_int(word, &n) && n >= 0) {
        s->grace = n;
    } else if (str_eq(verb, S("ping")) && wire_int(word, &n)) {
        reap(s);
        reply(s, "pong %d %s", n, life_name(s->life));
    } else if (str_eq(verb, S("status"))) {
        reap(s);
        reply(s, "status %s %d %d", life_name(s->life), (int)s->leader, (int)s->stopper);
    } else if (str_eq(verb, S("bye"))) {
        close_line(s);
    } else {
        reply(s, "error unknown");
    }
}

static void read_line_fd(struct sup *s)
{
    if (!strbuf_reserve(&s->in, 16384)) {
        close_line(s); /* a line beyond all limits: this is not luaswap */
        return;
    }
    ssize_t n = recv(s->line, s->in.ptr + s->in.len, 16384, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_line(s);
        return;
    }
    strbuf_took(&s->in, (size_t)n);
    size_t done = 0, used;
    str line;
    while (s->line >= 0 && wire_line(str_sub(strbuf_str(&s->in), done, s->in.len), &line, &used)) {
        done += used;
        do_line(s, line);
    }
    strbuf_consume(&s->in, done);
    /* the command line has been used: give its memory back */
    if (s->in.len == 0)
        strbuf_fini(&s->in);
}

static void flush(struct sup *s)
{
    while (s->line >= 0 && s->out.len) {
        ssize_t n = send(s->line, s->out.ptr, s->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            strbuf_consume(&s->out, (size_t)n);
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            close_line(s);
    }
}

/* ---- life ---- */

static int setup(struct sup *s)
{
    *s = (struct sup){ .line = SUPERVISE_LINE_FD,
                       .output = SUPERVISE_OUTPUT_FD,
                       .cgroup = { -1, -1, "" },
                       .grace = SUPERVISE_GRACE_MS,
                       .kill_at = MSEC_NEVER,
                       .look_at = MSEC_NEVER };
    strbuf_init(&s->in, WIRE_LINE_MAX + 16384);
    strbuf_init(&s->out, REPLIES_MAX);
    struct pollfd have = { .fd = s->line };
    if (poll(&have, 1, 0) < 0 || (have.revents & POLLNVAL)) {
        fputs("--supervise is how luaswap starts a model; it is not for people\n", stderr);
        return -1;
    }
    syscall(SYS_close_range, SUPERVISE_OUTPUT_FD + 1, ~0U, 0);
    fcntl(s->line, F_SETFD, FD_CLOEXEC);
    fcntl(s->output, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_NAME, "luaswap-superv");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    /* Crashes must stay visible, children must be noticed; nothing else may end us. */
    static const int keep[] = {
        SIGCHLD, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS
    };
    for (int sig = 1; sig < NSIG; sig++) {
        bool ignore = true;
        for (size_t i = 0; i < ARRAY_LEN(keep); i++)
            ignore = ignore && sig != keep[i];
        if (ignore)
            signal(sig, SIG_IGN);
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    s->children = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->children < 0 ? -1 : 0;
}

static int wait_ms(const struct sup *s)
{
    msec at = s->kill_at < s->look_at ? s->kill_at : s->look_at;
    if (at == MSEC_NEVER)
        return -1;
    msec left = at - clock_msec();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void turn(struct sup *s)
{
    struct pollfd fds[2] = {
        { .fd = s->children, .events = POLLIN },
        { .fd = s->line, .events = (short)(s->out.len ? POLLIN | POLLOUT : POLLIN) },
    };
    if (poll(fds, 2, wait_ms(s)) < 0)
        return;
    if (fds[0].revents) {
        struct signalfd_siginfo info[8];
        while (read(s->children, info, sizeof info) > 0)
            ;
        reap(s);
    }
    if (s->line >= 0 && (fds[1].revents & (POLLIN | POLLHUP | POLLERR)))
        read_line_fd(s);
    flush(s);
    if (s->look_at != MSEC_NEVER && clock_msec() >= s->look_at) {
        s->look_at = MSEC_NEVER;
        term_again(s);
    }
    if (s->kill_at != MSEC_NEVER && clock_msec() >= s->kill_at) {
        if (s->killing)
            kill_round(s);
        else
            kill_begin(s);
    }
}

int supervise_main(int argc, char **argv)
{
    struct sup s;
    (void)argc;
    (void)argv; /* the label is for ps */
    if (setup(&s) < 0)
        return 2;
    reply(&s, "hello %d %d", SUPERVISE_VERSION, (int)getpid());
    flush(&s);
    cgroup_open(&s.cgroup); /* now: often the command is sent only later */
    while (!s.closing || !nothing_left())
        turn(&s);
    cgroup_close(&s.cgroup);
    words_clear(&s.args);
    words_clear(&s.env);
    free(s.path);
    free(s.told);
    strbuf_fini(&s.in);
    strbuf_fini(&s.out);
    return 0;
}
