/* net.c: the Lua module spec.net: sockets with a deadline on everything, for clients, slow readers and
 * fake upstreams in specs. Loopback and unix sockets only. Processes are in spawn.c.
 *
 *   now() -> seconds (monotonic)                    nap(seconds)
 *   connect(host, port [, timeout]) -> sock         host: 127.0.0.1, ::1, localhost, or unix:/path
 *   listen(host, port [, backlog]) -> sock          port 0 picks a free one
 *   poll(readers, timeout [, writers]) -> readable, writable   (lists; items need a :fd())
 *   sock:send(data [, timeout]) -> bytes | nil, why, bytes     timeout 0: what fits now
 *   sock:recv(max [, timeout]) -> data | nil, why
 *   sock:accept([timeout]) -> sock | nil, why
 *   sock:port() sock:peer_port() sock:fd() sock:shutdown('w'|'r') sock:close() sock:rst()
 *   sock:set_rcvbuf(n) sock:set_sndbuf(n) sock:unsent() sock:unread()
 *
 * `why` is "timeout", "closed" (orderly end), "reset", "refused" or the system's text. Times are seconds;
 * the default deadline is 10 s, so that a broken program fails a spec instead of hanging it.
 */
#include "net.h"

#include "spec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>

#define DEFAULT_S 10.0
#define RECV_MAX (16u << 20)

struct sock {
    int fd;
};
union addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

double net_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

double net_deadline(lua_State *L, int arg, double fallback)
{
    return net_now() + luaL_optnumber(L, arg, fallback);
}

static int poll_ms(double deadline)
{
    double left = (deadline - net_now()) * 1000.0;
    return left <= 0 ? 0 : left > 1e8 ? 100000000 : (int)(left + 0.999);
}

bool net_wait_fd(int fd, short events, double deadline)
{
    for (;;) {
        struct pollfd p = { fd, events, 0 };
        int n = poll(&p, 1, poll_ms(deadline));
        if (n > 0)
            return true;
        if (n == 0 && net_now() >= deadline)
            return false;
        if (n < 0 && errno != EINTR)
            return true; /* the operation itself will say what is wrong */
    }
}

int net_fail(lua_State *L, int errnum)
{
    luaL_pushfail(L);
    lua_pushstring(L, errnum == EAGAIN || errnum == ETIMEDOUT || errnum == EINPROGRESS ? "timeout"
                      : errnum == 0 || errnum == EPIPE                                ? "closed"
                      : errnum == ECONNRESET                                          ? "reset"
                      : errnum == ECONNREFUSED                                        ? "refused"
                                                                                      : strerror(errnum));
    return 2;
}

int net_read(lua_State *L, int fd, size_t max, double deadline)
{
    char small[4096];
    if (max > RECV_MAX)
        max = RECV_MAX;
    char *buf = max <= sizeof small ? small : lua_newuserdatauv(L, max, 0);
    for (;;) {
        ssize_t n = read(fd, buf, max);
        if (n > 0) {
            lua_pushlstring(L, buf, (size_t)n);
            return 1;
        }
        if (n == 0)
            return net_fail(L, 0);
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN || !net_wait_fd(fd, POLLIN, deadline))
            return net_fail(L, errno);
    }
}

static struct sock *push_sock(lua_State *L, int fd)
{
    struct sock *s = lua_newuserdatauv(L, sizeof *s, 0);
    s->fd = fd;
    luaL_setmetatable(L, NET_SOCK);
    return s;
}

static struct sock *open_sock(lua_State *L)
{
    struct sock *s = luaL_checkudata(L, 1, NET_SOCK);
    luaL_argcheck(L, s->fd >= 0, 1, "socket is closed");
    return s;
}

static socklen_t parse_addr(lua_State *L, union addr *a)
{
    const char *host = luaL_checkstring(L, 1);
    memset(a, 0, sizeof *a);
    if (strncmp(host, "unix:", 5) == 0) {
        size_t n = strlen(host + 5);
        luaL_argcheck(L, n > 0 && n < sizeof a->un.sun_path, 1, "path of a unix socket");
        a->un.sun_family = AF_UNIX;
        memcpy(a->un.sun_path, host + 5, n);
        return sizeof a->un;
    }
    lua_Integer port = luaL_checkinteger(L, 2);
    luaL_argcheck(L, port >= 0 && port <= 65535, 2, "port out of range");
    if (strcmp(host, "::1") == 0) {
        a->in6.sin6_family = AF_INET6;
        a->in6.sin6_port = htons((uint16_t)port);
        a->in6.sin6_addr = in6addr_loopback;
        return sizeof a->in6;
    }
    a->in.sin_family = AF_INET;
    a->in.sin_port = htons((uint16_t)port);
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    luaL_argcheck(L, strncmp(host, "127.", 4) == 0 && inet_pton(AF_INET, host, &a->in.sin_addr) == 1, 1,
                  "loopback address");
    return sizeof a->in;
}

static int new_fd(const union addr *a)
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd >= 0 && a->sa.sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int fail_close(lua_State *L, int fd)
{
    int e = errno;
    if (fd >= 0)
        close(fd);
    return net_fail(L, e);
}

static int l_connect(lua_State *L)
{
    union addr a;
    socklen_t len = parse_addr(L, &a);
    double deadline = net_deadline(L, 3, DEFAULT_S);
    int fd = new_fd(&a);
    if (fd < 0)
        return net_fail(L, errno);
    if (connect(fd, &a.sa, len) < 0) {
        if (errno != EINPROGRESS || !net_wait_fd(fd, POLLOUT, deadline))
            return fail_close(L, fd);
        int err = 0;
        socklen_t n = sizeof err;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
        if (err) {
            errno = err;
            return fail_close(L, fd);
        }
    }
    push_sock(L, fd);
    return 1;
}

static int l_listen(lua_State *L)
{
    union addr a;
    socklen_t len = parse_addr(L, &a);
    int backlog = (int)luaL_optinteger(L, 3, 1024), one = 1;
    int fd = new_fd(&a);
    if (fd < 0)
        return net_fail(L, errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, &a.sa, len) < 0 || listen(fd, backlog) < 0)
        return fail_close(L, fd);
    push_sock(L, fd);
    return 1;
}

static int l_accept(lua_State *L)
{
    struct sock *s = open_sock(L);
    double deadline = net_deadline(L, 2, DEFAULT_S);
    for (;;) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            int one = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            push_sock(L, fd);
            return 1;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN || !net_wait_fd(s->fd, POLLIN, deadline))
            return net_fail(L, errno);
    }
}

static int l_send(lua_State *L)
{
    struct sock *s = open_sock(L);
    size_t len, done = 0;
    const char *data = luaL_checklstring(L, 2, &len);
    double deadline = net_deadline(L, 3, DEFAULT_S);
    while (done < len) {
        ssize_t n = send(s->fd, data + done, len - done, MSG_NOSIGNAL);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR && (errno != EAGAIN || !net_wait_fd(s->fd, POLLOUT, deadline))) {
            net_fail(L, errno);
            lua_pushinteger(L, (lua_Integer)done);
            return 3;
        }
    }
    lua_pushinteger(L, (lua_Integer)done);
    return 1;
}

static int l_recv(lua_State *L)
{
    struct sock *s = open_sock(L);
    lua_Integer max = luaL_checkinteger(L, 2);
    luaL_argcheck(L, max > 0, 2, "must be positive");
    return net_read(L, s->fd, (size_t)max, net_deadline(L, 3, DEFAULT_S));
}

static lua_Integer port_of(const union addr *a)
{
    return a->sa.sa_family == AF_INET    ? ntohs(a->in.sin_port)
           : a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port)
                                         : 0;
}

static int l_port(lua_State *L)
{
    union addr a = { 0 };
    socklen_t len = sizeof a;
    if (getsockname(open_sock(L)->fd, &a.sa, &len) < 0)
        return net_fail(L, errno);
    lua_pushinteger(L, port_of(&a));
    return 1;
}

static int l_peer_port(lua_State *L)
{
    union addr a = { 0 };
    socklen_t len = sizeof a;
    if (getpeername(open_sock(L)->fd, &a.sa, &len) < 0)
        return net_fail(L, errno);
    lua_pushinteger(L, port_of(&a));
    return 1;
}

static int l_fd(lua_State *L)
{
    lua_pushinteger(L, open_sock(L)->fd);
    return 1;
}

static int l_shutdown(lua_State *L)
{
    struct sock *s = open_sock(L);
    const char *how = luaL_optstring(L, 2, "w");
    lua_pushboolean(L, shutdown(s->fd, *how == 'r' ? SHUT_RD : SHUT_WR) == 0);
    return 1;
}

static int l_close(lua_State *L)
{
    struct sock *s = luaL_checkudata(L, 1, NET_SOCK);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    return 0;
}

/* Closes so that the peer gets a reset instead of an orderly end. */
static int l_rst(lua_State *L)
{
    struct linger now = { 1, 0 };
    setsockopt(open_sock(L)->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    return l_close(L);
}

static int set_int(lua_State *L, int opt)
{
    int v = (int)luaL_checkinteger(L, 2);
    lua_pushboolean(L, setsockopt(open_sock(L)->fd, SOL_SOCKET, opt, &v, sizeof v) == 0);
    return 1;
}

static int l_set_rcvbuf(lua_State *L)
{
    return set_int(L, SO_RCVBUF);
}

static int l_set_sndbuf(lua_State *L)
{
    return set_int(L, SO_SNDBUF);
}

static int queued(lua_State *L, unsigned long request)
{
    int n = 0;
    if (ioctl(open_sock(L)->fd, request, &n) < 0)
        return net_fail(L, errno);
    lua_pushinteger(L, n);
    return 1;
}

/* Bytes that wait in the kernel: sent but not acknowledged, received but not read. */
static int l_unsent(lua_State *L)
{
    return queued(L, SIOCOUTQ);
}

static int l_unread(lua_State *L)
{
    return queued(L, SIOCINQ);
}

static int fd_of_item(lua_State *L, int list, lua_Integer i)
{
    lua_rawgeti(L, list, i);
    struct sock *s = luaL_testudata(L, -1, NET_SOCK);
    int fd = -1;
    if (s) {
        fd = s->fd;
    } else {
        lua_getfield(L, -1, "fd");
        lua_pushvalue(L, -2);
        lua_call(L, 1, 1);
        fd = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return fd;
}

static void push_ready(lua_State *L, int list, const struct pollfd *fds, lua_Integer n)
{
    lua_newtable(L);
    lua_Integer k = 0;
    for (lua_Integer i = 0; i < n; i++) {
        if (!fds[i].revents)
            continue;
        lua_rawgeti(L, list, i + 1);
        lua_rawseti(L, -2, ++k);
    }
}

static int l_poll(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    double deadline = net_deadline(L, 2, DEFAULT_S);
    if (lua_isnoneornil(L, 3)) {
        lua_settop(L, 2);
        lua_newtable(L);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    lua_Integer nr = luaL_len(L, 1), nw = luaL_len(L, 3);
    struct pollfd *fds = lua_newuserdatauv(L, sizeof *fds * (size_t)(nr + nw + 1), 0);
    for (lua_Integer i = 0; i < nr; i++)
        fds[i] = (struct pollfd){ fd_of_item(L, 1, i + 1), POLLIN, 0 };
    for (lua_Integer i = 0; i < nw; i++)
        fds[nr + i] = (struct pollfd){ fd_of_item(L, 3, i + 1), POLLOUT, 0 };
    int n;
    do
        n = poll(fds, (nfds_t)(nr + nw), poll_ms(deadline));
    while ((n < 0 && errno == EINTR) || (n == 0 && net_now() < deadline));
    push_ready(L, 1, fds, nr);
    push_ready(L, 3, fds + nr, nw);
    return 2;
}

static int l_now(lua_State *L)
{
    lua_pushnumber(L, net_now());
    return 1;
}

static int l_nap(lua_State *L)
{
    double deadline = net_deadline(L, 1, 0);
    while (net_now() < deadline)
        poll(NULL, 0, poll_ms(deadline));
    return 0;
}

static int open_net(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "accept", l_accept },         { "send", l_send },
        { "recv", l_recv },             { "port", l_port },
        { "peer_port", l_peer_port },   { "fd", l_fd },
        { "shutdown", l_shutdown },     { "close", l_close },
        { "rst", l_rst },               { "set_rcvbuf", l_set_rcvbuf },
        { "set_sndbuf", l_set_sndbuf }, { "unsent", l_unsent },
        { "unread", l_unread },         { "__gc", l_close },
        { "__close", l_close },         { NULL, NULL },
    };
    static const luaL_Reg fns[] = {
        { "now", l_now },   { "nap", l_nap },   { "connect", l_connect },
        { "listen", l_listen }, { "poll", l_poll }, { NULL, NULL },
    };
    if (luaL_newmetatable(L, NET_SOCK)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    luaL_newlib(L, fns);
    net_add_spawn(L);
    return 1;
}

PROBE(net, open_net);
