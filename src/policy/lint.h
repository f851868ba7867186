/* lint.h: what can be said of a policy file without running it (lua/luaswap/lint.lua): names that are not there, calls
 * outside their phase, views that outlive their hook, deprecated names.
 *
 * Not:  a proof; it follows local functions, tables and modules beside the file, and passes over the rest.
 * Owns: a Lua state of its own, for the call. Reads the file and those that it requires.
 */
#ifndef LUASWAP_POLICY_LINT_H
#define LUASWAP_POLICY_LINT_H

#include "base/error.h"

#include <stdbool.h>

struct lint_finding {
    const char *file, *code, *text; /* borrowed for the call */
    int line;
    bool error; /* else a warning */
};
/* say() for each finding in the order of lines. ERR_NOTFOUND: cannot be read; ERR_SYNTAX: no Lua, e says where. */
MUSTCHECK int policy_lint(const char *path, void (*say)(void *ud, const struct lint_finding *f), void *ud, struct error *e);

#endif
