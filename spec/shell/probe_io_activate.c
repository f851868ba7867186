/* probe_io_activate.c: the Lua module spec.activate: what systemd does for a service with sockets.
 *
 *   exec({ address... }, { argv... })   address: "127.0.0.1" (any port) or "unix:/path". Each becomes a listening
 *        descriptor from 3 on, LISTEN_FDS and LISTEN_PID say so, and the program takes the place of this process.
 */
#include "spec.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listening(const char *address)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    bool local = strncmp(address, "unix:", 5) == 0;
    int fd = socket(local ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    if (local)
        snprintf(un.sun_path, sizeof un.sun_path, "%s", address + 5);
    else
        inet_pton(AF_INET, address, &in.sin_addr);
    int rc = local ? bind(fd, (struct sockaddr *)&un, sizeof un) : bind(fd, (struct sockaddr *)&in, sizeof in);
    return rc == 0 && listen(fd, 16) == 0 ? fd : -1;
}

static int l_exec(lua_State *L)
{
    int n = (int)luaL_len(L, 1), argc = (int)luaL_len(L, 2), fds[8];
    char text[24], *argv[64];
    luaL_argcheck(L, n <= 8 && argc < 64, 1, "too many");
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        int fd = listening(luaL_checkstring(L, -1));
        fds[i] = fcntl(fd, F_DUPFD, 100);
        close(fd);
        if (fds[i] < 0)
            return luaL_error(L, "cannot listen on %s", lua_tostring(L, -1));
    }
    for (int i = 0; i < n; i++) {
        dup2(fds[i], 3 + i);
        close(fds[i]);
    }
    for (int i = 0; i < argc; i++) {
        lua_rawgeti(L, 2, i + 1); /* stays on the stack: it owns the text */
        argv[i] = (char *)(uintptr_t)luaL_checkstring(L, -1);
    }
    argv[argc] = NULL;
    snprintf(text, sizeof text, "%d", n);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof text, "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDNAMES", "http", 1);
    execv(argv[0], argv);
    return luaL_error(L, "cannot run %s", argv[0]);
}

static int open_activate(lua_State *L)
{
    static const luaL_Reg fns[] = { { "exec", l_exec }, { NULL, NULL } };
    luaL_newlib(L, fns);
    return 1;
}

PROBE(activate, open_activate);
