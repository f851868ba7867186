/* knock.c: see knock.h. */
#include "io/knock.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The one or two addresses that a host means. */
struct where {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    bool has_v4, has_v6;
};

static bool locate(str host, int port, struct where *w)
{
    char text[64];
    *w = (struct where){ .v4.sin_family = AF_INET, .v6.sin6_family = AF_INET6 };
    if (host.len == 0 || host.len >= sizeof text || port <= 0 || port > 65535)
        return false;
    w->v4.sin_port = w->v6.sin6_port = htons((uint16_t)port);
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (str_ieq(host, S("localhost"))) {
        w->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        w->v6.sin6_addr = in6addr_loopback;
        w->has_v4 = w->has_v6 = true;
    } else if (inet_pton(AF_INET, text, &w->v4.sin_addr) == 1) {
        w->has_v4 = ntohl(w->v4.sin_addr.s_addr) >> 24 == 127;
    } else if (inet_pton(AF_INET6, text, &w->v6.sin6_addr) == 1) {
        w->has_v6 = IN6_IS_ADDR_LOOPBACK(&w->v6.sin6_addr);
    }
    return w->has_v4 || w->has_v6;
}

/* ---- connecting ---- */

static enum io_knock try(const struct sockaddr *addr, socklen_t len)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? IO_KNOCK_REFUSED : IO_KNOCK_UNKNOWN;
    int rc = connect(fd, addr, len) < 0 ? errno : 0;
    if (rc == EINPROGRESS) {
        /* The answer came while the socket was locked by connect(); it has been taken in by now. Only a SYN that
         * was dropped (a full backlog) has none: then somebody does listen, but cannot be asked this way. */
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        socklen_t size = sizeof rc;
        if (poll(&p, 1, 0) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &rc, &size) < 0)
            rc = errno;
    }
    close(fd);
    if (rc == 0)
        return IO_KNOCK_OPEN;
    return rc == ECONNREFUSED || rc == EADDRNOTAVAIL ? IO_KNOCK_REFUSED : IO_KNOCK_UNKNOWN;
}

enum io_knock io_knock(str host, int port)
{
    struct where w;
    if (!locate(host, port, &w))
        return IO_KNOCK_UNKNOWN;
    enum io_knock k =
        w.has_v4 ? try((const struct sockaddr *)&w.v4, sizeof w.v4) : IO_KNOCK_REFUSED;
    if (k == IO_KNOCK_REFUSED && w.has_v6)
        k = try((const struct sockaddr *)&w.v6, sizeof w.v6);
    return k;
}

/* ---- looking ---- */

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 req;
};

/* Which socket would take a connection from port 0 of this address to that port? */
static struct question ask(uint8_t family, uint16_t port, const void *ip, size_t ip_len)
{
    struct question q = {
        .head = { .nlmsg_len = sizeof q,
                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST },
        .req = { .sdiag_family = family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .id = { .idiag_sport = port,
                         .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } } },
    };
    memcpy(q.req.id.idiag_src, ip, ip_len);
    memcpy(q.req.id.idiag_dst, ip, ip_len);
    return q;
}

static enum io_knock read_answer(int fd)
{
    _Alignas(struct nlmsghdr) char buf[4096];
    ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n < (ssize_t)sizeof(struct nlmsghdr))
        return IO_KNOCK_UNKNOWN;
    struct nlmsghdr head;
    memcpy(&head, buf, sizeof head);
    if (head.nlmsg_type == NLMSG_ERROR && (size_t)n >= sizeof head + sizeof(struct nlmsgerr)) {
        struct nlmsgerr err;
        memcpy(&err, buf + NLMSG_HDRLEN, sizeof err);
        return err.error == -ENOENT ? IO_KNOCK_REFUSED : IO_KNOCK_UNKNOWN;
    }
    struct inet_diag_msg msg;
    if (head.nlmsg_type != SOCK_DIAG_BY_FAMILY || (size_t)n < NLMSG_HDRLEN + sizeof msg)
        return IO_KNOCK_UNKNOWN;
    memcpy(&msg, buf + NLMSG_HDRLEN, sizeof msg);
    return msg.idiag_state == TCP_LISTEN ? IO_KNOCK_OPEN : IO_KNOCK_UNKNOWN;
}

enum io_knock io_listens(str host, int port)
{
    struct where w;
    struct question q[2];
    size_t n = 0;
    if (!locate(host, port, &w))
        return IO_KNOCK_UNKNOWN;
    if (w.has_v4)
        q[n++] = ask(AF_INET, w.v4.sin_port, &w.v4.sin_addr, 4);
    if (w.has_v6)
        q[n++] = ask(AF_INET6, w.v6.sin6_port, &w.v6.sin6_addr, 16);
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return IO_KNOCK_UNKNOWN;
    enum io_knock k = IO_KNOCK_UNKNOWN;
    if (send(fd, q, n * sizeof *q, MSG_DONTWAIT) == (ssize_t)(n * sizeof *q)) {
        k = IO_KNOCK_REFUSED;
        for (size_t i = 0; i < n && k == IO_KNOCK_REFUSED; i++)
            k = read_answer(fd); /* the kernel has answered within send() */
    }
    close(fd);
    return k;
}
