/* io_child_test.c: programs, their descriptors and ends; readiness of descriptors; signals. */
#include "io/child.h"

#include "io/fd.h"
#include "io/sigs.h"
#include "io/timer.h"
#include "spec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

struct run {
    struct io_loop *loop;
    struct io_timer *limit;
    int status, signal, ended;
    int fd;
    struct io_fd *w;
    struct strbuf got;
    bool eof, late;
    int last_signal, n_signals;
};

static void on_limit(void *ud)
{
    struct run *r = ud;
    r->late = true;
    io_loop_stop(r->loop);
}

static void begin(struct run *r)
{
    *r = (struct run){ .fd = -1 };
    strbuf_init(&r->got, 100000);
    r->loop = io_loop_new();
    r->limit = io_timer_new(r->loop, "limit", on_limit, r);
    io_timer_set(r->limit, 10000);
}

static void end(struct run *r)
{
    CHECK_FALSE(r->late);
    io_timer_free(r->limit);
    io_loop_free(r->loop);
    strbuf_fini(&r->got);
}

static void on_exited(void *ud, int status, int signal)
{
    struct run *r = ud;
    r->status = status;
    r->signal = signal;
    r->ended++;
    io_loop_stop(r->loop);
}

static struct io_child *spawn(struct run *r, const char *script, int out, int extra)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    struct io_child_conf conf = {
        .file = "sh", .argv = argv, .fds = { -1, out, -1, extra }, .n_fds = 4
    };
    struct error e = { 0 };
    struct io_child *c = io_child_spawn(r->loop, &conf, on_exited, r, &e);
    CHECK_TRUE(c != NULL);
    return c;
}

TEST(a_child_ends_with_its_status_or_its_signal)
{
    struct run r;
    begin(&r);
    struct io_child *c = spawn(&r, "exit 5", -1, -1);
    CHECK_TRUE(io_child_pid(c) > 0);
    while (!r.ended && !r.late)
        io_loop_run(r.loop);
    CHECK_INT(5, r.status);
    CHECK_INT(0, r.signal);
    CHECK_INT(0, io_child_pid(c));
    io_child_kill(c, SIGKILL); /* harmless */
    io_child_free(c);
    c = spawn(&r, "exec sleep 1000", -1, -1);
    io_child_kill(c, SIGKILL);
    while (r.ended < 2 && !r.late)
        io_loop_run(r.loop);
    CHECK_INT(SIGKILL, r.signal);
    io_child_free(c);
    end(&r);
}

TEST(a_program_that_is_not_there_is_an_error)
{
    struct run r;
    begin(&r);
    const char *argv[] = { "x", NULL };
    struct io_child_conf conf = {
        .file = "/no/such/program", .argv = argv, .fds = { -1, -1, -1 }, .n_fds = 3
    };
    struct error e = { 0 };
    CHECK_NULL(io_child_spawn(r.loop, &conf, on_exited, &r, &e));
    CHECK_INT(ERR_SYS, e.code);
    CHECK_STR("cannot start /no/such/program: No such file or directory", e.msg);
    end(&r);
}

TEST(a_forgotten_child_calls_nobody)
{
    struct run r;
    begin(&r);
    struct io_child *c = spawn(&r, "exit 1", -1, -1);
    io_child_free(c);
    io_timer_set(r.limit, 100);
    while (!r.late)
        io_loop_run(r.loop);
    CHECK_INT(0, r.ended);
    r.late = false;
    end(&r);
}

static void on_readable(void *ud, unsigned events)
{
    struct run *r = ud;
    char buf[100];
    ssize_t n = read(r->fd, buf, sizeof buf);
    if (n > 0) {
        strbuf_add(&r->got, str_n(buf, (size_t)n));
    } else if (n == 0) {
        r->eof = true;
        io_fd_free(r->w);
        r->w = NULL;
        io_loop_stop(r->loop);
    }
}

TEST(a_childs_descriptors_are_the_ones_it_was_given)
{
    struct run r;
    int p[2];
    struct error e = { 0 };
    begin(&r);
    CHECK_INT(0, pipe2(p, O_CLOEXEC));
    struct io_child *c = spawn(&r, "cat; echo out; echo three >&3; echo err >&2", p[1], p[1]);
    close(p[1]);
    r.fd = p[0];
    r.w = io_fd_new(r.loop, r.fd, on_readable, &r, &e);
    io_fd_want(r.w, IO_FD_READ);
    while (!(r.eof && r.ended) && !r.late)
        io_loop_run(r.loop);
    CHECK_STR("out\nthree\n", strbuf_str(&r.got));
    CHECK_INT(0, r.status);
    io_child_free(c);
    close(p[0]);
    end(&r);
}

/* vfork: what we block and ignore must not reach the program, and its own settings must not reach us. */
TEST(a_child_has_usual_signals_a_session_of_its_own_and_leaves_ours_alone)
{
    struct run r;
    int p[2];
    struct error e = { 0 };
    sigset_t some, before, after;
    struct sigaction ours, ignore = { .sa_handler = SIG_IGN };
    begin(&r);
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    CHECK_INT(0, pthread_sigmask(SIG_BLOCK, &some, &before));
    CHECK_INT(0, sigaction(SIGUSR2, &ignore, &ours));
    CHECK_INT(0, pipe2(p, O_CLOEXEC));
    /* the shell reads its own state: while it starts another program its signals are all blocked for a moment */
    struct io_child *c = spawn(&r, "while read -r l; do case $l in SigBlk:*|SigIgn:*) echo \"$l\";; esac; done < /proc/$$/status;"
                                   " read -r a b c d e f g < /proc/$$/stat; echo $f; echo $$", p[1], -1);
    close(p[1]);
    r.fd = p[0];
    r.w = io_fd_new(r.loop, r.fd, on_readable, &r, &e);
    io_fd_want(r.w, IO_FD_READ);
    while (!(r.eof && r.ended) && !r.late)
        io_loop_run(r.loop);
    char expected[200];
    int pid = 0;
    str got = strbuf_str(&r.got), line = STR_NONE, rest = got;
    while (str_item(&rest, '\n', &line) && rest.len)
        ;
    uint64_t n = 0;
    CHECK_TRUE(str_to_u64(str_trim(line), &n));
    pid = (int)n;
    snprintf(expected, sizeof expected, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n%d\n%d\n", pid, pid);
    CHECK_STR(expected, got);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    CHECK_INT(1, sigismember(&after, SIGUSR1));
    CHECK_INT(0, sigismember(&after, SIGTERM));
    struct sigaction now;
    sigaction(SIGUSR2, &ours, &now);
    CHECK_TRUE(now.sa_handler == SIG_IGN);
    close(p[0]);
    io_child_free(c);
    end(&r);
}

TEST(a_plain_file_cannot_be_watched_for_readiness)
{
    struct run r;
    struct error e = { 0 };
    begin(&r);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK_NULL(io_fd_new(r.loop, fd, on_readable, &r, &e));
    CHECK_INT(ERR_SYS, e.code);
    close(fd);
    end(&r);
}

static void on_sig(void *ud, int sig)
{
    struct run *r = ud;
    r->last_signal = sig;
    r->n_signals++;
    io_loop_stop(r->loop);
}

TEST(signals_are_calls_from_the_loop)
{
    static const int sigs[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
    struct run r;
    begin(&r);
    struct io_sigs *s = io_sigs_new(r.loop, on_sig, &r);
    for (int i = 0; i < 4; i++) {
        kill(getpid(), sigs[i]);
        while (r.n_signals == i && !r.late)
            io_loop_run(r.loop);
        CHECK_INT(sigs[i], r.last_signal);
    }
    io_sigs_free(s);
    /* the program is not ended by a reader that has gone */
    int p[2];
    CHECK_INT(0, pipe2(p, O_CLOEXEC));
    close(p[0]);
    CHECK_INT(-1, write(p[1], "x", 1));
    CHECK_INT(EPIPE, errno);
    close(p[1]);
    end(&r);
    CHECK_STR("SIGTERM", io_signal_name(SIGTERM));
    CHECK_STR("SIGKILL", io_signal_name(9));
    CHECK_STR("signal 63", io_signal_name(63));
}
