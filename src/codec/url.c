/* url.c: see url.h. */
#include "codec/url.h"

static bool alnum(char c)
{
    return chr_digit(c) || (chr_lower(c) >= 'a' && chr_lower(c) <= 'z');
}

bool url_authority_ok(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!alnum(s.ptr[i]) && (s.ptr[i] == '\0' || !strchr("-._~:[]%!$&'()*+,;=", s.ptr[i])))
            return false;
    return true;
}

/* host[:port] or [v6][:port] */
static int split_authority(str auth, str *host, int *port, struct error *e)
{
    str p = STR_NONE;
    if (auth.len && auth.ptr[0] == '[') {
        ptrdiff_t end = str_chr(auth, ']');
        if (end < 0)
            return error_set(e, ERR_SYNTAX, "URL: '[' without ']'");
        *host = str_sub(auth, 1, (size_t)end - 1);
        p = str_sub(auth, (size_t)end + 1, auth.len);
        if (p.len && p.ptr[0] != ':')
            return error_set(e, ERR_SYNTAX, "URL: text after ']'");
        p = str_sub(p, 1, p.len);
    } else {
        str_cut(auth, ':', host, &p);
        if (str_chr(p, ':') >= 0)
            return error_set(e, ERR_SYNTAX, "URL: an IPv6 address belongs in brackets");
    }
    uint64_t n;
    if (host->len == 0)
        return error_set(e, ERR_SYNTAX, "URL without a host");
    if (p.len && (!str_to_u64(p, &n) || n == 0 || n > 65535))
        return error_set(e, ERR_SYNTAX, "URL: bad port '" STR_FMT "'", STR_ARG(p));
    if (p.len)
        *port = (int)n;
    return 0;
}

int url_parse(str s, struct url *ret, struct error *e)
{
    *ret = (struct url){ 0 };
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return error_set(e, ERR_SYNTAX, "URL with a blank or control character");
    ptrdiff_t sep = str_find(s, S("://"));
    if (sep <= 0)
        return error_set(e, ERR_SYNTAX, "URL '" STR_FMT "' does not begin with http:// or https://", STR_ARG(s));
    ret->scheme = str_sub(s, 0, (size_t)sep);
    if (str_ieq(ret->scheme, S("http")))
        ret->port = 80;
    else if (str_ieq(ret->scheme, S("https")))
        ret->port = 443;
    else
        return error_set(e, ERR_SYNTAX, "URL scheme '" STR_FMT "' is not http or https", STR_ARG(ret->scheme));
    str rest = str_sub(s, (size_t)sep + 3, s.len);
    ptrdiff_t frag = str_chr(rest, '#');
    if (frag >= 0)
        rest.len = (size_t)frag;
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    str auth = str_sub(rest, 0, end);
    rest = str_sub(rest, end, rest.len);
    for (size_t i = auth.len; i > 0; i--)
        if (auth.ptr[i - 1] == '@') {
            ret->userinfo = str_sub(auth, 0, i - 1);
            auth = str_sub(auth, i, auth.len);
            break;
        }
    if (!url_authority_ok(auth))
        return error_set(e, ERR_SYNTAX, "URL: bad host '" STR_FMT "'", STR_ARG(auth));
    ret->authority = auth;
    str_cut(rest, '?', &ret->path, &ret->query);
    return split_authority(auth, &ret->host, &ret->port, e);
}

bool url_decode(struct strbuf *out, str s, bool plus)
{
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c != '%' && !(plus && c == '+'))
            continue;
        if (!strbuf_add(out, str_sub(s, from, i - from)))
            return false;
        if (c == '+') {
            c = ' ';
        } else {
            int hi = i + 2 < s.len ? chr_hex(s.ptr[i + 1]) : -1;
            int lo = i + 2 < s.len ? chr_hex(s.ptr[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = (char)(hi * 16 + lo);
            i += 2;
        }
        if (!strbuf_addc(out, c))
            return false;
        from = i + 1;
    }
    return strbuf_add(out, str_sub(s, from, s.len));
}

bool url_decode_dup(struct arena *a, str s, bool plus, str *ret)
{
    char *p = arena_try(a, s.len + 1);
    if (!p)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '+' && plus) {
            c = ' ';
        } else if (c == '%') {
            int hi = i + 2 < s.len ? chr_hex(s.ptr[i + 1]) : -1, lo = i + 2 < s.len ? chr_hex(s.ptr[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = (char)(hi * 16 + lo);
            i += 2;
        }
        p[n++] = c;
    }
    *ret = str_n(p, n);
    return true;
}

static const char hex[] = "0123456789ABCDEF";

bool url_ascii(struct strbuf *out, str s)
{
    bool ok = true;
    size_t from = 0;
    for (size_t i = 0; ok && i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x80)
            continue;
        char esc[3] = { '%', hex[c >> 4], hex[c & 15] };
        ok = strbuf_add(out, str_sub(s, from, i - from)) && strbuf_add(out, str_n(esc, 3));
        from = i + 1;
    }
    return ok && strbuf_add(out, str_sub(s, from, s.len));
}

bool url_encode(struct strbuf *out, str s, bool keep_slash)
{
    bool ok = true;
    for (size_t i = 0; ok && i < s.len; i++) {
        char c = s.ptr[i];
        if (alnum(c) || (c && strchr("-._~", c)) || (c == '/' && keep_slash)) {
            ok = strbuf_addc(out, c);
            continue;
        }
        char esc[3] = { '%', hex[(unsigned char)c >> 4], hex[(unsigned char)c & 15] };
        ok = strbuf_add(out, str_n(esc, 3));
    }
    return ok;
}

bool url_escapes_ok(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '%')
            continue;
        if (i + 2 >= s.len || chr_hex(s.ptr[i + 1]) < 0 || chr_hex(s.ptr[i + 2]) < 0 ||
            (s.ptr[i + 1] == '0' && s.ptr[i + 2] == '0'))
            return false;
    }
    return true;
}

static bool pair_ok(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == ';')
            return false;
        if (s.ptr[i] == '%' && (i + 2 >= s.len || chr_hex(s.ptr[i + 1]) < 0 || chr_hex(s.ptr[i + 2]) < 0))
            return false;
    }
    return true;
}

bool url_query_next(str *rest, str *raw_key, str *raw_value)
{
    while (rest->len) {
        str pair, tail;
        str_cut(*rest, '&', &pair, &tail);
        *rest = tail;
        if (pair.len == 0 || !pair_ok(pair))
            continue;
        str_cut(pair, '=', raw_key, raw_value);
        return true;
    }
    return false;
}

bool url_query_tidy(struct strbuf *out, str query)
{
    bool dropped = false;
    size_t base = out->len;
    while (query.len) {
        str pair, rest;
        str_cut(query, '&', &pair, &rest);
        query = rest;
        if (!pair_ok(pair)) {
            dropped = true;
            continue;
        }
        if (out->len > base)
            strbuf_addc(out, '&');
        strbuf_add(out, pair);
    }
    return dropped;
}

bool url_query_get(struct arena *a, str query, str key, str *ret)
{
    str k, v;
    while (url_query_next(&query, &k, &v)) {
        str plain = k;
        if ((str_chr(k, '%') >= 0 || str_chr(k, '+') >= 0) && !url_decode_dup(a, k, true, &plain))
            return false;
        if (str_eq(plain, key))
            return url_decode_dup(a, v, true, ret);
    }
    return false;
}

bool url_path_unclean(str path)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return true;
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] != '/')
            continue;
        str seg = str_sub(path, i + 1, 3);
        if (seg.len == 0)
            break;
        if (seg.ptr[0] == '/' || (seg.ptr[0] == '.' && (seg.len == 1 || seg.ptr[1] == '/')) ||
            (str_starts(seg, S("..")) && (seg.len == 2 || seg.ptr[2] == '/')))
            return true;
    }
    return false;
}

bool url_path_clean(struct strbuf *out, str path)
{
    if (!url_path_unclean(path))
        return false;
    size_t base = out->len;
    bool ok = true, slash = path.len > 0 && path.ptr[path.len - 1] == '/';
    while (ok && path.len) {
        str seg, rest;
        str_cut(path, '/', &seg, &rest);
        path = rest;
        if (seg.len == 0 || str_eq(seg, S(".")))
            continue;
        if (!str_eq(seg, S(".."))) {
            ok = strbuf_addc(out, '/') && strbuf_add(out, seg);
            continue;
        }
        while (out->len > base && out->ptr[--out->len] != '/')
            ;
    }
    if (out->len == base || slash)
        ok = ok && strbuf_addc(out, '/');
    if (out->ptr)
        out->ptr[out->len] = '\0';
    return ok;
}

bool url_cut_absolute(str target, str *ret_authority, str *ret_origin_form)
{
    ptrdiff_t sep = str_find(target, S("://"));
    if (sep <= 0)
        return false;
    for (ptrdiff_t i = 0; i < sep; i++)
        if (!alnum(target.ptr[i]) && (i == 0 || !strchr("+-.", target.ptr[i])))
            return false;
    str rest = str_sub(target, (size_t)sep + 3, target.len);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    *ret_authority = str_sub(rest, 0, end);
    *ret_origin_form = str_sub(rest, end, rest.len);
    if (ret_origin_form->len == 0)
        *ret_origin_form = S("/");
    return end > 0 && ret_origin_form->ptr[0] == '/' && url_authority_ok(*ret_authority);
}
