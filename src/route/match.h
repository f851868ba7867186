/* match.h: path patterns of the configuration (upstream.ignorePaths; config.md 9.7).
 *
 * What: PCRE2, searched unanchored in the decoded rest of a path, for patterns of RE2 syntax
 *       (config/re2.h): what that refuses is refused here, so no look-around and no back-references.
 * Owns: the compiled patterns. match_free accepts NULL.
 * Limits: 200000 steps, 1 MiB of heap per search. A search that hits a limit counts as no match: it is
 *       a path chosen by a client against a pattern of the operator, and no match is what an unset
 *       list means.
 */
#ifndef LUASWAP_ROUTE_MATCH_H
#define LUASWAP_ROUTE_MATCH_H

#include "base/error.h"

struct match_set;

/* ERR_CONFIG with the pattern, the place and the reason. */
MUSTCHECK int match_new(const str *patterns, size_t n, struct match_set **ret, struct error *e);
void match_free(struct match_set *m);
bool match_any(const struct match_set *m, str path);

#endif
