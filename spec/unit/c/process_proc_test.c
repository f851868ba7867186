/* process_proc_test.c: the driver with real children: life, stop, trees, output. */
#include "process_rig.h"

#include "process/tree.h"
#include "spec.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define LIFE(g) strbuf_str(&(g)->lives)

/* runtime A079 */
TEST(a_clean_life_is_five_states)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    proc_stop(g.p, 5000, 2);
    rig_until_life(&g, "stopping>stopped(2)");
    CHECK_STR("stopped>starting starting>ready(1) ready>stopping stopping>stopped(2)", LIFE(&g));
    CHECK_INT(SIGTERM, g.last.term_signal);
    CHECK_INT(0, proc_pid(g.p));
    CHECK_UINT(0, rig_alive(&g));
    CHECK_UINT(1, proc_history(g.p)->starts);
    CHECK_UINT(0, proc_history(g.p)->fails_in_row);
    rig_end(&g);
}

/* runtime A080 */
TEST(starting_twice_is_refused_and_stopping_a_stopped_one_is_fine)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    proc_start(g.p, 9);
    rig_until_life(&g, "ready>ready(9)!EXISTS");
    proc_stop(g.p, 5000, 2);
    rig_until_life(&g, "stopped(2)");
    proc_stop(g.p, 5000, 3);
    rig_until_life(&g, "stopped>stopped(3)");
    proc_stop(g.p, 5000, 4);
    rig_until_life(&g, "stopped>stopped(4)");
    rig_end(&g);
}

/* runtime A083 */
TEST(a_start_during_a_stop_begins_when_that_is_over)
{
    struct rig g;
    rig_start(&g, "sh -c 'trap \"sleep 0.2; exit\" TERM; echo up; while :; do sleep 0.02; done'");
    rig_until_output(&g, "up\n");
    proc_stop(g.p, 5000, 2);
    proc_start(g.p, 3);
    proc_start(g.p, 4);
    rig_until_life(&g, "starting>ready(3)");
    CHECK_STR("stopped>starting starting>ready(1) ready>stopping stopping>stopping(4)!EXISTS "
              "stopping>stopped(2) stopped>starting starting>ready(3)",
              LIFE(&g));
    /* and a stop that comes after it takes it back */
    proc_stop(g.p, 5000, 5);
    proc_start(g.p, 6);
    proc_stop(g.p, 5000, 7);
    rig_until_life(&g, "stopping>stopping(6)!CANCELLED stopping>stopped(5) stopped>stopped(7)");
    rig_end(&g);
}

/* runtime A084 */
TEST(three_lives_one_after_the_other)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    for (unsigned i = 0; i < 3; i++) {
        proc_stop(g.p, 5000, 2);
        rig_until_life(&g, "stopped(2)");
        CHECK_UINT(0, rig_alive(&g));
        proc_start(g.p, 1);
        rig_until_life(&g, "ready(1)");
        rig_wait_alive(&g, 1);
    }
    CHECK_UINT(4, proc_history(g.p)->starts);
    rig_end(&g);
}

/* runtime A084 */
TEST(stops_that_race_starts_end_both)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sleep 1000");
    rig_open(&g, &conf);
    for (unsigned i = 0; i < 10; i++) {
        strbuf_clear(&g.lives);
        proc_start(g.p, 1);
        if (i % 2)
            rig_turns(&g, i);
        proc_stop(g.p, 5000, 2);
        proc_stop(g.p, 5000, 3);
        rig_until_life(&g, "stopped>stopped(3)");
        CHECK_UINT(0, rig_alive(&g));
        CHECK_INT(PROC_STOPPED, proc_state(g.p));
    }
    rig_end(&g);
}

/* runtime A081 */
TEST(a_start_that_is_stopped_is_told_aborted_before_the_stop_is_answered)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sleep 1000");
    conf.check_endpoint = S("/health"); /* nobody listens on port 1 */
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_turns(&g, 100);
    rig_wait_alive(&g, 1);
    proc_stop(g.p, 5000, 2);
    rig_until_life(&g, "(2)");
    CHECK_STR("stopped>starting starting>stopped(1)!CANCELLED stopped>stopped(2)", LIFE(&g));
    CHECK_UINT(0, proc_history(g.p)->fails_in_row);
    rig_end(&g);
}

TEST(a_command_that_does_not_exist_fails_with_its_text)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "/no/such/program --port 5 'a b'");
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>stopped(1)!START");
    CHECK_STR("failed to start command '/no/such/program --port 5 a b': No such file or directory",
              g.last_text);
    CHECK_STR(g.last_text, proc_history(g.p)->last_error);
    CHECK_UINT(1, proc_history(g.p)->fails_in_row);
    rig_end(&g);
}

TEST(a_command_that_may_not_be_run_or_is_empty_fails)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "/etc/passwd");
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>stopped(1)!START");
    CHECK_STR("failed to start command '/etc/passwd': Permission denied", g.last_text);
    rig_end(&g);
    rig_conf(&g, &conf, "  # only a comment\n");
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>stopped(1)!START");
    CHECK_STR("empty command", g.last_text);
    rig_end(&g);
}

TEST(the_log_names_variables_but_never_their_values)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sleep 1000");
    str env[] = { str_c(g.tag), S("API_TOKEN=hunter2") };
    conf.env = env;
    conf.n_env = 2;
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_until_life(&g, "ready(1)");
    CHECK_TRUE(str_find(rig_log(), S("API_TOKEN")) >= 0);
    CHECK_TRUE(str_find(rig_log(), S("hunter2")) < 0);
    rig_end(&g);
}

TEST(programs_are_found_by_our_path_and_not_by_the_models)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sh -c 'echo path=$PATH; echo twice=$TWICE; exec sleep 1000'");
    str env[] = { str_c(g.tag), S("PATH=/nowhere:/bin:/usr/bin"), S("TWICE=a"), S("TWICE=b") };
    conf.env = env;
    conf.n_env = 4;
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_until_output(&g, "path=/nowhere:/bin:/usr/bin\ntwice=b\n");
    rig_end(&g);
    rig_conf(&g, &conf, "sh -c true");
    str none[] = { str_c(g.tag), S("PATH=/nowhere") };
    conf.env = none;
    conf.n_env = 2;
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_until_life(&g, "ready>stopped!CLOSED");
    rig_end(&g);
}

TEST(an_exit_while_starting_is_noticed_at_once)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sh -c 'echo out of memory >&2; exit 3'");
    conf.check_endpoint = S("/health");
    rig_open(&g, &conf);
    msec began = clock_msec();
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>stopped(1)!START");
    CHECK_TRUE(clock_msec() - began < 2000);
    CHECK_STR("upstream command exited prematurely", g.last_text);
    CHECK_INT(3, g.last.exit_status);
    CHECK_STR("out of memory\n", strbuf_str(&g.out)); /* before the event */
    rig_end(&g);
}

TEST(a_crash_when_ready_is_told_with_its_reason)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    kill(proc_pid(g.p), SIGSEGV);
    rig_until_life(&g, "ready>stopped!CLOSED");
    CHECK_INT(SIGSEGV, g.last.term_signal);
    CHECK_STR("upstream command was ended by SIGSEGV", g.last_text);
    CHECK_UINT(1, proc_history(g.p)->fails_in_row);
    CHECK_INT(SIGSEGV, proc_history(g.p)->last_signal);
    rig_end(&g);
}

TEST(a_crash_takes_the_rest_of_the_tree_along)
{
    struct rig g;
    rig_start(&g, "sh -c 'sleep 1000 & setsid sleep 1000 & echo up; wait'");
    rig_until_output(&g, "up\n");
    rig_wait_alive(&g, 2);
    kill(proc_pid(g.p), SIGKILL);
    rig_until_life(&g, "ready>stopping!CLOSED stopping>stopped!CLOSED");
    CHECK_UINT(0, rig_alive(&g));
    rig_end(&g);
}

/* ---- stopping trees ---- */

static void stop_and_look(struct rig *g, msec grace, msec at_least, msec at_most)
{
    msec began = clock_msec();
    proc_stop(g->p, grace, 2);
    rig_until_life(g, "stopping>stopped(2)");
    msec took = clock_msec() - began;
    if (took < at_least || took > at_most)
        spec_miss(__FILE__, __LINE__, "the stop took %d ms", (int)took);
    CHECK_UINT(0, rig_alive(g));
}

TEST(a_fork_is_stopped_with_its_parent)
{
    struct rig g;
    rig_start(&g, "sh -c 'sleep 1000 & echo up; wait'");
    rig_until_output(&g, "up\n");
    rig_wait_alive(&g, 2);
    stop_and_look(&g, 5000, 0, 3000);
    rig_end(&g);
}

TEST(a_double_fork_into_a_session_of_its_own_is_stopped_too)
{
    struct rig g;
    rig_start(&g, "sh -c '(setsid sh -c \"sleep 1000 & exec sleep 1001\" >/dev/null 2>&1 &) ; echo "
                  "up; exec sleep 1000'");
    rig_until_output(&g, "up\n");
    stop_and_look(&g, 5000, 0, 3000);
    rig_end(&g);
}

TEST(a_process_that_ignores_sigterm_is_killed_at_the_end_of_the_grace)
{
    struct rig g;
    rig_start(&g, "sh -c 'trap \"\" TERM; echo up; while :; do sleep 1000; done'");
    rig_until_output(&g, "up\n");
    stop_and_look(&g, 300, 295, 3000);
    CHECK_INT(SIGKILL, g.last.term_signal);
    rig_end(&g);
}

TEST(a_grandchild_that_ignores_sigterm_is_killed_when_the_leader_has_gone)
{
    struct rig g;
    rig_start(&g, "sh -c '(trap \"\" TERM; echo up; exec sleep 1000) & wait'");
    rig_until_output(&g, "up\n");
    stop_and_look(&g, 300, 295, 3000);
    CHECK_INT(SIGTERM, g.last.term_signal);
    rig_end(&g);
}

TEST(a_term_handler_has_the_time_it_was_given)
{
    struct rig g;
    rig_start(&g, "sh -c 'trap \"sleep 0.4; echo tidy; exit 0\" TERM; echo up; while :; do sleep "
                  "0.05; done'");
    rig_until_output(&g, "up\n");
    stop_and_look(&g, 5000, 395, 4000);
    CHECK_TRUE(str_ends(strbuf_str(&g.out), S("tidy\n")));
    CHECK_INT(0, g.last.exit_status);
    rig_end(&g);
}

TEST(a_suspended_process_is_woken_to_end)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    kill(proc_pid(g.p), SIGSTOP);
    stop_and_look(&g, 8000, 0, 3000);
    CHECK_INT(SIGTERM, g.last.term_signal);
    rig_end(&g);
}

TEST(a_tree_that_goes_on_forking_ends)
{
    struct rig g;
    rig_start(&g,
              "sh -c 'trap \"\" TERM; echo up; while :; do (setsid sleep 5 &) ; sleep 0.01; done'");
    rig_until_output(&g, "up\n");
    rig_turns(&g, 150);
    stop_and_look(&g, 100, 95, 5000);
    rig_end(&g);
}

TEST(a_kill_in_the_middle_of_a_grace_ends_it)
{
    struct rig g;
    rig_start(&g, "sh -c 'trap \"\" TERM; echo up; while :; do sleep 1000; done'");
    rig_until_output(&g, "up\n");
    proc_stop(g.p, 60000, 2);
    rig_turns(&g, 50);
    CHECK_INT(PROC_STOPPING, proc_state(g.p));
    proc_kill(g.p);
    rig_until_life(&g, "stopping>stopped(2)");
    CHECK_UINT(0, rig_alive(&g));
    rig_end(&g);
}

/* ---- cmdStop ---- */

static void start_with_stopper(struct rig *g, const char *cmd, const char *stopper)
{
    struct proc_conf conf;
    rig_conf(g, &conf, cmd);
    conf.cmd_stop = str_c(stopper);
    rig_open(g, &conf);
    proc_start(g->p, 1);
    rig_until_life(g, "ready(1)");
    rig_until_output(g, "up\n");
}

#define DEAF                                                                                       \
    "sh -c 'trap \"\" TERM; trap \"echo usr1; exit 7\" USR1; echo up; while :; do sleep 0.05; "    \
    "done'"

TEST(the_stop_command_is_what_stops)
{
    struct rig g;
    start_with_stopper(&g, DEAF, "sh -c 'echo not in the log; kill -USR1 ${PID}'");
    stop_and_look(&g, 8000, 0, 3000);
    CHECK_INT(7, g.last.exit_status);
    CHECK_STR("up\nusr1\n", strbuf_str(&g.out));
    rig_end(&g);
}

TEST(a_failing_stop_command_is_followed_by_sigterm)
{
    static const char *const bad[] = { "false", "/no/such/stopper ${PID}", "'unclosed",
                                       "# nothing" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct rig g;
        start_with_stopper(&g, "sh -c 'echo up; exec sleep 1000'", bad[i]);
        stop_and_look(&g, 8000, 0, 3000);
        CHECK_INT(SIGTERM, g.last.term_signal);
        rig_end(&g);
    }
}

TEST(a_hanging_stop_command_is_killed_at_half_the_grace_and_sigterm_follows)
{
    struct rig g;
    start_with_stopper(&g, "sh -c 'echo up; exec sleep 1000'", "sh -c 'sleep 1000 & sleep 1000'");
    stop_and_look(&g, 1200, 595, 5000);
    CHECK_INT(SIGTERM, g.last.term_signal);
    rig_end(&g);
}

TEST(a_stop_command_that_works_and_then_hangs_holds_nothing_up)
{
    struct rig g;
    start_with_stopper(&g, "sh -c 'echo up; exec sleep 1000'", "sh -c 'kill ${PID}; sleep 1000'");
    msec began = clock_msec();
    proc_stop(g.p, 8000, 2);
    rig_until_life(&g, "stopping>stopped(2)");
    CHECK_TRUE(clock_msec() - began < 2500); /* it has 1 s to tidy up */
    CHECK_TRUE(rig_gone_within(&g, 2000));   /* then it is killed, but nobody waits for that */
    rig_end(&g);
}

/* ---- output ---- */

TEST(a_flood_of_output_never_blocks_and_the_ring_keeps_the_end)
{
    struct rig g;
    rig_start(&g,
              "sh -c 'head -c 30000000 /dev/zero | tr \"\\0\" x; echo the end; exec sleep 1000'");
    g.out.full = true;
    strbuf_fini(&g.out);
    strbuf_init(&g.out, 4); /* counted only */
    while (g.out_bytes < 30000008)
        rig_turns(&g, 20);
    CHECK_UINT(30000008, g.out_bytes);
    str a, b;
    ring_read(proc_log(g.p), &a, &b);
    CHECK_UINT(102400, a.len + b.len);
    CHECK_TRUE(str_ends(b.len ? b : a, S("xxxthe end\n")));
    stop_and_look(&g, 5000, 0, 3000);
    rig_end(&g);
}

TEST(both_outputs_share_one_pipe_and_keep_their_order)
{
    struct rig g;
    rig_start(&g, "sh -c 'echo 1; echo 2 >&2; echo 3; echo 4 >&2; exec sleep 1000'");
    rig_until_output(&g, "4\n");
    CHECK_STR("1\n2\n3\n4\n", strbuf_str(&g.out));
    rig_end(&g);
}

TEST(standard_input_is_empty_and_no_other_descriptor_is_inherited)
{
    struct rig g;
    int leak[2];
    CHECK_INT(0, pipe(leak)); /* without close-on-exec: as a careless library leaves it */
    rig_start(&g, "sh -c 'cat; ls /proc/self/fd | tr \"\\n\" \" \"; echo end; exec sleep 1000'");
    rig_until_output(&g, "end\n");
    CHECK_STR("0 1 2 3 end\n", strbuf_str(&g.out)); /* 3 is ls reading the folder */
    close(leak[0]);
    close(leak[1]);
    rig_end(&g);
}

TEST(signals_have_their_default_meaning_in_the_command)
{
    struct rig g;
    rig_start(&g, "sh -c 'grep -E \"Sig(Blk|Ign)\" /proc/self/status; exec sleep 1000'");
    rig_until_output(&g, "SigIgn");
    rig_until_output(&g, "\n");
    CHECK_TRUE(str_find(strbuf_str(&g.out), S("SigBlk:\t0000000000000000")) >= 0);
    CHECK_TRUE(str_find(strbuf_str(&g.out), S("SigIgn:\t0000000000000000")) >= 0);
    rig_end(&g);
}

/* ---- the owner goes ---- */

TEST(closing_is_told_as_shutdown_and_leaves_nothing)
{
    struct rig g;
    rig_start(&g, "sh -c 'trap \"\" TERM; echo up; while :; do sleep 1000; done'");
    rig_until_output(&g, "up\n");
    proc_close(g.p);
    CHECK_INT(PROC_SHUTDOWN, proc_state(g.p));
    rig_until_life(&g, "ready>shutdown!SHUTDOWN");
    proc_start(g.p, 8);
    rig_until_life(&g, "shutdown>shutdown(8)!SHUTDOWN");
    proc_stop(g.p, 1000, 9);
    rig_until_life(&g, "shutdown>shutdown(9)");
    rig_end(&g);
}

/* runtime A082 */
TEST(closing_during_a_start_answers_the_starter)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sleep 1000");
    conf.check_endpoint = S("/health");
    rig_open(&g, &conf);
    proc_start(g.p, 1);
    rig_turns(&g, 50);
    proc_close(g.p);
    rig_until_life(&g, "starting>shutdown(1)!SHUTDOWN");
    rig_end(&g);
}

TEST(a_stop_right_after_a_cut_leaves_the_command_a_moment)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    proc_cut(g.p);
    msec t0 = clock_msec();
    proc_stop(g.p, 5000, 2);
    rig_until_life(&g, "stopping>stopped(2)");
    CHECK_TRUE(clock_msec() - t0 >= 24);
    CHECK_INT(SIGTERM, g.last.term_signal);
    rig_end(&g);
}

/* ---- a supervisor that is started ahead ---- */

/* Our child that is a supervisor; 0 = none. A zombie is none. */
static pid_t supervisor(void)
{
    struct tree t;
    pid_t found = 0;
    tree_init(&t);
    CHECK_TRUE(tree_scan(&t));
    for (size_t i = 0; i < t.n; i++)
        if (t.procs[i].ppid == getpid() && t.procs[i].state != 'Z')
            found = t.procs[i].pid;
    tree_fini(&t);
    return found;
}

TEST(a_prepared_start_uses_the_supervisor_that_waits)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sh -c 'echo up; exec sleep 1000'");
    rig_open(&g, &conf);
    proc_prepare(g.p);
    pid_t sup = supervisor();
    CHECK_TRUE(sup > 0);
    proc_prepare(g.p); /* once is enough */
    CHECK_INT(sup, supervisor());
    CHECK_INT(PROC_STOPPED, proc_state(g.p));
    rig_turns(&g, 30);
    CHECK_UINT(0, rig_alive(&g));
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>ready(1)");
    rig_until_output(&g, "up\n");
    struct tree t;
    tree_init(&t);
    CHECK_TRUE(tree_scan(&t));
    CHECK_INT(sup, tree_find(&t, proc_pid(g.p))->ppid);
    tree_fini(&t);
    proc_prepare(g.p); /* means nothing now */
    CHECK_INT(sup, supervisor());
    proc_stop(g.p, 5000, 2);
    rig_until_life(&g, "stopping>stopped(2)");
    rig_end(&g);
}

TEST(a_prepared_supervisor_that_was_killed_is_replaced)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sleep 1000");
    rig_open(&g, &conf);
    proc_prepare(g.p);
    pid_t sup = supervisor();
    kill(sup, SIGKILL);
    for (int i = 0; i < 200 && supervisor(); i++)
        rig_turns(&g, 10);
    rig_turns(&g, 20);
    CHECK_STR("", LIFE(&g)); /* nobody is told: nothing ran */
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>ready(1)");
    proc_stop(g.p, 5000, 2);
    rig_until_life(&g, "stopping>stopped(2)");
    rig_end(&g);
}

TEST(a_prepared_supervisor_ends_with_its_process_object)
{
    struct proc_conf conf;
    struct rig g;
    rig_conf(&g, &conf, "sleep 1000");
    rig_open(&g, &conf);
    proc_prepare(g.p);
    CHECK_TRUE(supervisor() > 0);
    rig_end(&g);
    CHECK_INT(0, supervisor());
}

TEST(the_supervisor_of_an_ended_command_goes_too)
{
    struct rig g;
    rig_start(&g, "sleep 1000");
    proc_stop(g.p, 5000, 2);
    rig_until_life(&g, "stopping>stopped(2)");
    for (int i = 0; i < 200 && supervisor(); i++)
        rig_turns(&g, 10);
    CHECK_INT(0, supervisor());
    rig_end(&g);
}
