/* path_lookup on random paths, against a slow and simple reading of the rule. */
#include "spec.h"

#include "base/rand.h"
#include "route/path_lookup.h"

#include <time.h>

static const char *const names[] = { "a", "a/b", "b/A/a", "%", "b" };

static bool known(void *ud, str name, str *ret_id)
{
    (void)ud;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq(name, str_c(names[i]))) {
            *ret_id = name;
            return true;
        }
    return false;
}

/* The longest name that the segments of `plain`, empty ones left out, begin with; *ret_rest is where the
 * path goes on. */
static const char *slow_lookup(str plain, size_t *ret_rest)
{
    const char *best = NULL;
    struct strbuf joined = STRBUF(1000);
    for (size_t at = 0; at < plain.len;) {
        size_t end = at;
        while (end < plain.len && plain.ptr[end] != '/')
            end++;
        if (end > at) {
            if (joined.len)
                strbuf_addc(&joined, '/');
            strbuf_add(&joined, str_sub(plain, at, end - at));
            for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                if (str_eq(strbuf_str(&joined), str_c(names[i]))) {
                    best = names[i];
                    *ret_rest = end;
                }
        }
        at = end + 1;
    }
    strbuf_fini(&joined);
    return best;
}

TEST(path_lookup_agrees_with_a_slow_reading_on_random_paths)
{
    static const char *const bits[] = { "a",   "b",   "/", "%2F", "%2f", "%41",
                                        "%61", "%25", "A", "//",  "x" };
    struct path_names n = { .known = known, .longest = 5 };
    struct timespec now;
    struct rand_state r;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seed = (uint64_t)now.tv_nsec;
    rand_seed(&r, seed);
    for (int round = 0; round < 50000; round++) {
        struct strbuf tail = STRBUF(1000);
        for (uint64_t k = rand_below(&r, 12); k; k--)
            strbuf_add(&tail, str_c(bits[rand_below(&r, sizeof bits / sizeof bits[0])]));
        struct arena a;
        struct path_match m;
        str plain, rest;
        size_t at = 0;
        arena_init(&a, 1u << 16);
        CHECK_INT(0, path_decode(&a, strbuf_str(&tail), &plain, NULL));
        const char *want = slow_lookup(plain, &at);
        int rc = path_lookup(&a, strbuf_str(&tail), &n, &m, NULL);
        if (rc != (want ? 0 : ERR_NOTFOUND))
            spec_miss(__FILE__, __LINE__, "seed %llu: %s", (unsigned long long)seed, tail.ptr);
        if (want) {
            CHECK_STR(want, m.name);
            CHECK_INT(at == plain.len, m.bare);
            CHECK_STR(at == plain.len ? S("/") : str_sub(plain, at, SIZE_MAX), m.rest);
            CHECK_INT(0, path_decode(&a, m.forward, &rest, NULL));
            CHECK_STR(m.rest, rest);
            CHECK_INT('/', m.forward.ptr[0]);
        }
        arena_fini(&a);
        strbuf_fini(&tail);
    }
}
