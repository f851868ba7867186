/* exec.h: turns a list of words into a running program. Part of the supervisor: no libuv.
 *
 * What: a session of its own, default signals, /dev/null as input, both outputs on one descriptor, SIGKILL when
 *       its parent dies. The program is found by the PATH given, never by one of its own environment.
 */
#ifndef LUASWAP_PROCESS_EXEC_H
#define LUASWAP_PROCESS_EXEC_H

#include "process/cgroup.h"

#include <stddef.h>
#include <sys/types.h>

/* NUL-ended texts, NULL at the end, as execve wants them. Owns them. */
struct words {
    char **v;
    size_t n, bytes;
};

void words_add(struct words *w, char *text); /* takes it over */
void words_clear(struct words *w);

/* Waits until the program was executed or could not be. Returns its pid, which is also its group and session, or
 * -errno. add: entries on top of our own environment; of entries with one name the last counts. output -1: dropped.
 * cgroup may be NULL. */
pid_t exec_words(const struct words *args, const struct words *add, const char *path, int output,
                 const struct cgroup *cgroup);

#endif
