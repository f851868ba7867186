/* check.c: see check.h. */
#include "base/check.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

static void (*crash_hook)(void);
static unsigned soft_count;

void check_fail(const char *cond, const char *file, int line)
{
    fprintf(stderr, "luaswap: assertion failed: %s (%s:%d)\n", cond, file, line);
    void (*hook)(void) = crash_hook;
    crash_hook = NULL;
    if (hook)
        hook();
    abort();
}

void check_soft(const char *cond, const char *file, int line, bool *said)
{
    soft_count++;
    if (*said)
        return;
    *said = true;
    log_error("check", "internal check failed: %s (%s:%d); please report this", cond, file, line);
}

unsigned check_soft_count(void)
{
    return soft_count;
}

void check_set_hook(void (*hook)(void))
{
    crash_hook = hook;
}
