/* process_text_test.c: the texts of the contract. */
#include "process/proc_text.h"

#include "spec.h"

static void duration(const char *expected, msec ms)
{
    struct strbuf b = STRBUF(100);
    proc_duration_text(&b, ms);
    CHECK_STR(expected, strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(durations_are_written_as_people_know_them)
{
    duration("0ms", 0);
    duration("300ms", 300);
    duration("15s", 15000);
    duration("1.5s", 1500);
    duration("1.025s", 1025);
    duration("1m0s", 60000);
    duration("2m0s", 120000);
    duration("1m30.01s", 90010);
    duration("1h0m0s", 3600000);
    duration("25h1m1s", 90061000);
}

static void why(const char *expected, enum proc_why w, int status, int sig)
{
    struct strbuf b = STRBUF(300);
    proc_why_text(&b, w, 120000, status, sig);
    CHECK_STR(expected, strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(reasons_are_written_as_the_contract_says)
{
    why("", PROC_WHY_NONE, 0, 0);
    why("upstream command exited prematurely", PROC_WHY_EXIT, 1, 0);
    why("health check timed out after 2m0s", PROC_WHY_TIMEOUT, -1, 0);
    why("aborted", PROC_WHY_ABORTED, -1, 0);
    why("upstream command exited with status 3", PROC_WHY_CRASH, 3, 0);
    why("upstream command was ended by SIGKILL", PROC_WHY_CRASH, -1, 9);
    CHECK_INT(0, proc_why_code(PROC_WHY_NONE));
    CHECK_INT(ERR_START, proc_why_code(PROC_WHY_EXIT));
    CHECK_INT(ERR_CANCELLED, proc_why_code(PROC_WHY_ABORTED));
    CHECK_INT(ERR_SHUTDOWN, proc_why_code(PROC_WHY_CLOSED));
}

TEST(a_long_command_is_cut_at_a_whole_character)
{
    char big[401];
    for (size_t i = 0; i < 400; i += 2)
        memcpy(big + i, "\xC3\xA4", 2); /* two bytes each */
    big[400] = '\0';
    str argv[] = { S("x"), str_c(big), S("never seen") };
    struct strbuf b = STRBUF(1000);
    proc_spawn_text(&b, argv, 3);
    str text = strbuf_str(&b);
    CHECK_TRUE(str_starts(text, S("failed to start command 'x \xC3\xA4")));
    CHECK_TRUE(str_ends(text, S("\xC3\xA4...'")));
    CHECK_TRUE(text.len < 200);
    strbuf_fini(&b);
    b = STRBUF(1000);
    proc_spawn_text(&b, argv, 1);
    CHECK_STR("failed to start command 'x'", strbuf_str(&b));
    strbuf_fini(&b);
}
