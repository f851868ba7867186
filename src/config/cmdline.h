/* cmdline.h: a command text to its words: comment lines, continuation lines, quotes (config.md 5).
 *
 * Not: a shell. No variables, globs or pipes; `|`, `>` and `&&` are ordinary words.
 */
#ifndef LUASWAP_CONFIG_CMDLINE_H
#define LUASWAP_CONFIG_CMDLINE_H

#include "base/arena.h"
#include "base/error.h"

/* The words, NUL-ended, in `a`. ERR_SYNTAX "empty command" when there is none; ERR_LIMIT when the
 * arena is full. */
MUSTCHECK int cmdline_split(struct arena *a, str cmd, str **ret_argv, size_t *ret_n,
                            struct error *e);

/* Without the lines whose first non-blank character is '#', as done at load (5.1); `text` itself if
 * there is none. */
str cmdline_strip_comments(struct arena *a, str text);

#endif
