/* re2.h: is a pattern legal RE2, the syntax of upstream.ignorePaths?
 *
 * What: a checker for the syntax only, so that the pure layers need no matcher and patterns that
 *       another engine would accept (look-around, back-references) are refused as in the reference.
 * Note for those who compile the pattern with PCRE2: everything accepted here means the same there
 *       with UTF and DOLLAR_ENDONLY set, except \1..\7 followed by octal digits (octal here) and \v
 *       (one character here).
 * Limits: groups nest at most 200 deep.
 */
#ifndef LUASWAP_CONFIG_RE2_H
#define LUASWAP_CONFIG_RE2_H

#include "base/error.h"

/* 0, or ERR_SYNTAX with the reason and the byte where it is. */
MUSTCHECK int re2_check(str pattern, struct error *e);

#endif
