/* socks.c: see socks.h. */
#include "io/socks.h"

#include "base/check.h"

#include <arpa/inet.h>

enum { GREETED, PROVING, ASKED, OPEN };

enum { NO_AUTH = 0, PASSWORD = 2 };
enum { ADDR_V4 = 1, ADDR_NAME = 3, ADDR_V6 = 4 };

bool socks_auth(struct strbuf *out, str user, str password)
{
    if (user.len == 0 || user.len > 255 || password.len > 255)
        return false;
    return strbuf_addc(out, 1) && strbuf_addc(out, (char)(unsigned char)user.len) && strbuf_add(out, user) &&
           strbuf_addc(out, (char)(unsigned char)password.len) && strbuf_add(out, password);
}

int socks_begin(struct socks *s, str host, int port, str auth, struct strbuf *out, struct error *e)
{
    *s = (struct socks){ .state = GREETED, .port = port };
    if (host.len == 0 || host.len >= sizeof s->host || auth.len > sizeof s->auth)
        return error_set(e, ERR_LIMIT, "a name too long for a SOCKS proxy");
    memcpy(s->host, host.ptr, host.len);
    if (auth.len)
        memcpy(s->auth, auth.ptr, auth.len);
    s->auth_len = auth.len;
    (void)strbuf_add(out, auth.len ? S("\5\2\0\2") : S("\5\1\0"));
    return 0;
}

static void ask(struct socks *s, struct strbuf *out)
{
    unsigned char ip[16];
    str host = str_c(s->host);
    (void)strbuf_add(out, S("\5\1\0"));
    if (inet_pton(AF_INET, s->host, ip) == 1) {
        (void)strbuf_addc(out, ADDR_V4);
        (void)strbuf_add(out, str_n((char *)ip, 4));
    } else if (inet_pton(AF_INET6, s->host, ip) == 1) {
        (void)strbuf_addc(out, ADDR_V6);
        (void)strbuf_add(out, str_n((char *)ip, 16));
    } else {
        (void)strbuf_addc(out, ADDR_NAME);
        (void)strbuf_addc(out, (char)(unsigned char)host.len);
        (void)strbuf_add(out, host);
    }
    (void)strbuf_addc(out, (char)(unsigned char)(s->port >> 8));
    (void)strbuf_addc(out, (char)(unsigned char)s->port);
    s->state = ASKED;
}

static int chosen(struct socks *s, unsigned char method, struct strbuf *out, struct error *e)
{
    if (method == NO_AUTH) {
        ask(s, out);
        return 0;
    }
    if (method != PASSWORD || s->auth_len == 0)
        return error_set(e, ERR_PROTOCOL, s->auth_len ? "accepts neither a password nor none" : "wants a user name");
    (void)strbuf_add(out, str_n((char *)s->auth, s->auth_len));
    s->state = PROVING;
    return 0;
}

static const char *reason(unsigned char code)
{
    static const char *const text[] = { "", "it failed", "its rules do not allow it", "the network is unreachable",
                                        "the host is unreachable", "the connection was refused",
                                        "it took too many hops", "it cannot do that", "it cannot reach such addresses" };
    return code < ARRAY_LEN(text) ? text[code] : "for a reason of its own";
}

/* The answer to the request: how long it is, 0 = not yet known. */
static size_t answer_length(const unsigned char *b, size_t len)
{
    if (len < 5)
        return 0;
    switch (b[3]) {
    case ADDR_V4:
        return 10;
    case ADDR_V6:
        return 22;
    case ADDR_NAME:
        return 7u + b[4];
    default:
        return SIZE_MAX;
    }
}

int socks_feed(struct socks *s, str in, size_t *ret_used, struct strbuf *out, struct error *e)
{
    const unsigned char *b = (const unsigned char *)in.ptr;
    *ret_used = 0;
    if (s->state == OPEN)
        return 1;
    if (in.len > 0 && b[0] != (s->state == PROVING ? 1 : 5))
        return error_set(e, ERR_PROTOCOL, "does not speak SOCKS 5");
    if (in.len < 2)
        return 0;
    if (s->state == ASKED) {
        if (b[1])
            return error_set(e, ERR_PROTOCOL, "does not connect to %s: %s", s->host, reason(b[1]));
        size_t n = answer_length(b, in.len);
        if (n == SIZE_MAX)
            return error_set(e, ERR_PROTOCOL, "does not speak SOCKS 5");
        if (n == 0 || in.len < n)
            return 0;
        *ret_used = n;
        s->state = OPEN;
        return 1;
    }
    *ret_used = 2;
    if (s->state == GREETED)
        return chosen(s, b[1], out, e);
    if (b[1])
        return error_set(e, ERR_PROTOCOL, "refuses the user name or the password");
    ask(s, out);
    return 0;
}
