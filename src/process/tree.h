/* tree.h: the processes of the machine as /proc lists them, who descends from whom, and signals to them.
 *
 * What: a snapshot. A process may have ended or forked since: whoever wants a tree dead scans and kills until
 *       a scan finds nothing (or wait() says that no child is left, which is exact for a subreaper).
 * Not:  waiting, deciding. No libuv: the supervisor uses it too.
 */
#ifndef LUASWAP_PROCESS_TREE_H
#define LUASWAP_PROCESS_TREE_H

#include "base/str.h"

#include <sys/types.h>

struct tree_proc {
    pid_t pid, ppid, pgid, sid;
    unsigned long long start; /* clock ticks since boot: with the pid, an identity */
    char state;               /* 'Z' = dead but not reaped */
    bool mark;
};
struct tree {
    struct tree_proc *procs; /* sorted by pid */
    size_t n, cap;
};

void tree_init(struct tree *t);
void tree_fini(struct tree *t);
/* Lists every process that is visible, marks cleared. False when /proc cannot be read. */
bool tree_scan(struct tree *t);
/* Lists (and marks) only what descends from pid, at a cost that does not depend on the rest of the machine.
 * A process may be missing when others around it end at the same moment: for a first look at a quiet tree.
 * Where the kernel has no /proc/PID/task/TID/children this is a scan. */
bool tree_below(struct tree *t, pid_t pid);
/* Marks (or unmarks) what descends from pid, not pid itself. Returns how many are marked now. */
size_t tree_mark_below(struct tree *t, pid_t pid, bool mark);
struct tree_proc *tree_find(const struct tree *t, pid_t pid);
/* Does the environment the process was started with hold "NAME=value"? False when unreadable. */
bool tree_has_env(pid_t pid, str entry);
/* Sends only if pid is still the process of the snapshot. */
void tree_signal(const struct tree_proc *p, int sig);
/* Parses the content of /proc/PID/stat. */
bool tree_parse_stat(str text, struct tree_proc *ret);

#endif
