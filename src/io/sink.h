/* sink.h: writes log text to a descriptor without ever making the loop wait.
 *
 * What: a regular file or /dev/null is written directly; a terminal or pipe gets a thread that does the
 *       blocking writes, fed through a bounded buffer. What does not fit is dropped and counted, and the count
 *       is said in a line of its own when writing goes on.
 * Ends: io_sink_free() waits up to 200 ms for what is buffered.
 */
#ifndef LUASWAP_IO_SINK_H
#define LUASWAP_IO_SINK_H

#include "base/str.h"

struct io_sink;

/* fd is borrowed. */
struct io_sink *io_sink_new(int fd);
void io_sink_write(struct io_sink *s, str text);
/* True when nothing waits to be written. */
bool io_sink_idle(struct io_sink *s);
void io_sink_free(struct io_sink *s);

#endif
