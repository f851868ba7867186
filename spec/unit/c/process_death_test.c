/* process_death_test.c: what is left when luaswap or a supervisor is killed, and the supervisor's protocol. */
#include "process_rig.h"

#include "process/supervise.h"
#include "process/sup.h"
#include "process/tree.h"
#include "spec.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Deaf, forked, in sessions of its own, holding the pipe. */
#define STUBBORN                                                                                   \
    "sh -c 'trap \"\" TERM HUP INT; (setsid sh -c \"sleep 1000 & exec sleep 1001\" &) ; sleep "    \
    "1000 & "                                                                                      \
    "echo up; wait'"

static pid_t parent_of(pid_t pid)
{
    struct tree t;
    tree_init(&t);
    CHECK_TRUE(tree_scan(&t));
    struct tree_proc *p = tree_find(&t, pid);
    pid_t up = p ? p->ppid : 0;
    tree_fini(&t);
    return up;
}

/* Runs `cmd` in a process of its own that stands for luaswap; returns when the command is up. */
static pid_t luaswap_with(struct rig *g, const char *cmd)
{
    struct proc_conf conf;
    int up[2];
    char c;
    rig_conf(g, &conf, cmd);
    CHECK_INT(0, pipe2(up, O_CLOEXEC));
    pid_t pid = fork();
    if (pid == 0) {
        rig_open(g, &conf);
        proc_start(g->p, 1);
        rig_until_output(g, "up\n");
        if (write(up[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            rig_turns(g, 1000000);
    }
    close(up[1]);
    CHECK_INT(1, read(up[0], &c, 1));
    close(up[0]);
    return pid;
}

TEST(nothing_is_left_when_luaswap_is_killed)
{
    static const char *const cmds[] = { "sh -c 'echo up; exec sleep 1000'", STUBBORN };
    for (size_t i = 0; i < ARRAY_LEN(cmds); i++) {
        struct rig g;
        pid_t luaswap = luaswap_with(&g, cmds[i]);
        rig_wait_alive(&g, 1);
        kill(luaswap, SIGKILL);
        waitpid(luaswap, NULL, 0);
        CHECK_TRUE(rig_gone_within(&g, 2000));
    }
}

TEST(the_supervisor_does_not_hear_the_signals_of_a_terminal)
{
    static const int sigs[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGPIPE, SIGTSTP };
    struct rig g;
    rig_start(&g, "sleep 1000");
    pid_t sup = parent_of(proc_pid(g.p));
    for (size_t i = 0; i < ARRAY_LEN(sigs); i++)
        kill(sup, sigs[i]);
    rig_turns(&g, 50);
    CHECK_INT(PROC_READY, proc_state(g.p));
    proc_stop(g.p, 5000, 2);
    rig_until_life(&g, "stopping>stopped(2)");
    rig_end(&g);
}

TEST(the_supervisor_is_small_and_holds_nothing_of_the_commands_pipe)
{
    struct rig g;
    char path[64], line[256];
    rig_start(&g, "sleep 1000");
    pid_t sup = parent_of(proc_pid(g.p));
    int open_fds = 0;
    for (int fd = 0; fd < 256; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)sup, fd);
        ssize_t n = readlink(path, line, sizeof line - 1);
        if (n < 0)
            continue;
        line[n] = '\0';
        open_fds += strncmp(line, "/sys/fs/cgroup", 14) != 0;
        CHECK_TRUE(strncmp(line, "pipe:", 5) != 0);
    }
    CHECK_INT(5, open_fds); /* 0 1 2, the line, the signals */
    CHECK_TRUE(parent_of(sup) == getpid());
    rig_end(&g);
}

TEST(a_killed_supervisor_takes_the_command_along)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    kill(parent_of(proc_pid(g.p)), SIGKILL);
    rig_until_life(&g, "ready>stopping!CLOSED stopping>stopped!CLOSED");
    CHECK_UINT(0, rig_alive(&g));
    proc_start(g.p, 3);
    rig_until_life(&g, "starting>ready(3)");
    rig_end(&g);
}

TEST(a_stubborn_tree_is_found_and_killed_without_its_supervisor)
{
    struct rig g;
    rig_start(&g, STUBBORN);
    rig_until_output(&g, "up\n");
    rig_wait_alive(&g, 3);
    kill(parent_of(proc_pid(g.p)), SIGKILL);
    rig_until_life(&g, "stopping>stopped!CLOSED");
    CHECK_UINT(0, rig_alive(&g));
    rig_end(&g);
}

TEST(a_supervisor_killed_while_starting_or_stopping_leaves_nothing)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, STUBBORN);
    conf.check_endpoint = S("/health");
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_until_output(&g, "up\n");
    kill(parent_of(proc_pid(g.p)), SIGKILL);
    rig_until_life(&g, "starting>stopped(1)!CLOSED");
    CHECK_UINT(0, rig_alive(&g));
    rig_end(&g);

    rig_start(&g, STUBBORN);
    rig_until_output(&g, "up\n");
    pid_t sup = parent_of(proc_pid(g.p));
    proc_stop(g.p, 60000, 2);
    rig_turns(&g, 20);
    kill(sup, SIGKILL);
    rig_until_life(&g, "stopping>stopped(2)");
    CHECK_UINT(0, rig_alive(&g));
    rig_end(&g);
}

TEST(a_supervisor_that_cannot_be_started_or_is_none_is_a_failed_start)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sleep 1000");
    rig_open(&g, &conf);
    setenv("LUASWAP_SUPERVISOR", "/no/such/program", 1);
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>stopped(1)!START");
    CHECK_STR("failed to start command 'sleep 1000': cannot start /no/such/program: No such file or directory",
              g.last_text);
    setenv("LUASWAP_SUPERVISOR", "/bin/true", 1);
    proc_start(g.p, 2);
    rig_until_life(&g, "starting>stopped(2)!CLOSED");
    unsetenv("LUASWAP_SUPERVISOR");
    proc_start(g.p, 3);
    rig_until_life(&g, "starting>ready(3)");
    rig_end(&g);
}

TEST(a_command_that_is_too_long_is_a_failed_start)
{
    static char cmd[700000];
    struct proc_conf conf;
    struct rig g;
    /* more than one argument may be in Linux, then more than the line takes */
    for (size_t n = 200000; n <= 600000; n += 400000) {
        memset(cmd, 'x', n);
        memcpy(cmd, "echo ", 5);
        cmd[n] = '\0';
        rig_conf(&g, &conf, cmd);
        rig_open(&g, &conf);
        proc_start(g.p, 1);
        rig_until_life(&g, "starting>stopped(1)!START");
        CHECK_TRUE(strstr(g.last_text, n == 200000 ? "Argument list too long" : "are too long") != NULL);
        rig_end(&g);
    }
}

/* ---- the protocol itself, spoken by hand ---- */

struct talk {
    int line, output;
    pid_t pid;
    char heard[65536];
    size_t n;
};

static void talk_open(struct talk *t)
{
    int line[2], out[2];
    *t = (struct talk){ 0 };
    CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line));
    CHECK_INT(0, pipe2(out, O_CLOEXEC));
    t->pid = fork();
    if (t->pid == 0) {
        int null = open("/dev/null", O_RDWR);
        /* first out of the way, then into place: dup2 clears close-on-exec */
        int l = fcntl(line[1], F_DUPFD, 100), o = fcntl(out[1], F_DUPFD, 100);
        dup2(null, 0);
        dup2(null, 1);
        dup2(l, SUPERVISE_LINE_FD);
        dup2(o, SUPERVISE_OUTPUT_FD);
        execl(sup_program(), "luaswap", "--supervise", "talk", (char *)NULL);
        _exit(127);
    }
    t->line = line[0];
    t->output = out[0];
    close(line[1]);
    close(out[1]);
}

static void say(struct talk *t, const char *text)
{
    CHECK_INT((long long)strlen(text), send(t->line, text, strlen(text), MSG_NOSIGNAL));
}

/* Reads until `part` has been heard. */
static void hear(struct talk *t, const char *part)
{
    msec until = clock_msec() + 10000;
    while (str_find(str_n(t->heard, t->n), str_c(part)) < 0) {
        struct pollfd p = { .fd = t->line, .events = POLLIN };
        ssize_t n = 0;
        if (poll(&p, 1, (int)(until - clock_msec())) > 0)
            n = read(t->line, t->heard + t->n, sizeof t->heard - t->n);
        if (n <= 0)
            spec_miss(__FILE__, __LINE__, "never heard %s; heard: " STR_FMT, part, (int)t->n,
                      t->heard);
        t->n += (size_t)n;
    }
}

static void talk_end(struct talk *t)
{
    int status;
    close(t->line);
    close(t->output);
    CHECK_INT(t->pid, waitpid(t->pid, &status, 0));
    CHECK_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(the_protocol_says_hello_and_tells_a_whole_life)
{
    struct talk t;
    talk_open(&t);
    char hello[64];
    snprintf(hello, sizeof hello, "hello 1 %d\n", (int)t.pid);
    hear(&t, hello);
    say(&t, "status\n");
    hear(&t, "status idle 0 0\n");
    say(&t, "path /usr/bin:/bin\nenv A=b%20c\narg sh\narg -c\narg exit%204\nstart\n");
    hear(&t, "gone\n");
    CHECK_TRUE(str_find(str_n(t.heard, t.n), S("\nexited 4\ngone\n")) > 0);
    say(&t, "ping 77\n");
    hear(&t, "pong 77 gone\n");
    talk_end(&t);
}

TEST(the_protocol_answers_what_it_does_not_know)
{
    struct talk t;
    talk_open(&t);
    say(&t, "dance\n");
    hear(&t, "error unknown\n");
    say(&t, "arg %zz\n");
    hear(&t, "error bad word\n");
    say(&t, "arg a%00b\n");
    say(&t, "start\n");
    hear(&t, "failed 22\n"); /* no words: EINVAL */
    say(&t, "path /bin\narg no-such-program-here\nstart\n");
    hear(&t, "failed 2\n");
    say(&t, "path /bin\narg sleep\narg 1000\nstart\n");
    hear(&t, "started ");
    say(&t, "arg sleep\nstart\n");
    hear(&t, "error started before\n");
    say(&t, "ping x\nping\ngrace -1\n\n  \n");
    say(&t, "kill\n");
    hear(&t, "signaled 9\ngone\n");
    talk_end(&t);
}

TEST(a_command_split_over_many_packets_is_understood)
{
    struct talk t;
    talk_open(&t);
    const char *text = "path /bin\narg sh\narg -c\narg exit%207\nstart\n";
    for (const char *p = text; *p; p++) {
        char one[2] = { *p, '\0' };
        say(&t, one);
    }
    hear(&t, "exited 7\ngone\n");
    talk_end(&t);
}

TEST(a_line_without_end_ends_the_supervisor_and_its_tree)
{
    struct talk t;
    int status;
    static char big[65536];
    talk_open(&t);
    say(&t, "path /bin\narg sleep\narg 1000\nstart\n");
    hear(&t, "started ");
    memset(big, 'x', sizeof big);
    /* until it hangs up */
    while (send(t.line, big, sizeof big, MSG_NOSIGNAL) > 0)
        ;
    CHECK_INT(t.pid, waitpid(t.pid, &status, 0));
    CHECK_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(t.line);
    close(t.output);
}

TEST(the_grace_after_the_end_of_the_line_can_be_set)
{
    struct talk t;
    talk_open(&t);
    say(&t, "grace 50\npath /usr/bin:/bin\narg sh\narg -c\n"
            "arg trap%20''%20TERM;echo%20up;while%20:;do%20sleep%201000;done\nstart\n");
    char c;
    CHECK_INT(1, read(t.output, &c, 1));
    msec began = clock_msec();
    talk_end(&t);
    msec took = clock_msec() - began;
    CHECK_TRUE(took >= 45 && took < 900);
}

TEST(without_a_line_it_is_not_a_supervisor)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 2);
        for (int fd = 3; fd < 100; fd++)
            close(fd);
        execl(sup_program(), "luaswap", "--supervise", (char *)NULL);
        _exit(127);
    }
    CHECK_INT(pid, waitpid(pid, &status, 0));
    CHECK_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

TEST(a_control_group_is_used_where_it_may_be_and_leaves_nothing)
{
    struct rig g;
    char path[256], text[4096];
    /* =1: also without the mark of systemd. Where no group can be written, nothing is different. */
    setenv("LUASWAP_CGROUP", "1", 1);
    rig_start(&g, STUBBORN);
    unsetenv("LUASWAP_CGROUP");
    rig_until_output(&g, "up\n");
    snprintf(path, sizeof path, "/proc/%d/cgroup", proc_pid(g.p));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    char *own = strstr(text, "0::/");
    bool grouped = own && strstr(own, "/luaswap-");
    proc_stop(g.p, 50, 2);
    rig_until_life(&g, "stopping>stopped(2)");
    CHECK_UINT(0, rig_alive(&g));
    rig_end(&g);
    if (grouped) {
        *strchr(own, '\n') = '\0';
        snprintf(path, sizeof path, "/sys/fs/cgroup%.200s", own + 3);
        CHECK_INT(-1, access(path, F_OK));
        snprintf(path, sizeof path, "/sys/fs/cgroup/unified%.200s", own + 3);
        CHECK_INT(-1, access(path, F_OK));
    }
}
