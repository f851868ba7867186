/* process_tree_test.c: reading /proc. */
#include "process/tree.h"

#include "spec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(a_stat_line_is_read_behind_a_hostile_name)
{
    struct tree_proc p;
    CHECK_TRUE(tree_parse_stat(
        S("42 (a) R (b) S 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 99"), &p));
    CHECK_INT(42, p.pid);
    CHECK_INT('S', p.state);
    CHECK_INT(7, p.ppid);
    CHECK_INT(8, p.pgid);
    CHECK_INT(9, p.sid);
    CHECK_UINT(123456, p.start);
    CHECK_FALSE(tree_parse_stat(S("42 (a) S 7 8"), &p));
    CHECK_FALSE(tree_parse_stat(S(""), &p));
    CHECK_FALSE(tree_parse_stat(S("x (a) S 7 8 9"), &p));
    CHECK_FALSE(tree_parse_stat(S("42"), &p));
}

TEST(a_scan_finds_us_our_parent_and_our_children)
{
    int gate[2];
    CHECK_INT(0, pipe(gate));
    pid_t kid = fork();
    if (kid == 0) {
        char c;
        close(gate[1]);
        while (read(gate[0], &c, 1) > 0)
            ;
        _exit(0);
    }
    struct tree t;
    tree_init(&t);
    CHECK_TRUE(tree_scan(&t));
    struct tree_proc *me = tree_find(&t, getpid()), *child = tree_find(&t, kid);
    CHECK_TRUE(me && child);
    CHECK_INT(getppid(), me->ppid);
    CHECK_INT(getpid(), child->ppid);
    CHECK_TRUE(tree_mark_below(&t, getpid(), true) >= 1);
    CHECK_TRUE(child->mark);
    CHECK_FALSE(me->mark);
    struct tree below;
    tree_init(&below);
    CHECK_TRUE(tree_below(&below, getpid()));
    CHECK_TRUE(tree_find(&below, kid) && tree_find(&below, kid)->mark);
    CHECK_NULL(tree_find(&below, getpid()));
    tree_fini(&below);
    tree_signal(child, SIGKILL);
    int status;
    CHECK_INT(kid, waitpid(kid, &status, 0));
    CHECK_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    /* a pid that has come to mean another process is not signalled */
    struct tree_proc wrong = *me;
    wrong.start++;
    tree_signal(&wrong, SIGKILL);
    tree_fini(&t);
    close(gate[0]);
    close(gate[1]);
}

TEST(an_environment_entry_is_matched_whole)
{
    /* /proc/self/environ is what the program was started with */
    const char *path = getenv("PATH");
    CHECK_TRUE(path != NULL);
    char entry[8192];
    snprintf(entry, sizeof entry, "PATH=%s", path);
    CHECK_TRUE(tree_has_env(getpid(), str_c(entry)));
    entry[strlen(entry) - 1] = '\0';
    CHECK_FALSE(tree_has_env(getpid(), str_c(entry)));
    CHECK_FALSE(tree_has_env(getpid(), S("PATH")));
    CHECK_FALSE(tree_has_env(getpid(), S("NO_SUCH_NAME=1")));
    CHECK_FALSE(tree_has_env(0x7ffffff0, S("A=b")));
}
