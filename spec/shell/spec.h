/* spec.h: what a C test and a probe need from the test shell.
 *
 * TEST   a test body in C; registers itself and becomes one busted it() (spec/unit/c_spec.lua). Files are
 *        spec/unit/c/<folder>_<topic>_test.c.
 * PROBE  makes require 'spec.<name>' call an `int open(lua_State *)`. Files are
 *        spec/shell/probe_<folder>_<topic>.c. The opener may run more than once in a process.
 * CHECK_* end the test at the first miss, with file and line; a test that misses leaks what it held, so that the
 *        leak checker has nothing to say in that run.
 */
#ifndef LUASWAP_SPEC_H
#define LUASWAP_SPEC_H

#include "base/str.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

struct spec_test {
    const char *name, *file;
    int line;
    void (*body)(void);
    struct spec_test *next;
};
struct spec_probe {
    const char *name;
    lua_CFunction open;
    struct spec_probe *next;
};

void spec_add_test(struct spec_test *t);
void spec_add_probe(struct spec_probe *p);
/* "spec.ctest" itself: list() and run(file, name). */
int spec_open_ctest(lua_State *L);
/* package.preload["spec." .. name] for every probe. */
void spec_preload_probes(lua_State *L);

#define TEST(id)                                                                                   \
    static void spec_body_##id(void);                                                              \
    __attribute__((constructor)) static void spec_reg_##id(void)                                   \
    {                                                                                              \
        static struct spec_test t = { #id, __FILE__, __LINE__, spec_body_##id, NULL };             \
        spec_add_test(&t);                                                                         \
    }                                                                                              \
    static void spec_body_##id(void)

#define PROBE(id, fn)                                                                              \
    __attribute__((constructor)) static void spec_reg_probe_##id(void)                             \
    {                                                                                              \
        static struct spec_probe p = { #id, (fn), NULL };                                          \
        spec_add_probe(&p);                                                                        \
    }                                                                                              \
    struct spec_probe_##id##_ends_with_semicolon

_Noreturn void spec_miss(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void spec_check_int(const char *file, int line, const char *what, long long expected, long long got);
void spec_check_uint(const char *file, int line, const char *what, unsigned long long expected,
                     unsigned long long got);
void spec_check_str(const char *file, int line, const char *what, str expected, str got);
/* Runs fn(arg) in a forked child with its stderr closed; true when that child ended by abort(). */
bool spec_aborts(void (*fn)(void *), void *arg);
/* Runs fn(arg) in a forked child, for what would leave its mark on the process; what fn returned (0..255), or -1
 * when the child did not end by itself. */
int spec_in_child(int (*fn)(void *), void *arg);

static inline str spec_same_str(str s)
{
    return s;
}
#define SPEC_STR(x)                                                                                \
    _Generic((x), str: spec_same_str, char *: str_c, const char *: str_c)(x)

#define CHECK_TRUE(cond)                                                                           \
    do {                                                                                           \
        if (!(cond))                                                                               \
            spec_miss(__FILE__, __LINE__, "not true: %s", #cond);                                  \
    } while (0)
#define CHECK_FALSE(cond)                                                                          \
    do {                                                                                           \
        if (cond)                                                                                  \
            spec_miss(__FILE__, __LINE__, "not false: %s", #cond);                                 \
    } while (0)
#define CHECK_NULL(p) CHECK_TRUE((p) == NULL)
#define CHECK_INT(expected, got)                                                                   \
    spec_check_int(__FILE__, __LINE__, #got, (long long)(expected), (long long)(got))
#define CHECK_UINT(expected, got)                                                                  \
    spec_check_uint(__FILE__, __LINE__, #got, (unsigned long long)(expected),                      \
                    (unsigned long long)(got))
/* Both sides may be a `str` or a NUL-ended string; use S("...") for text that holds NULs. */
#define CHECK_STR(expected, got)                                                                   \
    spec_check_str(__FILE__, __LINE__, #got, SPEC_STR(expected), SPEC_STR(got))
#define CHECK_ABORTS(fn, arg)                                                                      \
    do {                                                                                           \
        if (!spec_aborts((fn), (arg)))                                                             \
            spec_miss(__FILE__, __LINE__, "did not abort: %s", #fn);                               \
    } while (0)

#endif
