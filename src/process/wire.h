/* wire.h: words of the supervisor's line protocol (supervise.h).
 *
 * Pure. A line is words separated by one blank; inside a word the bytes % blank CR LF NUL are %XX.
 */
#ifndef LUASWAP_PROCESS_WIRE_H
#define LUASWAP_PROCESS_WIRE_H

#include "base/strbuf.h"

/* One line at most; longer ones end the connection. An argument of Linux is at most 128 KiB, each byte of
 * which may take three. */
#define WIRE_LINE_MAX (512u * 1024)

/* Appends the word, escaped. */
void wire_add(struct strbuf *b, str word);
/* Takes the next line out of what has been read: false when there is none yet. *ret_line is a slice of
 * `all` without the newline, *ret_used what to consume. */
bool wire_line(str all, str *ret_line, size_t *ret_used);
/* Takes the next word; false at the end of the line. */
bool wire_word(str *line, str *ret_word);
/* Undoes the escapes, appending to b; false when they are malformed. */
bool wire_text(struct strbuf *b, str word);
bool wire_int(str word, int *ret);

#endif
