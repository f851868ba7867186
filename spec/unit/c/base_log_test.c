/* base_log_test.c: levels, the sink, escaping; asserts and checks; the generator. */
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/strbuf.h"

#include "spec.h"

struct seen {
    int calls;
    enum log_level level;
    char scope[64], text[5000];
};

static void keep(void *ud, enum log_level level, str scope, str text)
{
    struct seen *s = ud;
    s->calls++;
    s->level = level;
    memset(s->scope, 0, sizeof s->scope);
    memcpy(s->scope, scope.ptr, scope.len);
    CHECK_TRUE(text.len < sizeof s->text);
    memcpy(s->text, text.ptr, text.len);
    s->text[text.len] = '\0';
}

static void quiet(void)
{
    log_set_sink(NULL, NULL);
    log_set_level(LOG_INFO);
}

TEST(messages_below_the_level_are_dropped)
{
    struct seen s = { 0 };
    log_set_sink(keep, &s);
    log_set_level(LOG_WARN);
    log_info("x", "no");
    log_debug("x", "no");
    int calls = s.calls;
    log_warn("scope", "yes %d", 1);
    log_set_level(LOG_DEBUG);
    bool on = log_enabled(LOG_DEBUG);
    log_debug("d", "deep");
    quiet();
    CHECK_INT(0, calls);
    CHECK_INT(2, s.calls);
    CHECK_TRUE(on);
    CHECK_STR("deep", s.text);
    CHECK_INT(LOG_DEBUG, s.level);
    CHECK_STR("WARN", log_level_name(LOG_WARN));
}

TEST(control_characters_cannot_forge_lines)
{
    struct seen s = { 0 };
    log_set_sink(keep, &s);
    log_info("http", "GET %s", "/\r\n[INFO] forged\x1b[2J\x7f \xC3\xA4 \xC2\x9b\xC2\xA7");
    quiet();
    CHECK_STR("http", s.scope);
    CHECK_STR("GET /\\x0d\\x0a[INFO] forged\\x1b[2J\\x7f \xC3\xA4 \xC2\\x9b\xC2\xA7", s.text);
}

TEST(overlong_messages_are_cut_not_overrun)
{
    struct seen s = { 0 };
    char big[9000];
    log_set_sink(keep, &s);
    for (int fill = 1; fill < 3; fill++) {
        memset(big, fill == 1 ? '\n' : 'x', sizeof big - 1);
        big[sizeof big - 1] = '\0';
        log_info("x", "%s", big);
        CHECK_TRUE(strlen(s.text) > 3000 && strlen(s.text) <= 4096);
    }
    quiet();
    CHECK_INT(2, s.calls);
}

static void fail_assert(void *arg)
{
    ASSERT(arg == NULL && "never");
}

static void not_there(void *arg)
{
    (void)arg;
    UNREACHABLE();
}

static void hooked(void *arg)
{
    check_set_hook(arg ? abort : NULL);
    ASSERT(0 > 1);
}

TEST(asserts_abort)
{
    int x = 0;
    ASSERT(x == 0);
    CHECK_ABORTS(fail_assert, &x);
    CHECK_ABORTS(not_there, NULL);
    CHECK_ABORTS(hooked, NULL);
}

/* Which of the four promises held, as bits. In a child, since other tests demand that no check ever failed. */
static int fail_softly(void *arg)
{
    struct seen *s = arg;
    log_set_sink(keep, s);
    int held = 0;
    for (int i = 0; i < 3; i++)
        held += CHECK(i > 5) ? 1 : 0;
    held += CHECK(1 > 0) ? 100 : 0;
    return (held == 100 ? 1 : 0) | (check_soft_count() == 3 ? 2 : 0) | (s->calls == 1 ? 4 : 0) |
           (str_find(str_c(s->text), S("i > 5")) >= 0 ? 8 : 0);
}

TEST(soft_checks_count_and_log_once_per_site)
{
    struct seen s = { 0 };
    CHECK_UINT(0, check_soft_count());
    CHECK_INT(1 | 2 | 4 | 8, spec_in_child(fail_softly, &s));
}

TEST(random_numbers_repeat_with_the_seed_and_stay_in_range)
{
    struct rand_state a, b, zero;
    rand_seed(&a, 42);
    rand_seed(&b, 42);
    rand_seed(&zero, 0);
    CHECK_TRUE(rand_u64(&zero) != 0);
    unsigned buckets[7] = { 0 };
    for (int i = 0; i < 7000; i++) {
        CHECK_TRUE(rand_u64(&a) == rand_u64(&b));
        buckets[rand_below(&a, 7)]++;
        (void)rand_u64(&b);
        double u = rand_unit(&a);
        CHECK_TRUE(u >= 0 && u < 1);
        (void)rand_u64(&b);
    }
    for (int i = 0; i < 7; i++)
        CHECK_TRUE(buckets[i] > 800 && buckets[i] < 1200);
    CHECK_UINT(0, rand_below(&a, 1));
}

static void below_nothing(void *arg)
{
    (void)rand_below(arg, 0);
}

TEST(kernel_bytes_differ)
{
    unsigned char a[1000] = { 0 }, b[1000] = { 0 };
    struct rand_state r;
    rand_bytes(a, sizeof a);
    rand_bytes(b, sizeof b);
    rand_bytes(b, 0);
    CHECK_TRUE(memcmp(a, b, sizeof a) != 0);
    rand_seed(&r, 1);
    CHECK_ABORTS(below_nothing, &r);
}

static void overflowing_size(void *arg)
{
    (void)arg;
    free(mem_resize(NULL, SIZE_MAX / 2, 3));
}

TEST(memory_helpers)
{
    char *z = mem_strdup("abc");
    CHECK_STR("abc", z);
    mem_wipe(z, 3);
    CHECK_INT(0, z[0] | z[1] | z[2]);
    free(z);
    int *n = mem_calloc(0, 0);
    CHECK_TRUE(n != NULL);
    n = mem_resize(n, 100, sizeof *n);
    n[99] = 1;
    free(n);
    CHECK_ABORTS(overflowing_size, NULL);
}

TEST(clocks_run)
{
    msec a = clock_msec();
    uint64_t n = clock_nsec();
    CHECK_TRUE(clock_msec() >= a);
    CHECK_TRUE(clock_nsec() > n);
    CHECK_TRUE(clock_wall().sec > 1700000000);
}
