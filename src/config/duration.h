/* duration.h: durations as "1m30s", "1.5m", "500ms" (the syntax of Go's time package). */
#ifndef LUASWAP_CONFIG_DURATION_H
#define LUASWAP_CONFIG_DURATION_H

#include "base/error.h"
#include "base/strbuf.h"

/* Nanoseconds, or ERR_SYNTAX. */
MUSTCHECK int duration_parse(str s, int64_t *ret_ns);
/* The same syntax back: "1m30s", "5s", "1.5s"; never negative. */
bool duration_text(int64_t ns, struct strbuf *out);

#endif
