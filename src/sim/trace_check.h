/* trace_check.h: is a line of a trace what it should be? If not: which member, and what to write instead.
 *
 * Not: the reading (trace_file.c), which takes defaults for what is absent. Members that are not known are let be.
 */
#ifndef LUASWAP_SIM_TRACE_CHECK_H
#define LUASWAP_SIM_TRACE_CHECK_H

#include "base/error.h"
#include "codec/json.h"

/* v: the parsed line. 0, or ERR_SYNTAX. */
MUSTCHECK int trace_line_check(json v, struct error *e);

#endif
