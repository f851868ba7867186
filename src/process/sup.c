/* sup.c: see sup.h. */
#include "process/sup.h"

#include "base/check.h"
#include "base/log.h"
#include "base/rand.h"
#include "io/child.h"
#include "io/fd.h"
#include "io/timer.h"
#include "process/supervise.h"
#include "process/tree.h"
#include "process/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* As much as an unprivileged pipe may hold: room for a burst while the loop is busy elsewhere. */
#define PIPE_BYTES (1 << 20)
#define READ_CHUNK (32u * 1024)
/* A flooding command must not starve the loop: per turn at most so much. */
#define READS_PER_TURN 8
#define OUT_MAX (8u << 20)
#define SWEEP_GAP_MS 20
/* From the release to the end of a supervisor that has nothing left. */
#define LINGER_MS 10

struct sup {
    struct io_loop *loop;
    const struct sup_cb *cb;
    void *ud;
    struct list node; /* in the list of the parked */
    bool released;
    struct io_child *child;
    int line, output; /* -1 = closed */
    struct io_fd *line_w, *output_w;
    struct strbuf in, out;
    struct io_timer *sweep;  /* of a lost tree */
    struct io_timer *linger; /* after the release */
    struct io_call lost_call;
    char mark[sizeof SUPERVISE_MARK + 40]; /* "LUASWAP_RUN=..." in the tree's environment */
    int pid;
    bool started, gone, lost, failed;
    bool lingers;
    bool exited; /* told with the batch of lines it came in */
    struct sup_event exit_event;
    unsigned clean_sweeps;
    unsigned busy; /* inside functions that still need the object */
};

const char *sup_program(void)
{
    static const char self[] = "/proc/self/exe";
    static char path[4096];
    const char *p = getenv("LUASWAP_SUPERVISOR");
    if (p && p[0])
        return p;
    /* By its name while it is there (under valgrind the link itself leads to valgrind); by the link when the file
     * was replaced or removed since: then it is still the version that runs. */
    ssize_t n = readlink(self, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0 && access(path, X_OK) == 0 ? path : self;
}

static void settle(struct sup *s);

static void leave(struct sup *s)
{
    if (--s->busy == 0 && s->released && !s->lingers)
        settle(s);
}

static void tell(struct sup *s, enum sup_kind kind, int n, int signal)
{
    struct sup_event ev = { .kind = kind, .n = n, .signal = signal };
    if (!s->released)
        s->cb->event(s->ud, &ev);
}

/* ---- output ---- */

static void close_output(struct sup *s)
{
    io_fd_free(s->output_w);
    s->output_w = NULL;
    if (s->output >= 0)
        close(s->output);
    s->output = -1;
}

/* Reads up to `chunks` times. */
static void read_output(struct sup *s, int chunks)
{
    char buf[READ_CHUNK];
    while (!s->released && s->output >= 0 && chunks-- > 0) {
        ssize_t n = read(s->output, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close_output(s);
            return;
        }
        s->cb->output(s->ud, str_n(buf, (size_t)n));
    }
}

static void on_output(void *ud, unsigned events)
{
    struct sup *s = ud;
    s->busy++;
    read_output(s, READS_PER_TURN);
    leave(s);
}

/* What was written before an end is in the pipe now: twice its size bounds a tree that goes on writing. */
static void drain_output(struct sup *s)
{
    read_output(s, 2 * PIPE_BYTES / (int)READ_CHUNK);
}

/* ---- the tree without its supervisor ---- */

/* Marks the live processes that belong to the lost tree; returns how many. */
static size_t mark_lost(const struct sup *s, struct tree *t)
{
    size_t n = 0;
    pid_t self = getpid();
    for (size_t i = 0; i < t->n; i++) {
        struct tree_proc *p = &t->procs[i];
        if (p->state == 'Z' || p->state == 'X' || p->pid == self)
            continue;
        bool ours = s->pid > 0 && (p->sid == s->pid || p->pgid == s->pid);
        if (!ours)
            ours = tree_has_env(p->pid, str_c(s->mark));
        p->mark = ours;
    }
    /* what they have started, also with an environment of its own choice */
    for (size_t i = 0; i < t->n; i++) {
        struct tree_proc *p = &t->procs[i], *up = p;
        for (size_t steps = 0; !p->mark && up && up->ppid > 1 && steps < t->n; steps++) {
            up = tree_find(t, up->ppid);
            if (up && up->mark && p->pid != self && p->state != 'Z')
                p->mark = true;
        }
        n += p->mark;
    }
    return n;
}

static void on_sweep(void *ud)
{
    struct sup *s = ud;
    struct tree t;
    tree_init(&t);
    size_t left = 1;
    if (tree_scan(&t)) {
        left = mark_lost(s, &t);
        for (size_t i = 0; i < t.n; i++)
            if (t.procs[i].mark)
                tree_signal(&t.procs[i], SIGKILL);
    }
    tree_fini(&t);
    /* one clean look may have missed a process that was born during it */
    s->clean_sweeps = left ? 0 : s->clean_sweeps + 1;
    if (s->clean_sweeps < 2) {
        io_timer_set(s->sweep, SWEEP_GAP_MS);
        return;
    }
    s->gone = true;
    s->busy++;
    drain_output(s);
    close_output(s);
    tell(s, SUP_GONE, 0, 0);
    leave(s);
}

/* ---- line ---- */

static void close_line(struct sup *s)
{
    io_fd_free(s->line_w);
    s->line_w = NULL;
    if (s->line >= 0)
        close(s->line);
    s->line = -1;
    strbuf_fini(&s->out);
}

/* Told later: losing the line is often noticed inside a sup_* call. */
static void on_lost(void *ud)
{
    struct sup *s = ud;
    s->busy++;
    drain_output(s);
    tell(s, SUP_LOST, 0, 0);
    leave(s);
}

static void lose(struct sup *s)
{
    close_line(s);
    if (s->lost || s->gone || s->failed)
        return;
    s->lost = true;
    io_call_post(s->loop, &s->lost_call);
}

static void flush(struct sup *s)
{
    while (s->line >= 0 && s->out.len) {
        ssize_t n = send(s->line, s->out.ptr, s->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            strbuf_consume(&s->out, (size_t)n);
        } else if (errno == EAGAIN) {
            io_fd_want(s->line_w, IO_FD_READ | IO_FD_WRITE);
            return;
        } else if (errno != EINTR) {
            lose(s);
            return;
        }
    }
    if (s->line >= 0) {
        io_fd_want(s->line_w, IO_FD_READ);
        strbuf_fini(&s->out);
    }
}

static void add_word(struct sup *s, const char *verb, str word)
{
    size_t from = s->out.len;
    strbuf_add(&s->out, str_c(verb));
    strbuf_addc(&s->out, ' ');
    wire_add(&s->out, word);
    strbuf_addc(&s->out, '\n');
    if (s->out.len - from > WIRE_LINE_MAX)
        s->out.full = true; /* the supervisor would hang up */
}

static void say(struct sup *s, const char *line)
{
    if (s->line < 0)
        return;
    strbuf_add(&s->out, str_c(line));
    strbuf_addc(&s->out, '\n');
    flush(s);
}

/* "exited N" or "signaled N" */
static bool parse_end(str verb, str line, int *ret_status, int *ret_signal)
{
    str word;
    int n;
    if (!wire_word(&line, &word) || !wire_int(word, &n))
        return false;
    bool by_signal = str_eq(verb, S("signaled"));
    if (!by_signal && !str_eq(verb, S("exited")))
        return false;
    *ret_status = by_signal ? 0 : n;
    *ret_signal = by_signal ? n : 0;
    return true;
}

static void take_stopper(struct sup *s, str line)
{
    str verb, word, rest = line;
    int n, sig;
    if (!wire_word(&rest, &verb))
        return;
    if (parse_end(verb, rest, &n, &sig))
        tell(s, SUP_STOPPER_EXITED, n, sig);
    else if (str_eq(verb, S("failed")) && wire_word(&rest, &word) && wire_int(word, &n))
        tell(s, SUP_STOPPER_FAILED, n, 0);
}

/* The leader's end is held back until it is known whether it was the tree's end too: the supervisor says both
 * in one breath. */
static void tell_exit(struct sup *s, bool gone)
{
    struct sup_event ev = s->exit_event;
    ev.gone = gone;
    if (s->exited && !s->released)
        s->cb->event(s->ud, &ev);
    else if (gone)
        tell(s, SUP_GONE, 0, 0);
    s->exited = false;
}

static void take_line(struct sup *s, str line)
{
    str verb, word = STR_NONE, rest = line;
    int n = 0, sig = 0;
    if (!wire_word(&rest, &verb))
        return;
    str args = rest;
    bool has_n = wire_word(&rest, &word) && wire_int(word, &n);
    if (str_eq(verb, S("hello")) && has_n) {
        if (n != SUPERVISE_VERSION)
            lose(s);
    } else if (str_eq(verb, S("started")) && has_n) {
        s->started = true;
        s->pid = n;
        tell(s, SUP_STARTED, n, 0);
    } else if (str_eq(verb, S("failed")) && has_n) {
        s->failed = true;
        tell(s, SUP_FAILED, n, 0);
    } else if (parse_end(verb, args, &n, &sig)) {
        drain_output(s);
        s->exited = true;
        s->exit_event = (struct sup_event){ .kind = SUP_EXITED, .n = n, .signal = sig };
    } else if (str_eq(verb, S("gone"))) {
        drain_output(s);
        close_output(s);
        s->gone = true;
        tell_exit(s, true);
    } else if (str_eq(verb, S("stopper"))) {
        take_stopper(s, args);
    } else if (str_eq(verb, S("pong")) && has_n) {
        tell_exit(s, false); /* an exit before the answer counts before it */
        tell(s, SUP_PONG, n, 0);
    }
}

static void read_line_fd(struct sup *s)
{
    if (!strbuf_reserve(&s->in, 4096)) {
        lose(s);
        return;
    }
    ssize_t n = recv(s->line, s->in.ptr + s->in.len, 4096, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        lose(s);
        return;
    }
    strbuf_took(&s->in, (size_t)n);
    size_t done = 0, used;
    str line;
    while (!s->released && wire_line(str_sub(strbuf_str(&s->in), done, s->in.len), &line, &used)) {
        done += used;
        take_line(s, line);
    }
    strbuf_consume(&s->in, done);
    tell_exit(s, false);
}

static void on_line(void *ud, unsigned events)
{
    struct sup *s = ud;
    s->busy++;
    if (events & IO_FD_WRITE)
        flush(s);
    if ((events & IO_FD_READ) && s->line >= 0)
        read_line_fd(s);
    leave(s);
}

/* The supervisor has ended: as it should after a release, else the line ends with it. */
static void on_child_exit(void *ud, int status, int signal)
{
    struct sup *s = ud;
    s->busy++;
    io_child_free(s->child);
    s->child = NULL;
    for (size_t before = 1; s->line >= 0 && !s->released && before != s->in.len;) {
        before = s->in.len;
        read_line_fd(s); /* its last words */
    }
    if (!s->released)
        lose(s);
    s->lingers = false;
    leave(s);
}

/* ---- life ---- */

static void free_sup(struct sup *s)
{
    io_call_cancel(&s->lost_call);
    io_timer_free(s->sweep);
    io_timer_free(s->linger);
    close_output(s);
    close_line(s);
    io_child_free(s->child);
    strbuf_fini(&s->in);
    strbuf_fini(&s->out);
    free(s);
}

/* Released and in nobody's hands: shut what is open, go as soon as the supervisor has. */
static void settle(struct sup *s)
{
    io_call_cancel(&s->lost_call);
    io_timer_clear(s->sweep);
    close_output(s);
    close_line(s);
    if (s->child)
        return;
    list_remove(&s->node);
    s->cb->reaped(s->ud);
    free_sup(s);
}

static bool open_pipes(int line[2], int out[2], struct error *e)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0) {
        error_sys(e, ERR_SYS, errno, "no socket for the supervisor");
        return false;
    }
    if (pipe2(out, O_CLOEXEC) < 0) {
        error_sys(e, ERR_SYS, errno, "no pipe for the output");
        close(line[0]);
        close(line[1]);
        return false;
    }
    fcntl(out[1], F_SETPIPE_SZ,
          PIPE_BYTES); /* less will do if the user has used up the allowance */
    return true;
}

/* Everything the supervisor needs, in one go. */
int sup_order(struct sup *s, const struct sup_conf *conf, struct error *e)
{
    uint64_t nonce;
    rand_bytes(&nonce, sizeof nonce);
    snprintf(s->mark, sizeof s->mark, SUPERVISE_MARK "=%d-%016" PRIx64, (int)getpid(), nonce);
    const char *path = getenv("PATH");
    add_word(s, "path", str_c(path ? path : "/usr/local/bin:/usr/bin:/bin"));
    for (size_t i = 0; i < conf->n_env; i++)
        add_word(s, "env", conf->env[i]);
    add_word(s, "env", str_c(s->mark));
    for (size_t i = 0; i < conf->n_argv; i++)
        add_word(s, "arg", conf->argv[i]);
    strbuf_add(&s->out, S("start\n"));
    if (s->out.full) {
        strbuf_fini(&s->out);
        return error_set(e, ERR_LIMIT, "command and environment are too long");
    }
    flush(s);
    return 0;
}

bool sup_lost(const struct sup *s)
{
    char c;
    return s->lost || s->line < 0 || recv(s->line, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void on_linger(void *ud)
{
    struct sup *s = ud;
    s->lingers = false;
    settle(s);
}

struct sup *sup_open(struct io_loop *l, str name, const struct sup_cb *cb, void *ud,
                     struct error *e)
{
    struct sup *s = mem_zalloc(sizeof *s);
    int line[2], out[2];
    s->loop = l;
    s->line = s->output = -1;
    strbuf_init(&s->in, WIRE_LINE_MAX);
    strbuf_init(&s->out, OUT_MAX);
    list_init(&s->node);
    io_call_init(&s->lost_call, on_lost, s);
    if (!open_pipes(line, out, e)) {
        free_sup(s);
        return NULL;
    }
    s->line = line[0];
    s->output = out[0];
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    char label[80];
    snprintf(label, sizeof label, STR_FMT, STR_ARG(name));
    const char *argv[] = { "luaswap", "--supervise", label, NULL };
    struct io_child_conf child = {
        .file = sup_program(), .argv = argv, .fds = { -1, -1, -1, line[1], out[1] }, .n_fds = 5
    };
    s->child = io_child_spawn(l, &child, on_child_exit, s, e);
    close(line[1]);
    close(out[1]);
    if (s->child)
        s->line_w = io_fd_new(l, s->line, on_line, s, e);
    if (s->line_w)
        s->output_w = io_fd_new(l, s->output, on_output, s, e);
    if (!s->output_w) {
        free_sup(s);
        return NULL;
    }
    s->cb = cb;
    s->ud = ud;
    s->sweep = io_timer_new(l, "sweep of a lost tree", on_sweep, s);
    s->linger = io_timer_new(l, "end of a supervisor", on_linger, s);
    io_fd_want(s->output_w, IO_FD_READ);
    io_fd_want(s->line_w, IO_FD_READ);
    return s;
}

void sup_term(struct sup *s)
{
    say(s, "term");
}

void sup_kill(struct sup *s)
{
    if (!s->lost)
        say(s, "kill");
    else if (!s->gone && !io_timer_armed(s->sweep))
        io_timer_set(s->sweep, 0);
}

void sup_stopper(struct sup *s, const str *argv, size_t n)
{
    if (s->line < 0)
        return;
    for (size_t i = 0; i < n; i++)
        add_word(s, "arg", argv[i]);
    if (s->out.full) {
        log_warn("proc", "cmdStop is too long to be run");
        strbuf_fini(&s->out);
        say(s, "stopper"); /* without words: answered as failed */
        return;
    }
    say(s, "stopper");
}

void sup_kill_stopper(struct sup *s)
{
    say(s, "killstopper");
}

void sup_ping(struct sup *s, int n)
{
    char line[32];
    snprintf(line, sizeof line, "ping %d", n);
    say(s, line);
}

int sup_pid(const struct sup *s)
{
    return s ? s->pid : 0;
}

void sup_release(struct sup *s, struct list *parked)
{
    if (!s)
        return;
    ASSERT(!s->released);
    flush(s);
    s->released = true;
    if (!s->child && !s->busy) {
        free_sup(s);
        return;
    }
    list_push_back(parked, &s->node);
    if (s->gone && !s->lost && s->line >= 0) {
        io_fd_free(s->line_w);
        s->line_w = NULL;
        close_output(s);
        io_timer_set(s->linger, LINGER_MS);
        s->lingers = true;
    } else if (!s->busy) {
        settle(s);
    }
}

void sup_abandon(struct list *parked)
{
    LIST_FOREACH(it, parked)
    {
        struct sup *s = LIST_ENTRY(it, struct sup, node);
        ASSERT(!s->busy);
        list_remove(it);
        free_sup(s);
    }
}
