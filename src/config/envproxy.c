/* envproxy.c: see envproxy.h. */
#include "config/envproxy.h"

#include "codec/base64.h"
#include "codec/url.h"

#include <arpa/inet.h>

/* Longer ones are no addresses. */
#define ADDR_TEXT_MAX 64
#define HOST_MAX 255

/* Both kinds in the form of IPv6, where an IPv4 address is ::ffff:a.b.c.d. */
struct ip {
    unsigned char b[16];
};

static bool parse_ip(str s, struct ip *ret, bool *ret_v4)
{
    char z[ADDR_TEXT_MAX];
    if (s.len == 0 || s.len >= sizeof z)
        return false;
    memcpy(z, s.ptr, s.len);
    z[s.len] = '\0';
    *ret = (struct ip){ { 0 } };
    if (inet_pton(AF_INET, z, ret->b + 12) == 1) {
        ret->b[10] = ret->b[11] = 0xff;
        *ret_v4 = true;
        return true;
    }
    *ret_v4 = false;
    return inet_pton(AF_INET6, z, ret->b) == 1;
}

static bool is_loopback(const struct ip *a)
{
    static const struct ip mapped = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } };
    static const struct ip one = { { [15] = 1 } };
    if (memcmp(a->b, mapped.b, 12) == 0)
        return a->b[12] == 127;
    return memcmp(a->b, one.b, 16) == 0;
}

static bool same_bits(const struct ip *a, const struct ip *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a->b, b->b, whole) != 0)
        return false;
    return rest == 0 || ((a->b[whole] ^ b->b[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

/* "host:port", "[v6]:port"; false when there is no port, or a bare IPv6 address. */
static bool split_port(str s, str *host, str *port)
{
    if (str_starts(s, S("["))) {
        ptrdiff_t end = str_chr(s, ']');
        if (end < 0 || (size_t)end + 1 >= s.len || s.ptr[end + 1] != ':')
            return false;
        *host = str_sub(s, 1, (size_t)end - 1);
        *port = str_sub(s, (size_t)end + 2, s.len);
        return str_chr(*port, ':') < 0;
    }
    return str_cut(s, ':', host, port) && str_chr(*port, ':') < 0;
}

static bool ends_with(str s, str end)
{
    return s.len >= end.len && str_ieq(str_sub(s, s.len - end.len, end.len), end);
}

struct target {
    str host, port;
    struct ip ip;
    bool is_ip;
};

static bool names(str item, const struct target *t)
{
    str host = item, port = STR_NONE, base, bits;
    struct ip ip;
    bool v4;
    uint64_t n;
    if (str_eq(item, S("*")))
        return true;
    if (str_cut(item, '/', &base, &bits) && parse_ip(base, &ip, &v4) && str_to_u64(bits, &n) && n <= (v4 ? 32 : 128))
        return t->is_ip && same_bits(&ip, &t->ip, (unsigned)n + (v4 ? 96 : 0));
    if (!split_port(item, &host, &port)) {
        host = item;
        port = STR_NONE;
    }
    if (host.len == 0 || (port.len && !str_eq(port, t->port)))
        return false;
    if (parse_ip(host, &ip, &v4))
        return t->is_ip && memcmp(ip.b, t->ip.b, sizeof ip.b) == 0;
    if (t->is_ip)
        return false;
    if (str_starts(host, S("*.")))
        host = str_sub(host, 1, host.len);
    if (host.ptr[0] == '.')
        return ends_with(t->host, host);
    if (str_ieq(t->host, host))
        return true;
    return t->host.len > host.len && ends_with(t->host, host) && t->host.ptr[t->host.len - host.len - 1] == '.';
}

static bool exempt(const struct envproxy *env, const struct gourl *url)
{
    char port[16];
    struct target t = { .host = url->host };
    bool v4;
    struct strbuf b = STRBUF(sizeof port - 1);
    if (str_ieq(url->host, S("localhost")))
        return true;
    t.is_ip = parse_ip(url->host, &t.ip, &v4);
    if (t.is_ip && is_loopback(&t.ip))
        return true;
    strbuf_addu(&b, url->port_num);
    memcpy(port, b.ptr, b.len + 1);
    t.port = str_n(port, b.len);
    strbuf_fini(&b);
    str rest = env->none, item;
    while (str_item(&rest, ',', &item))
        if (item.len && names(item, &t))
            return true;
    return false;
}

int envproxy_pick(const struct envproxy *env, const struct gourl *target, struct gourl *ret, struct strbuf *text,
                  struct error *e)
{
    str proxy = target->tls ? env->https : env->http;
    const char *name = target->tls ? "HTTPS_PROXY" : "HTTP_PROXY";
    if (proxy.len == 0 || target->host.len == 0 || exempt(env, target))
        return 0;
    if (gourl_parse(proxy, ret, NULL) < 0 || ret->scheme.len == 0 || ret->host.len == 0) {
        strbuf_clear(text);
        strbuf_add(text, S("http://"));
        strbuf_add(text, proxy);
        if (gourl_parse(strbuf_str(text), ret, NULL) < 0 || ret->host.len == 0)
            return error_set(e, ERR_CONFIG, "%s is no URL of a proxy", name);
    }
    bool socks = str_ieq(ret->scheme, S("socks5")) || str_ieq(ret->scheme, S("socks5h"));
    if (socks && ret->port.len == 0)
        ret->port_num = 1080;
    if (!ret->tls && !socks && !str_ieq(ret->scheme, S("http")))
        return error_set(e, ERR_CONFIG, "%s: proxies by " STR_FMT ":// are not supported", name, STR_ARG(ret->scheme));
    if (ret->tls && target->tls)
        return error_set(e, ERR_CONFIG, "%s: an https:// proxy for an https:// target is not supported", name);
    if (ret->port_num == 0 || ret->host.len > HOST_MAX)
        return error_set(e, ERR_CONFIG, "%s has no usable host and port", name);
    return 1;
}

bool envproxy_auth(const struct gourl *proxy, struct strbuf *out)
{
    str user, password;
    if (proxy->userinfo.len == 0)
        return false;
    struct strbuf plain = STRBUF(1024);
    str_cut(proxy->userinfo, ':', &user, &password);
    bool ok = url_decode(&plain, user, false) && strbuf_addc(&plain, ':') && url_decode(&plain, password, false);
    if (ok) {
        strbuf_add(out, S("Basic "));
        ok = base64_encode(out, strbuf_str(&plain));
    }
    strbuf_fini(&plain);
    return ok;
}
