/* watch.h: says when a configuration file, or the YAML files of a folder, have changed.
 *
 * What: config.md 1.5. A file: its size, time of change or identity differs, also behind a symbolic link
 *       that was pointed elsewhere, or it is back after having been away. A folder: a *.yml or *.yaml in it
 *       was added, removed or changed, or there are some again after there were none. Silent when the file
 *       or the folder's last YAML file goes away. The state at the start and at each call is the new base.
 * How:  inotify on every folder on the way (also behind links), so an unchanged source costs no wake-up;
 *       where the kernel cannot tell (network file systems, no watches left) a look every 2 s.
 * Not:  reading the file. A change is told once it has been quiet for 100 ms, so that a half-written file
 *       is not loaded, but at the latest after 1 s.
 * Ends: io_watch_free() at any time, also from the call; the memory goes later by itself.
 */
#ifndef LUASWAP_IO_WATCH_H
#define LUASWAP_IO_WATCH_H

#include "io/loop.h"

struct io_watch;

enum io_watch_kind { IO_WATCH_FILE, IO_WATCH_DIR };

/* path is made absolute now; it need not exist. */
struct io_watch *io_watch_new(struct io_loop *l, enum io_watch_kind kind, str path,
                              void (*fn)(void *ud), void *ud, struct error *e);
/* Is it looking every 2 s (and not told by the kernel)? For the log and the specs. */
bool io_watch_polls(const struct io_watch *w);
void io_watch_free(struct io_watch *w); /* NULL is accepted */

#endif
