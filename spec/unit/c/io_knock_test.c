/* io_knock_test.c: is anybody listening here? */
#include "io/knock.h"

#include "spec.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int bound(int *ret_port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(0, bind(fd, (struct sockaddr *)&a, sizeof a));
    CHECK_INT(0, getsockname(fd, (struct sockaddr *)&a, &len));
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void check(enum io_knock expected, const char *host, int port)
{
    CHECK_INT(expected, io_knock(str_c(host), port));
    /* without the kernel's module the look has no answer, and never a wrong one */
    enum io_knock look = io_listens(str_c(host), port);
    if (look != IO_KNOCK_UNKNOWN)
        CHECK_INT(expected, look);
}

TEST(a_knock_and_a_look_tell_whether_somebody_listens)
{
    int port, fd = bound(&port);
    check(IO_KNOCK_REFUSED, "127.0.0.1", port); /* bound is not listening */
    check(IO_KNOCK_REFUSED, "localhost", port);
    CHECK_INT(0, listen(fd, 10));
    check(IO_KNOCK_OPEN, "127.0.0.1", port);
    check(IO_KNOCK_OPEN, "LocalHost", port);
    check(IO_KNOCK_REFUSED, "127.0.0.2", port);
    close(fd);
    check(IO_KNOCK_REFUSED, "127.0.0.1", port);
}

TEST(a_listener_on_every_address_is_found_too)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0;
    if (fd < 0)
        return; /* a machine without IPv6 */
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    CHECK_INT(0, bind(fd, (struct sockaddr *)&a, sizeof a));
    CHECK_INT(0, listen(fd, 10));
    CHECK_INT(0, getsockname(fd, (struct sockaddr *)&a, &len));
    check(IO_KNOCK_OPEN, "127.0.0.1", ntohs(a.sin6_port));
    check(IO_KNOCK_OPEN, "::1", ntohs(a.sin6_port));
    check(IO_KNOCK_OPEN, "localhost", ntohs(a.sin6_port));
    close(fd);
}

TEST(a_knock_elsewhere_is_not_made)
{
    CHECK_INT(IO_KNOCK_UNKNOWN, io_knock(S("192.0.2.1"), 80));
    CHECK_INT(IO_KNOCK_UNKNOWN, io_knock(S("2001:db8::1"), 80));
    CHECK_INT(IO_KNOCK_UNKNOWN, io_knock(S("example.org"), 80));
    CHECK_INT(IO_KNOCK_UNKNOWN, io_knock(S(""), 80));
    CHECK_INT(IO_KNOCK_UNKNOWN, io_knock(S("127.0.0.1"), 0));
    CHECK_INT(IO_KNOCK_UNKNOWN, io_knock(S("127.0.0.1"), 70000));
}
