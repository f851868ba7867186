/* spawn.c: the second half of spec.net: child processes, signals, and what /proc says about processes.
 *
 *   spawn{ argv... [, env = {NAME = value|false}] [, cwd =] [, stdin =, stdout =, stderr =] [, pgroup = true]
 *        [, setsid = true] [, outlive = true] } -> proc
 *       stdin/stdout/stderr: 'pipe', 'inherit' (default; stdin: nothing) or a file's path (appended to);
 *       stderr also 'stdout'. A child is killed when this process dies, unless `outlive`.
 *   proc:pid()  proc:kill(sig)  proc:wait([timeout]) -> code | nil, signal number | nil, "timeout"
 *   proc:read_stdout([timeout [, max]]) proc:read_stderr(...) -> data | nil, "timeout"/"closed"
 *   proc:write_stdin(data) -> bytes   proc:close_stdin()  proc:close_stdout()  proc:close_stderr()
 *   kill(pid, sig) -> true | nil, why          sig: a number, or "TERM", "KILL", "INT", ...
 *   pids() -> { { pid, ppid, pgid, sid, state, cmdline, rss_kb }... }
 *   children_of(pid) -> the same for all living descendants (zombies are left out)
 *   stat(pid) -> { rss_kb, anon_kb, cpu_s, switches, threads, fds } | nil    rss_kb(pid)   fds(pid)
 *   marked(text) -> pids of living processes that have the environment entry `text` ("NAME=value"): finds
 *       what a program started, also when it forked, changed its session or lost its parent
 *   signals{ "TERM", ... } -> source for poll; source:read() -> signal number | nil    ignore(sig)
 *   tmpdir() -> path, removed when the Lua state closes      rmtree(path)    setenv(name, value|nil)
 */
#include "net.h"

#include "spec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_S 10.0
#define TMP_PREFIX "luaswap-spec-"

struct proc {
    pid_t pid;
    int pidfd; /* -1 where the kernel has none */
    int fd[3]; /* our ends of the pipes, -1 = none */
    bool done;
    int status;
};

static int check_signal(lua_State *L, int arg)
{
    static const struct {
        const char *name;
        int sig;
    } names[] = { { "TERM", SIGTERM }, { "KILL", SIGKILL }, { "INT", SIGINT },   { "HUP", SIGHUP },
                  { "STOP", SIGSTOP }, { "CONT", SIGCONT }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },
                  { "QUIT", SIGQUIT }, { "ABRT", SIGABRT }, { "SEGV", SIGSEGV } };
    if (lua_type(L, arg) == LUA_TNUMBER)
        return (int)luaL_checkinteger(L, arg);
    const char *want = luaL_optstring(L, arg, "TERM");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(want, names[i].name) == 0)
            return names[i].sig;
    return luaL_argerror(L, arg, "unknown signal");
}

/* ---- spawning -------------------------------------------------------------------------------- */

struct plan {
    char **argv;
    const char *cwd;
    int child_fd[3]; /* what becomes 0, 1, 2; -1 = inherit, -2 = as stdout */
    bool pgroup, setsid, outlive;
};

/* In the child: never returns. The error number goes through `report`. */
static void become(lua_State *L, const struct plan *p, int env, int report)
{
    if (!p->outlive)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (p->setsid)
        setsid();
    else if (p->pgroup)
        setpgid(0, 0);
    for (int i = 0; i < 3; i++) {
        int from = p->child_fd[i] == -2 ? 1 : p->child_fd[i];
        if (from >= 0 && dup2(from, i) < 0)
            goto fail;
    }
    if (p->cwd && chdir(p->cwd) < 0)
        goto fail;
    if (env) {
        for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1)) {
            const char *name = lua_tostring(L, -2);
            if (lua_toboolean(L, -1))
                setenv(name, lua_tostring(L, -1), 1);
            else
                unsetenv(name);
        }
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    execvp(p->argv[0], p->argv);
fail:;
    int e = errno;
    (void)!write(report, &e, sizeof e);
    _exit(127);
}

static int open_stream(lua_State *L, int i, const char *field, struct plan *p, struct proc *c)
{
    lua_getfield(L, 1, field);
    const char *how = luaL_optstring(L, -1, "inherit");
    int ends[2], bad = 0;
    p->child_fd[i] = -1;
    if (strcmp(how, "pipe") == 0) {
        bad = pipe2(ends, O_CLOEXEC);
        if (bad == 0) {
            p->child_fd[i] = ends[i == 0 ? 0 : 1];
            c->fd[i] = ends[i == 0 ? 1 : 0];
            fcntl(c->fd[i], F_SETFL, O_NONBLOCK);
        }
    } else if (strcmp(how, "stdout") == 0 && i == 2) {
        p->child_fd[i] = -2;
    } else if (i == 0) {
        bad = p->child_fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } else if (strcmp(how, "inherit") != 0) {
        bad = p->child_fd[i] = open(how, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    lua_pop(L, 1);
    return bad < 0 ? -1 : 0;
}

static bool option(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Starts the child; 0 or an error number. */
static int launch(lua_State *L, struct plan *p, struct proc *c, int env)
{
    int report[2], e = 0;
    if (pipe2(report, O_CLOEXEC) < 0)
        return errno;
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0)
        become(L, p, env, report[1]);
    close(report[1]);
    if (c->pid < 0)
        e = errno;
    else if (read(report[0], &e, sizeof e) != (ssize_t)sizeof e)
        e = 0;
    close(report[0]);
    if (e && c->pid > 0)
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    if (e)
        c->done = true;
    else
        c->pidfd = pidfd_open(c->pid, 0);
    return e;
}

static int l_spawn(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_Integer n = luaL_len(L, 1);
    luaL_argcheck(L, n > 0, 1, "argv is empty");
    struct plan p = { .argv = lua_newuserdatauv(L, sizeof(char *) * (size_t)(n + 1), 0) };
    memset(p.argv, 0, sizeof(char *) * (size_t)(n + 1));
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        luaL_argcheck(L, lua_isstring(L, -1), 1, "argv holds something that is no string");
        /* a copy, owned by the stack's userdata */
        size_t len;
        const char *s = lua_tolstring(L, -1, &len);
        char *copy = lua_newuserdatauv(L, len + 1, 0);
        p.argv[i] = memcpy(copy, s, len + 1);
        lua_remove(L, -2);
        luaL_checkstack(L, 4, "argv");
    }
    lua_getfield(L, 1, "cwd");
    p.cwd = lua_tostring(L, -1);
    lua_getfield(L, 1, "env");
    int env = lua_istable(L, -1) ? lua_gettop(L) : 0;
    p.pgroup = option(L, "pgroup");
    p.setsid = option(L, "setsid");
    p.outlive = option(L, "outlive");
    struct proc *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (struct proc){ 0, -1, { -1, -1, -1 }, true, 0 };
    luaL_setmetatable(L, NET_PROC);
    int e = 0;
    if (open_stream(L, 0, "stdin", &p, c) < 0 || open_stream(L, 1, "stdout", &p, c) < 0 ||
        open_stream(L, 2, "stderr", &p, c) < 0)
        e = errno;
    if (e == 0) {
        c->done = false;
        e = launch(L, &p, c, env);
    }
    for (int i = 0; i < 3; i++)
        if (p.child_fd[i] >= 0)
            close(p.child_fd[i]);
    if (e)
        return net_fail(L, e);
    return 1;
}

/* ---- a child's life -------------------------------------------------------------------------- */

static struct proc *check_proc(lua_State *L)
{
    return luaL_checkudata(L, 1, NET_PROC);
}

static bool reaped(struct proc *c)
{
    if (!c->done && waitpid(c->pid, &c->status, WNOHANG) == c->pid) {
        c->done = true;
        close_fd(&c->pidfd);
    }
    return c->done;
}

static bool wait_until(struct proc *c, double deadline)
{
    while (!reaped(c)) {
        if (net_now() >= deadline)
            return false;
        if (c->pidfd >= 0)
            (void)net_wait_fd(c->pidfd, POLLIN, deadline);
        else
            poll(NULL, 0, 2);
    }
    return true;
}

static int l_wait(lua_State *L)
{
    struct proc *c = check_proc(L);
    if (!wait_until(c, net_deadline(L, 2, DEFAULT_S)))
        return net_fail(L, ETIMEDOUT);
    if (WIFSIGNALED(c->status)) {
        luaL_pushfail(L);
        lua_pushinteger(L, WTERMSIG(c->status));
        return 2;
    }
    lua_pushinteger(L, WEXITSTATUS(c->status));
    return 1;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, check_proc(L)->pid);
    return 1;
}

/* Never signals a process that was already waited for: its number may be somebody else's. */
static int l_proc_kill(lua_State *L)
{
    struct proc *c = check_proc(L);
    int sig = check_signal(L, 2);
    lua_pushboolean(L, !reaped(c) && kill(c->pid, sig) == 0);
    return 1;
}

static int read_pipe(lua_State *L, int i)
{
    struct proc *c = check_proc(L);
    luaL_argcheck(L, c->fd[i] >= 0, 1, "this stream is no pipe, or closed");
    double deadline = net_deadline(L, 2, DEFAULT_S);
    return net_read(L, c->fd[i], (size_t)luaL_optinteger(L, 3, 65536), deadline);
}

static int l_read_stdout(lua_State *L)
{
    return read_pipe(L, 1);
}

static int l_read_stderr(lua_State *L)
{
    return read_pipe(L, 2);
}

static int l_write_stdin(lua_State *L)
{
    struct proc *c = check_proc(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, c->fd[0] >= 0, 1, "stdin is no pipe, or closed");
    ssize_t n = write(c->fd[0], data, len);
    if (n < 0)
        return net_fail(L, errno);
    lua_pushinteger(L, n);
    return 1;
}

static int l_close_stdin(lua_State *L)
{
    close_fd(&check_proc(L)->fd[0]);
    return 0;
}

static int l_close_stdout(lua_State *L)
{
    close_fd(&check_proc(L)->fd[1]);
    return 0;
}

static int l_close_stderr(lua_State *L)
{
    close_fd(&check_proc(L)->fd[2]);
    return 0;
}

static int l_proc_gc(lua_State *L)
{
    struct proc *c = check_proc(L);
    if (!reaped(c)) {
        kill(c->pid, SIGKILL);
        (void)wait_until(c, net_now() + DEFAULT_S);
    }
    close_fd(&c->pidfd);
    for (int i = 0; i < 3; i++)
        close_fd(&c->fd[i]);
    return 0;
}

static int l_kill(lua_State *L)
{
    lua_Integer pid = luaL_checkinteger(L, 1);
    luaL_argcheck(L, pid > 1 || pid < -1, 1, "not a process of ours");
    if (kill((pid_t)pid, check_signal(L, 2)) < 0)
        return net_fail(L, errno);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- /proc ----------------------------------------------------------------------------------- */

/* Reads a small file of /proc/<pid>/; its length, or -1. The text is NUL-ended. */
static ssize_t slurp(long pid, const char *name, char *out, size_t max)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t n = 0;
    ssize_t got;
    while (n + 1 < max && (got = read(fd, out + n, max - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    out[n] = '\0';
    return (ssize_t)n;
}

struct pstat {
    char state;
    int ppid, pgid, sid;
    unsigned long utime, stime;
    long threads, rss_pages;
};

static bool read_stat(long pid, struct pstat *s)
{
    char buf[1024];
    if (slurp(pid, "stat", buf, sizeof buf) <= 0)
        return false;
    const char *p = strrchr(buf, ')'); /* the name may hold anything, also blanks and parentheses */
    return p && sscanf(p + 1,
                       " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld %*d %*u %*u %ld",
                       &s->state, &s->ppid, &s->pgid, &s->sid, &s->utime, &s->stime, &s->threads,
                       &s->rss_pages) == 8;
}

static void set_int(lua_State *L, const char *key, lua_Integer v)
{
    lua_pushinteger(L, v);
    lua_setfield(L, -2, key);
}

static long page_kb(void)
{
    return sysconf(_SC_PAGESIZE) / 1024;
}

static void push_process(lua_State *L, long pid, const struct pstat *s)
{
    lua_createtable(L, 0, 7);
    set_int(L, "pid", pid);
    set_int(L, "ppid", s->ppid);
    set_int(L, "pgid", s->pgid);
    set_int(L, "sid", s->sid);
    set_int(L, "rss_kb", s->rss_pages * page_kb());
    lua_pushlstring(L, &s->state, 1);
    lua_setfield(L, -2, "state");
    char cmd[8192];
    ssize_t n = slurp(pid, "cmdline", cmd, sizeof cmd);
    for (ssize_t i = 0; i < n; i++)
        if (cmd[i] == '\0')
            cmd[i] = ' ';
    while (n > 0 && cmd[n - 1] == ' ')
        n--;
    lua_pushlstring(L, cmd, n > 0 ? (size_t)n : 0);
    lua_setfield(L, -2, "cmdline");
}

static int l_pids(lua_State *L)
{
    lua_newtable(L);
    DIR *d = opendir("/proc");
    if (!d)
        return 1;
    lua_Integer n = 0;
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        struct pstat s;
        if (*end == '\0' && pid > 0 && read_stat(pid, &s)) {
            push_process(L, pid, &s);
            lua_rawseti(L, -2, ++n);
        }
    }
    closedir(d);
    return 1;
}

static lua_Integer field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    lua_Integer v = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return v;
}

/* Repeats over the list until no process is added: parents may stand behind their children in it. */
static int l_children_of(lua_State *L)
{
    lua_Integer root = luaL_checkinteger(L, 1);
    l_pids(L); /* 2 */
    lua_newtable(L); /* 3: result */
    lua_newtable(L); /* 4: pid -> true */
    int all = lua_gettop(L) - 2, result = all + 1, seen = all + 2;
    lua_pushboolean(L, 1);
    lua_rawseti(L, seen, root);
    lua_Integer n = luaL_len(L, all), found = 0;
    for (bool more = true; more;) {
        more = false;
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, all, i);
            lua_Integer pid = field(L, "pid"), ppid = field(L, "ppid");
            bool has = lua_rawgeti(L, seen, pid) != LUA_TNIL, parent = lua_rawgeti(L, seen, ppid) != LUA_TNIL;
            lua_pop(L, 2);
            if (!has && parent) {
                lua_pushboolean(L, 1);
                lua_rawseti(L, seen, pid);
                lua_getfield(L, -1, "state");
                bool dead = *lua_tostring(L, -1) == 'Z' || *lua_tostring(L, -1) == 'X';
                lua_pop(L, 1);
                if (!dead) {
                    lua_pushvalue(L, -1);
                    lua_rawseti(L, result, ++found);
                }
                more = true;
            }
            lua_pop(L, 1);
        }
    }
    lua_settop(L, result);
    return 1;
}

static lua_Integer count_fds(long pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    DIR *d = opendir(path);
    if (!d)
        return -1;
    lua_Integer n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}

/* "Name:   123 kB" of /proc/<pid>/status */
static lua_Integer status_value(const char *text, const char *name)
{
    const char *p = strstr(text, name);
    return p ? strtoll(p + strlen(name), NULL, 10) : -1;
}

static int l_stat(lua_State *L)
{
    long pid = (long)luaL_checkinteger(L, 1);
    struct pstat s;
    char text[8192];
    if (!read_stat(pid, &s) || slurp(pid, "status", text, sizeof text) <= 0) {
        luaL_pushfail(L);
        return 1;
    }
    lua_createtable(L, 0, 6);
    set_int(L, "rss_kb", s.rss_pages * page_kb());
    set_int(L, "anon_kb", status_value(text, "RssAnon:"));
    set_int(L, "threads", s.threads);
    set_int(L, "fds", count_fds(pid));
    set_int(L, "switches", status_value(text, "\nvoluntary_ctxt_switches:"));
    lua_pushnumber(L, (double)(s.utime + s.stime) / (double)sysconf(_SC_CLK_TCK));
    lua_setfield(L, -2, "cpu_s");
    lua_pushlstring(L, &s.state, 1);
    lua_setfield(L, -2, "state");
    return 1;
}

static int l_rss_kb(lua_State *L)
{
    struct pstat s;
    if (!read_stat((long)luaL_checkinteger(L, 1), &s))
        return net_fail(L, ESRCH);
    lua_pushinteger(L, s.rss_pages * page_kb());
    return 1;
}

static int l_fds(lua_State *L)
{
    lua_pushinteger(L, count_fds((long)luaL_checkinteger(L, 1)));
    return 1;
}

/* True when one of the NUL-ended entries of /proc/<pid>/environ is `want`. */
static bool has_env(long pid, const char *want, char *buf, size_t max)
{
    ssize_t n = slurp(pid, "environ", buf, max);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(buf + at) + 1)
        if (strcmp(buf + at, want) == 0)
            return true;
    return false;
}

static int l_marked(lua_State *L)
{
    const char *want = luaL_checkstring(L, 1);
    size_t max = 1 << 20;
    char *buf = lua_newuserdatauv(L, max, 0);
    l_pids(L);
    lua_newtable(L);
    lua_Integer n = luaL_len(L, -2), found = 0;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -2, i);
        if (has_env((long)field(L, "pid"), want, buf, max)) /* a zombie's environment reads empty */
            lua_rawseti(L, -2, ++found);
        else
            lua_pop(L, 1);
    }
    return 1;
}

/* ---- signals of this process ----------------------------------------------------------------- */

static int l_signals(lua_State *L)
{
    sigset_t set;
    sigemptyset(&set);
    for (lua_Integer i = 1, n = luaL_len(L, 1); i <= n; i++) {
        lua_rawgeti(L, 1, i);
        sigaddset(&set, check_signal(L, -1));
        lua_pop(L, 1);
    }
    int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
    *fd = -1;
    luaL_setmetatable(L, NET_SIGNALS);
    sigprocmask(SIG_BLOCK, &set, NULL);
    *fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (*fd < 0)
        return net_fail(L, errno);
    return 1;
}

static int l_signals_fd(lua_State *L)
{
    lua_pushinteger(L, *(int *)luaL_checkudata(L, 1, NET_SIGNALS));
    return 1;
}

static int l_signals_read(lua_State *L)
{
    struct signalfd_siginfo info;
    if (read(*(int *)luaL_checkudata(L, 1, NET_SIGNALS), &info, sizeof info) != (ssize_t)sizeof info)
        return net_fail(L, errno);
    lua_pushinteger(L, info.ssi_signo);
    return 1;
}

static int l_signals_gc(lua_State *L)
{
    close_fd(luaL_checkudata(L, 1, NET_SIGNALS));
    return 0;
}

static int l_ignore(lua_State *L)
{
    signal(check_signal(L, 1), SIG_IGN);
    return 0;
}

/* ---- files and environment ------------------------------------------------------------------- */

static int unlink_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
    (void)sb, (void)type, (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

static void remove_tree(const char *path)
{
    if (strstr(path, "/" TMP_PREFIX)) /* nothing but our own folders, whatever a spec hands in */
        nftw(path, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int l_rmtree(lua_State *L)
{
    remove_tree(luaL_checkstring(L, 1));
    return 0;
}

static int remove_all(lua_State *L)
{
    lua_getiuservalue(L, 1, 1);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        remove_tree(lua_tostring(L, -1));
    return 0;
}

static int l_tmpdir(lua_State *L)
{
    const char *base = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/" TMP_PREFIX "XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path))
        return net_fail(L, errno);
    if (lua_getfield(L, LUA_REGISTRYINDEX, "spec.tmpdirs") == LUA_TNIL) {
        lua_newuserdatauv(L, 1, 1);
        lua_newtable(L);
        lua_setiuservalue(L, -2, 1);
        lua_newtable(L);
        lua_pushcfunction(L, remove_all);
        lua_setfield(L, -2, "__gc");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, "spec.tmpdirs");
    }
    lua_getiuservalue(L, -1, 1);
    lua_pushstring(L, path);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, luaL_len(L, -3) + 1);
    return 1;
}

static int l_setenv(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (lua_isnoneornil(L, 2))
        unsetenv(name);
    else
        setenv(name, luaL_checkstring(L, 2), 1);
    return 0;
}

void net_add_spawn(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "pid", l_pid },
        { "kill", l_proc_kill },
        { "wait", l_wait },
        { "read_stdout", l_read_stdout },
        { "read_stderr", l_read_stderr },
        { "write_stdin", l_write_stdin },
        { "close_stdin", l_close_stdin },
        { "close_stdout", l_close_stdout },
        { "close_stderr", l_close_stderr },
        { "__gc", l_proc_gc },
        { NULL, NULL },
    };
    static const luaL_Reg fns[] = {
        { "spawn", l_spawn },   { "kill", l_kill },     { "pids", l_pids },
        { "children_of", l_children_of },               { "stat", l_stat },
        { "rss_kb", l_rss_kb }, { "fds", l_fds },       { "tmpdir", l_tmpdir },
        { "rmtree", l_rmtree }, { "setenv", l_setenv }, { "marked", l_marked },
        { "signals", l_signals }, { "ignore", l_ignore }, { NULL, NULL },
    };
    static const luaL_Reg signal_methods[] = {
        { "fd", l_signals_fd }, { "read", l_signals_read }, { "__gc", l_signals_gc }, { NULL, NULL },
    };
    if (luaL_newmetatable(L, NET_SIGNALS)) {
        luaL_setfuncs(L, signal_methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    if (luaL_newmetatable(L, NET_PROC)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    luaL_setfuncs(L, fns, 0);
}
