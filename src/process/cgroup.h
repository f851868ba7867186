/* cgroup.h: a control group (version 2) of its own for one command's tree, where that may be had.
 *
 * What: with it SIGKILL reaches every member at once (cgroup.kill, Linux 5.14), also one that changed its user
 *       or forks faster than anybody can look.
 * When: only below a group that was handed over to us: systemd's Delegate=yes (its mark on the folder), or the
 *       root of a container's cgroup namespace that is writable. LUASWAP_CGROUP=0 forbids it, =1 does without
 *       the mark. Everything works without a group too (tree.h), so nothing here reports errors.
 * Who:  the supervisor. No libuv.
 */
#ifndef LUASWAP_PROCESS_CGROUP_H
#define LUASWAP_PROCESS_CGROUP_H

#include <stdbool.h>

struct cgroup {
    int dir; /* -1 = none */
    int parent;
    char name[40];
};

void cgroup_open(struct cgroup *g);
/* In the new process, before it becomes the command; where it could not be born inside (exec.c). */
void cgroup_enter(const struct cgroup *g);
/* SIGKILL to all members. False when there is no group or no such file. */
bool cgroup_kill(const struct cgroup *g);
/* Removes the group; also those that supervisors left behind that were killed. */
void cgroup_close(struct cgroup *g);

#endif
