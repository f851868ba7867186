/* cgroup.c: see cgroup.h. Source: Linux, Documentation/admin-guide/cgroup-v2.rst; systemd's
 * CGROUP_DELEGATION.md for the mark. */
#include "process/cgroup.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PREFIX "luaswap-"

static bool marked(int dir)
{
    char v = 0;
    return (fgetxattr(dir, "user.delegate", &v, 1) == 1 && v == '1') ||
           (fgetxattr(dir, "trusted.delegate", &v, 1) == 1 && v == '1');
}

/* The path of our own group, "/" and so on. */
static bool own_path(char *path, size_t size)
{
    char buf[PATH_MAX];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buf, sizeof buf);
    close(fd);
    str rest = n > 0 ? str_n(buf, (size_t)n) : STR_NONE, line;
    while (rest.len) {
        str_cut(rest, '\n', &line, &rest);
        if (str_starts(line, S("0::/")) && line.len - 3 < size) {
            memcpy(path, line.ptr + 3, line.len - 3);
            path[line.len - 3] = '\0';
            return true;
        }
    }
    return false;
}

static int open_own(void)
{
    static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    char path[PATH_MAX / 2], whole[PATH_MAX];
    if (!own_path(path, sizeof path))
        return -1;
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        snprintf(whole, sizeof whole, "%s%s", mounts[i], path);
        int dir = open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            continue;
        /* version 1 hierarchies have no cgroup.controllers */
        if (faccessat(dir, "cgroup.controllers", F_OK, 0) == 0)
            return dir;
        close(dir);
    }
    return -1;
}

static bool ours_to_use(int dir, const char *wish)
{
    if (faccessat(dir, "cgroup.procs", W_OK, AT_EACCESS) < 0)
        return false;
    if (wish && strcmp(wish, "1") == 0)
        return true;
    char path[8];
    /* the root of the machine has no type; the root of a container's view of it does */
    bool container = own_path(path, sizeof path) && strcmp(path, "/") == 0 &&
                     faccessat(dir, "cgroup.type", F_OK, 0) == 0;
    return container || marked(dir);
}

static void write_file(int dir, const char *name, const char *text, bool *ret_ok)
{
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    *ret_ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
}

/* Empty groups of supervisors that were killed. One that has members is left alone: rmdir refuses. */
static void clean_up(int parent)
{
    int fd = fcntl(parent, F_DUPFD_CLOEXEC, 0);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *it; d && (it = readdir(d));)
        if (str_starts(str_c(it->d_name), S(PREFIX))) {
            /* not one that another supervisor has made for the command it is about to start */
            long pid = strtol(it->d_name + sizeof PREFIX - 1, NULL, 10);
            char proc[40];
            snprintf(proc, sizeof proc, "/proc/%ld", pid);
            if (access(proc, F_OK) < 0)
                unlinkat(parent, it->d_name, AT_REMOVEDIR);
        }
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
}

void cgroup_open(struct cgroup *g)
{
    const char *wish = getenv("LUASWAP_CGROUP");
    *g = (struct cgroup){ .dir = -1, .parent = -1 };
    if (wish && strcmp(wish, "0") == 0)
        return;
    g->parent = open_own();
    if (g->parent < 0 || !ours_to_use(g->parent, wish)) {
        cgroup_close(g);
        return;
    }
    clean_up(g->parent);
    snprintf(g->name, sizeof g->name, PREFIX "%d", (int)getpid());
    if (mkdirat(g->parent, g->name, 0755) == 0 || errno == EEXIST)
        g->dir = openat(g->parent, g->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void cgroup_enter(const struct cgroup *g)
{
    bool ok;
    if (g->dir >= 0)
        write_file(g->dir, "cgroup.procs", "0", &ok);
}

bool cgroup_kill(const struct cgroup *g)
{
    bool ok = false;
    if (g->dir >= 0)
        write_file(g->dir, "cgroup.kill", "1", &ok);
    return ok;
}

void cgroup_close(struct cgroup *g)
{
    if (g->dir >= 0) {
        close(g->dir);
        unlinkat(g->parent, g->name, AT_REMOVEDIR);
    }
    if (g->parent >= 0)
        close(g->parent);
    *g = (struct cgroup){ .dir = -1, .parent = -1 };
}
