/* gourl.c: see gourl.h. The rules are those of Go's net/url, which the reference uses. */
#include "config/gourl.h"

static bool alpha(char c)
{
    c = chr_lower(c);
    return c >= 'a' && c <= 'z';
}

static bool alnum(char c)
{
    return alpha(c) || chr_digit(c);
}

static bool one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

/* Every '%' has two hex digits. */
static bool escapes_ok(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '%' &&
            (i + 2 >= s.len || chr_hex(s.ptr[i + 1]) < 0 || chr_hex(s.ptr[i + 2]) < 0))
            return false;
    return true;
}

/* Splits "scheme:rest"; *scheme stays empty when there is none. False for ":..." . */
static bool cut_scheme(str *rest, str *scheme)
{
    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->ptr[i];
        if (alpha(c) || (i > 0 && (chr_digit(c) || one_of(c, "+-."))))
            continue;
        if (c != ':')
            return true;
        if (i == 0)
            return false;
        *scheme = str_sub(*rest, 0, i);
        *rest = str_sub(*rest, i + 1, rest->len);
        return true;
    }
    return true;
}

static bool port_ok(str port)
{
    for (size_t i = 0; i < port.len; i++)
        if (!chr_digit(port.ptr[i]))
            return false;
    return true;
}

/* Characters of a host name; escapes only for bytes outside ASCII ("%41" is refused). */
static bool host_ok(str host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (c == '%') {
            if (chr_hex(host.ptr[i + 1]) < 8 && !str_eq(str_sub(host, i, 3), S("%25")))
                return false;
            i += 2;
        } else if ((unsigned char)c < 0x80 && !alnum(c) && !one_of(c, "-_.~!$&'()*+,;=:[]<>\"")) {
            return false;
        }
    }
    return true;
}

static int parse_host(str host, struct gourl *u, struct error *e)
{
    str port = STR_NONE;
    if (!escapes_ok(host))
        return error_set(e, ERR_SYNTAX, "invalid escape in the host");
    if (str_starts(host, S("["))) {
        ptrdiff_t end = str_chr(host, ']');
        if (end < 0)
            return error_set(e, ERR_SYNTAX, "missing ']' in the host");
        port = str_sub(host, (size_t)end + 1, host.len);
        if (port.len && port.ptr[0] != ':')
            return error_set(e, ERR_SYNTAX, "text after ']' in the host");
        port = str_sub(port, 1, port.len);
        host = str_sub(host, 1, (size_t)end - 1);
        if (str_chr(host, ':') < 0)
            return error_set(e, ERR_SYNTAX, "no IPv6 address in the brackets");
        u->ipv6 = true;
    } else if (str_chr(host, ':') >= 0) {
        str_cut(host, ':', &host, &port);
    }
    if (!port_ok(port))
        return error_set(e, ERR_SYNTAX, "invalid port \":%.*s\" after the host", STR_ARG(port));
    if (!host_ok(host))
        return error_set(e, ERR_SYNTAX, "invalid character in the host name");
    u->host = host;
    u->port = port;
    return 0;
}

static int parse_authority(str auth, struct gourl *u, struct error *e)
{
    size_t at = auth.len;
    while (at > 0 && auth.ptr[at - 1] != '@')
        at--;
    if (at > 0) {
        u->userinfo = str_sub(auth, 0, at - 1);
        for (size_t i = 0; i < u->userinfo.len; i++)
            if (!alnum(u->userinfo.ptr[i]) && !one_of(u->userinfo.ptr[i], "-._:~!$&'()*+,;=%@"))
                return error_set(e, ERR_SYNTAX, "invalid character in the user name or password");
        if (!escapes_ok(u->userinfo))
            return error_set(e, ERR_SYNTAX, "invalid escape in the user name or password");
    }
    return parse_host(str_sub(auth, at, auth.len), u, e);
}

static void set_port_num(struct gourl *u)
{
    uint64_t n;
    u->tls = str_ieq(u->scheme, S("https"));
    if (u->port.len)
        u->port_num = str_to_u64(u->port, &n) && n <= 65535 ? (unsigned)n : 0;
    else if (u->host.len)
        u->port_num = u->tls ? 443 : str_ieq(u->scheme, S("http")) ? 80 : 0;
}

int gourl_parse(str text, struct gourl *ret, struct error *e)
{
    struct gourl u = { 0 };
    str rest, frag;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
            return error_set(e, ERR_SYNTAX, "control character in the URL");
    str_cut(text, '#', &rest, &frag);
    if (!escapes_ok(frag))
        return error_set(e, ERR_SYNTAX, "invalid escape after '#'");
    if (!cut_scheme(&rest, &u.scheme))
        return error_set(e, ERR_SYNTAX, "missing protocol scheme before ':'");
    str_cut(rest, '?', &rest, &u.query);
    if (!str_starts(rest, S("/"))) {
        str first, more;
        str_cut(rest, '/', &first, &more);
        if (!u.scheme.len && str_chr(first, ':') >= 0)
            return error_set(e, ERR_SYNTAX,
                             "no scheme, and a colon in the first part; write http://%.*s",
                             STR_ARG(rest));
        if (u.scheme.len) { /* "localhost:8080": accepted, but it names no host */
            *ret = u;
            return 0;
        }
    }
    if (str_starts(rest, S("//")) && (u.scheme.len || !str_starts(rest, S("///")))) {
        str auth = str_sub(rest, 2, rest.len);
        ptrdiff_t slash = str_chr(auth, '/');
        size_t len = slash < 0 ? auth.len : (size_t)slash;
        rest = str_sub(auth, len, auth.len);
        int r = parse_authority(str_sub(auth, 0, len), &u, e);
        if (r)
            return r;
    }
    if (!escapes_ok(rest))
        return error_set(e, ERR_SYNTAX, "invalid URL escape in the path");
    u.path = rest;
    set_port_num(&u);
    *ret = u;
    return 0;
}
