/* listen.c: see listen.h. */
#include "io/listen.h"

#include "base/check.h"
#include "io/uvloop.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* As large as the kernel's own bound: thousands of clients may knock at once. */
#define BACKLOG 4096

struct io_listener {
    union {
        uv_stream_t s;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    struct io_loop *loop;
    io_accept_fn *fn;
    void *ud;
    bool is_pipe, paused, waiting, closing;
    int port;
    char addr[128];
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void take(struct io_listener *ls)
{
    struct io_stream *s = io_stream_new(ls->loop, ls->is_pipe);
    ls->waiting = false;
    if (uv_accept(&ls->h.s, io_stream_uv(s)) != 0) {
        io_stream_close(s);
        return;
    }
    if (!ls->is_pipe)
        uv_tcp_nodelay((uv_tcp_t *)io_stream_uv(s), 1);
    ls->fn(ls->ud, s);
}

static void on_connection(uv_stream_t *h, int status)
{
    struct io_listener *ls = h->data;
    if (status < 0 || ls->closing)
        return; /* out of descriptors, or the client left already; libuv goes on listening */
    /* A connection that is not accepted makes libuv stop polling: that is the pause. */
    if (ls->paused)
        ls->waiting = true;
    else
        take(ls);
}

void io_listener_pause(struct io_listener *ls, bool paused)
{
    ls->paused = paused;
    if (!paused && ls->waiting && !ls->closing)
        take(ls);
}

/* Removes a socket file nobody listens on any more; leaves everything else alone. */
static void unlink_stale(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    size_t len = strlen(path);
    if (len < sizeof sa.sun_path) {
        memcpy(sa.sun_path, path, len + 1);
        if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0 && errno == ECONNREFUSED)
            unlink(path);
    }
    close(fd);
}

static int open_unix(struct io_listener *ls, str path, struct error *e)
{
    char z[sizeof(((struct sockaddr_un *)0)->sun_path)];
    if (path.len == 0 || path.len >= sizeof z || str_chr(path, '\0') >= 0)
        return error_set(e, ERR_CONFIG, "listen address unix:" STR_FMT ": bad path", STR_ARG(path));
    memcpy(z, path.ptr, path.len);
    z[path.len] = '\0';
    ls->is_pipe = true;
    ASSERT(uv_pipe_init(&ls->loop->uv, &ls->h.pipe, 0) == 0);
    unlink_stale(z);
    int rc = uv_pipe_bind(&ls->h.pipe, z);
    return rc == 0 ? 0 : error_sys(e, ERR_SYS, -rc, "listen on unix:%s", z);
}

static int open_fd(struct io_listener *ls, str num, struct error *e)
{
    uint64_t fd;
    int domain = 0, listening = 0;
    socklen_t len = sizeof domain;
    if (!str_to_u64(num, &fd) || fd > 1 << 20)
        return error_set(e, ERR_CONFIG, "listen address fd:" STR_FMT ": not a number", STR_ARG(num));
    if (getsockopt((int)fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 ||
        getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0)
        return error_sys(e, ERR_SYS, errno, "listen on descriptor %d", (int)fd);
    if (!listening)
        return error_set(e, ERR_CONFIG, "descriptor %d does not listen", (int)fd);
    fcntl((int)fd, F_SETFD, FD_CLOEXEC); /* models must not get it */
    ls->is_pipe = domain == AF_UNIX;
    int rc = ls->is_pipe ? uv_pipe_init(&ls->loop->uv, &ls->h.pipe, 0) : uv_tcp_init(&ls->loop->uv, &ls->h.tcp);
    ASSERT(rc == 0);
    rc = ls->is_pipe ? uv_pipe_open(&ls->h.pipe, (int)fd) : uv_tcp_open(&ls->h.tcp, (int)fd);
    return rc == 0 ? 0 : error_sys(e, ERR_SYS, -rc, "listen on descriptor %d", (int)fd);
}

/* host:port, [v6]:port, :port. ret_any: no host was given. */
static int split(str addr, char *host, size_t size, int *ret_port, struct error *e)
{
    ptrdiff_t colon = -1;
    for (size_t i = addr.len; i > 0 && colon < 0; i--)
        if (addr.ptr[i - 1] == ':')
            colon = (ptrdiff_t)i - 1;
    uint64_t port;
    if (colon < 0 || !str_to_u64(str_sub(addr, (size_t)colon + 1, addr.len), &port) || port > 65535)
        return error_set(e, ERR_CONFIG, "listen address '" STR_FMT "': want host:port", STR_ARG(addr));
    str h = str_sub(addr, 0, (size_t)colon);
    if (h.len >= 2 && h.ptr[0] == '[' && h.ptr[h.len - 1] == ']')
        h = str_sub(h, 1, h.len - 2);
    else if (str_chr(h, ':') >= 0)
        return error_set(e, ERR_CONFIG, "listen address '" STR_FMT "': put IPv6 in brackets", STR_ARG(addr));
    if (h.len >= size || str_chr(h, '\0') >= 0)
        return error_set(e, ERR_CONFIG, "listen address too long");
    if (h.len)
        memcpy(host, h.ptr, h.len);
    host[h.len] = '\0';
    *ret_port = (int)port;
    return 0;
}

/* A name for the listener is looked up at once: this happens at the start only. */
static int resolve(struct io_loop *l, const char *host, int port, struct sockaddr_storage *sa)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)sa) == 0)
        return 0;
    if (uv_ip6_addr(host, port, (struct sockaddr_in6 *)sa) == 0)
        return 0;
    char service[8];
    uint64_t p = (uint64_t)port;
    struct strbuf b = STRBUF(8);
    strbuf_addu(&b, p);
    memcpy(service, b.ptr, b.len + 1);
    strbuf_fini(&b);
    uv_getaddrinfo_t req;
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    int rc = uv_getaddrinfo(&l->uv, &req, NULL, host, service, &hints);
    if (rc != 0)
        return rc;
    const struct addrinfo *a = req.addrinfo;
    for (const struct addrinfo *i = a; i; i = i->ai_next)
        if (i->ai_family == AF_INET) {
            a = i;
            break;
        }
    memcpy(sa, a->ai_addr, a->ai_addrlen);
    uv_freeaddrinfo(req.addrinfo);
    return 0;
}

static int open_tcp(struct io_listener *ls, str addr, struct error *e)
{
    char host[104];
    struct sockaddr_storage sa = { 0 };
    int port = 0;
    ASSERT(uv_tcp_init(&ls->loop->uv, &ls->h.tcp) == 0);
    int rc = split(addr, host, sizeof host, &port, e);
    if (rc != 0)
        return rc;
    if (host[0]) {
        rc = resolve(ls->loop, host, port, &sa);
        if (rc == 0)
            rc = uv_tcp_bind(&ls->h.tcp, (struct sockaddr *)&sa, 0);
    } else {
        /* One IPv6 socket takes IPv4 too; without IPv6 in the kernel, IPv4 alone. */
        uv_ip6_addr("::", port, (struct sockaddr_in6 *)&sa);
        rc = uv_tcp_bind(&ls->h.tcp, (struct sockaddr *)&sa, 0);
        if (rc == UV_EAFNOSUPPORT || rc == UV_EADDRNOTAVAIL || rc == UV_EINVAL) {
            uv_ip4_addr("0.0.0.0", port, (struct sockaddr_in *)&sa);
            rc = uv_tcp_bind(&ls->h.tcp, (struct sockaddr *)&sa, 0);
        }
    }
    return rc == 0 ? 0 : error_sys(e, ERR_SYS, -rc, "listen on " STR_FMT, STR_ARG(addr));
}

static void name_it(struct io_listener *ls, str addr)
{
    struct strbuf b = STRBUF(sizeof ls->addr - 1);
    struct sockaddr_storage sa;
    int len = sizeof sa;
    char ip[48] = "";
    if (ls->is_pipe || uv_tcp_getsockname(&ls->h.tcp, (struct sockaddr *)&sa, &len) != 0) {
        strbuf_add(&b, str_sub(addr, 0, b.max));
    } else if (sa.ss_family == AF_INET6) {
        uv_ip6_name((struct sockaddr_in6 *)&sa, ip, sizeof ip);
        ls->port = ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
        strbuf_addf(&b, "[%s]:%d", ip, ls->port);
    } else {
        uv_ip4_name((struct sockaddr_in *)&sa, ip, sizeof ip);
        ls->port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
        strbuf_addf(&b, "%s:%d", ip, ls->port);
    }
    memcpy(ls->addr, b.ptr ? b.ptr : "", b.len + 1);
    strbuf_fini(&b);
}

struct io_listener *io_listen(struct io_loop *l, str addr, io_accept_fn *fn, void *ud, struct error *e)
{
    struct io_listener *ls = mem_zalloc(sizeof *ls);
    ls->loop = l;
    ls->fn = fn;
    ls->ud = ud;
    int rc;
    if (str_starts(addr, S("unix:")))
        rc = open_unix(ls, str_sub(addr, 5, addr.len), e);
    else if (str_starts(addr, S("fd:")))
        rc = open_fd(ls, str_sub(addr, 3, addr.len), e);
    else
        rc = open_tcp(ls, addr, e);
    ls->h.s.data = ls;
    if (rc == 0 && (rc = uv_listen(&ls->h.s, BACKLOG, on_connection)) != 0)
        rc = error_sys(e, ERR_SYS, -rc, "listen on " STR_FMT, STR_ARG(addr));
    if (rc != 0) {
        if (ls->h.s.loop)
            io_listener_close(ls);
        else
            free(ls);
        return NULL;
    }
    name_it(ls, addr);
    return ls;
}

int io_listener_port(const struct io_listener *ls)
{
    return ls->port;
}

str io_listener_addr(const struct io_listener *ls)
{
    return str_c(ls->addr);
}

void io_listener_close(struct io_listener *ls)
{
    if (ls->closing)
        return;
    ls->closing = true;
    uv_close((uv_handle_t *)&ls->h.s, on_closed);
}
