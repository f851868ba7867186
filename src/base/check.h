/* check.h: assertions that stay in the release build.
 *
 * ASSERT  a broken promise between our own modules: say what, call the crash hook, abort.
 * CHECK   a surprise that can be survived: count it, log it once per site, go on. Yields the condition.
 * DASSERT costly walks (heap order, list consistency), debug builds only.
 */
#ifndef LUASWAP_BASE_CHECK_H
#define LUASWAP_BASE_CHECK_H

#include <stdbool.h>

#define ASSERT(cond) ((void)((cond) || (check_fail(#cond, __FILE__, __LINE__), 0)))
#define UNREACHABLE() check_fail("unreachable", __FILE__, __LINE__)
#define CHECK(cond)                                                                                \
    ({                                                                                             \
        static bool check_said_;                                                                   \
        bool check_ok_ = (cond);                                                                   \
        if (!check_ok_)                                                                            \
            check_soft(#cond, __FILE__, __LINE__, &check_said_);                                   \
        check_ok_;                                                                                 \
    })
#ifdef LUASWAP_DEBUG
#define DASSERT(cond) ASSERT(cond)
#else
#define DASSERT(cond) ((void)0)
#endif

_Noreturn void check_fail(const char *cond, const char *file, int line);
void check_soft(const char *cond, const char *file, int line, bool *said);
/* Number of CHECKs that failed since the start; the specs demand 0. */
unsigned check_soft_count(void);
/* Called once, before abort(), so that the program can dump its state. NULL removes it. */
void check_set_hook(void (*hook)(void));

#endif
