/* http_write.c: see http_write.h. */
#include "codec/http_write.h"

#include "codec/url.h"

static bool value_ok(str v)
{
    if (http_no_controls(v))
        return true;
    for (size_t i = 0; i < v.len; i++)
        if (v.ptr[i] == '\r' || v.ptr[i] == '\n' || v.ptr[i] == '\0')
            return false;
    return true;
}

/* One reservation, then plain copies: this runs for every header of every message. */
static bool add_line(struct strbuf *out, str name, str value)
{
    size_t n = name.len + value.len + 4;
    if (!strbuf_reserve(out, n))
        return false;
    char *p = out->ptr + out->len;
    memcpy(p, name.ptr, name.len);
    p += name.len;
    *p++ = ':';
    *p++ = ' ';
    if (value.len)
        memcpy(p, value.ptr, value.len);
    p[value.len] = '\r';
    p[value.len + 1] = '\n';
    strbuf_took(out, n);
    return true;
}

bool http_head_add(struct strbuf *out, str name, str value)
{
    return http_token_valid(name) && value_ok(value) && add_line(out, name, value);
}

bool http_head_addu(struct strbuf *out, str name, uint64_t value)
{
    char num[20];
    size_t at = sizeof num;
    do {
        num[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return http_head_add(out, name, str_n(num + at, sizeof num - at));
}

static bool target_ok(str t)
{
    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)t.ptr[i] <= ' ' || (unsigned char)t.ptr[i] >= 0x7f)
            return false;
    return t.len > 0;
}

bool http_write_request_line(struct strbuf *out, str method, str target)
{
    if (!http_token_valid(method) || !target_ok(target))
        return false;
    size_t before = out->len;
    if (strbuf_add(out, method) && strbuf_addc(out, ' ') && strbuf_add(out, target) &&
        strbuf_add(out, S(" HTTP/1.1\r\n")))
        return true;
    out->len = before;
    if (out->ptr)
        out->ptr[before] = '\0';
    return false;
}

bool http_write_status_line(struct strbuf *out, int status, str reason)
{
    if (status < 100 || status > 999 || !value_ok(reason))
        return false;
    if (reason.len == 0)
        reason = http_reason(status);
    char num[4] = { (char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10), ' ' };
    return strbuf_reserve(out, 15 + reason.len) && strbuf_add(out, S("HTTP/1.1 ")) &&
           strbuf_add(out, str_n(num, 4)) && strbuf_add(out, reason) && strbuf_add(out, S("\r\n"));
}

/* Civil date of a day number: days are counted from 1 March of year 0, in eras of 400 years. */
void http_date(int64_t sec, char out[static HTTP_DATE_LEN + 1])
{
    static const char days[] = "ThuFriSatSunMonTueWed", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (sec < 0 || sec > 253402300799) /* the year has four digits */
        sec = 0;
    int64_t day = sec / 86400, rest = sec % 86400;
    int64_t z = day + 719468, era = z / 146097, doe = z % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153, d = doy - (153 * mp + 2) / 5 + 1, m = mp < 10 ? mp + 3 : mp - 9;
    int64_t y = yoe + era * 400 + (m <= 2);
    memcpy(out, "Xxx, 00 Xxx 0000 00:00:00 GMT", HTTP_DATE_LEN + 1);
    memcpy(out, days + 3 * (day % 7), 3);
    memcpy(out + 8, months + 3 * (m - 1), 3);
    out[5] = (char)('0' + d / 10);
    out[6] = (char)('0' + d % 10);
    for (int i = 15; i >= 12; i--, y /= 10)
        out[i] = (char)('0' + y % 10);
    int64_t hms[3] = { rest / 3600, rest / 60 % 60, rest % 60 };
    for (int i = 0; i < 3; i++) {
        out[17 + 3 * i] = (char)('0' + hms[i] / 10);
        out[18 + 3 * i] = (char)('0' + hms[i] % 10);
    }
}

static bool by_itself_hop(enum http_hdr id)
{
    switch (id) {
    case HDR_CONNECTION:
    case HDR_KEEP_ALIVE:
    case HDR_PROXY_CONNECTION:
    case HDR_PROXY_AUTHENTICATE:
    case HDR_PROXY_AUTHORIZATION:
    case HDR_TE:
    case HDR_TRAILER:
    case HDR_TRANSFER_ENCODING:
    case HDR_UPGRADE:
        return true;
    default:
        return false;
    }
}

/* Most Connection headers list nothing but these, which need no search. */
static bool lists_fields(const struct http_head *h)
{
    for (size_t i = 0; i < h->n_headers; i++) {
        if (h->headers[i].id != HDR_CONNECTION)
            continue;
        str rest = h->headers[i].value, item;
        while (str_item(&rest, ',', &item))
            if (item.len && !str_ieq(item, S("keep-alive")) && !str_ieq(item, S("close")) &&
                !str_ieq(item, S("upgrade")))
                return true;
    }
    return false;
}

bool http_hop_by_hop(const struct http_head *h, const struct http_header *f)
{
    return by_itself_hop(f->id) || http_has_token(h, HDR_CONNECTION, f->name);
}

bool http_join_target(struct strbuf *out, str base_path, str base_query, str path, str query, bool has_query)
{
    while (base_path.len && base_path.ptr[base_path.len - 1] == '/')
        base_path.len--;
    bool ok = strbuf_add(out, base_path);
    if (path.len == 0 || path.ptr[0] != '/')
        ok = ok && strbuf_addc(out, '/');
    ok = ok && url_ascii(out, path);
    if (base_query.len || has_query)
        ok = ok && strbuf_addc(out, '?') && strbuf_add(out, base_query);
    if (base_query.len && query.len)
        ok = ok && strbuf_addc(out, '&');
    return ok && url_ascii(out, query);
}

/* --- forwarding --- */

static bool replaced(const struct http_forward *opt, str name)
{
    for (size_t i = 0; i < opt->n_set; i++)
        if (str_ieq(opt->set[i].name, name))
            return true;
    for (size_t i = 0; i < opt->n_remove; i++)
        if (str_ieq(opt->remove[i], name))
            return true;
    return false;
}

static bool add_set(struct strbuf *out, const struct http_forward *opt)
{
    bool ok = true;
    for (size_t i = 0; i < opt->n_set; i++)
        ok = ok && http_head_add(out, opt->set[i].name, opt->set[i].value);
    return ok;
}

/* All X-Forwarded-For lines in one, then the client. */
static bool add_forwarded_for(struct strbuf *out, const struct http_head *in, str peer)
{
    bool ok = strbuf_add(out, S("X-Forwarded-For: ")), any = false;
    for (size_t i = 0; i < in->n_headers; i++) {
        if (in->headers[i].id != HDR_X_FORWARDED_FOR || in->headers[i].value.len == 0)
            continue;
        ok = ok && (!any || strbuf_add(out, S(", "))) && strbuf_add(out, in->headers[i].value);
        any = true;
    }
    return ok && (!any || strbuf_add(out, S(", "))) && value_ok(peer) && strbuf_add(out, peer) &&
           strbuf_add(out, S("\r\n"));
}

/* gzip and deflate items of all Accept-Encoding lines, in order and with their parameters. */
static bool add_encoding(struct strbuf *out, const struct http_head *in)
{
    bool ok = strbuf_add(out, S("Accept-Encoding: ")), any = false;
    for (size_t i = 0; i < in->n_headers; i++) {
        if (in->headers[i].id != HDR_ACCEPT_ENCODING)
            continue;
        str rest = in->headers[i].value, item, coding, params;
        while (str_item(&rest, ',', &item)) {
            str_cut(item, ';', &coding, &params);
            coding = str_trim(coding);
            if (!str_ieq(coding, S("gzip")) && !str_ieq(coding, S("deflate")))
                continue;
            ok = ok && (!any || strbuf_add(out, S(", "))) && strbuf_add(out, item);
            any = true;
        }
    }
    return ok && strbuf_add(out, S("\r\n"));
}

/* Does the request header go along as it is? What is left out here is either dropped or written by the caller. */
static bool passes(const struct http_head *in, const struct http_header *f, const struct http_forward *opt,
                   bool search)
{
    switch (f->id) {
    case HDR_HOST:
    case HDR_CONTENT_LENGTH:
    case HDR_EXPECT:
        return false;
    case HDR_ACCEPT_ENCODING:
        return !opt->filter_encoding && !opt->drop_encoding;
    case HDR_X_FORWARDED_FOR:
        return !opt->drop_forwarded && opt->peer.len == 0;
    case HDR_X_FORWARDED_HOST:
    case HDR_X_FORWARDED_PROTO:
    case HDR_FORWARDED:
        return !opt->drop_forwarded;
    case HDR_TRAILER:
        return opt->body == HTTP_BODY_CHUNKED;
    default:
        return !by_itself_hop(f->id) && !(search && http_has_token(in, HDR_CONNECTION, f->name));
    }
}

static bool add_own_fields(struct strbuf *out, const struct http_head *in, const struct http_forward *opt)
{
    bool ok = true;
    if (opt->filter_encoding && !opt->drop_encoding && http_find(in, HDR_ACCEPT_ENCODING) &&
        !replaced(opt, S("accept-encoding")))
        ok = add_encoding(out, in);
    if (!opt->drop_forwarded && opt->peer.len && !replaced(opt, S("x-forwarded-for")))
        ok = ok && add_forwarded_for(out, in, opt->peer);
    if (http_has_token(in, HDR_TE, S("trailers")))
        ok = ok && add_line(out, S("TE"), S("trailers"));
    if (opt->upgrade && in->upgrade)
        ok = ok && add_line(out, S("Connection"), S("Upgrade")) &&
             http_head_add(out, S("Upgrade"), http_value(in, HDR_UPGRADE));
    if (opt->body == HTTP_BODY_LENGTH)
        ok = ok && http_head_addu(out, S("Content-Length"), opt->length);
    else if (opt->body == HTTP_BODY_CHUNKED)
        ok = ok && add_line(out, S("Transfer-Encoding"), S("chunked"));
    return ok && add_set(out, opt);
}

int http_forward_request(struct strbuf *out, const struct http_head *in, const struct http_forward *opt,
                         struct error *e)
{
    str path = opt->path.len ? opt->path : in->path;
    str query = opt->path.len ? opt->query : in->query;
    bool has_query = opt->path.len ? opt->has_query || opt->query.len : in->has_query;
    bool ok = http_token_valid(in->method) && strbuf_add(out, in->method) && strbuf_addc(out, ' ');
    size_t at = out->len;
    ok = ok && http_join_target(out, opt->base_path, opt->base_query, path, query, has_query) &&
         target_ok(str_n(out->ptr + at, out->len - at)) && strbuf_add(out, S(" HTTP/1.1\r\n"));
    str host = opt->host.len ? opt->host : http_value(in, HDR_HOST);
    ok = ok && http_head_add(out, S("Host"), host);
    bool search = lists_fields(in), edits = opt->n_set || opt->n_remove;
    for (size_t i = 0; ok && i < in->n_headers; i++) {
        const struct http_header *f = &in->headers[i];
        if (passes(in, f, opt, search) && !(edits && replaced(opt, f->name)))
            ok = http_head_add(out, f->name, f->value);
    }
    ok = ok && add_own_fields(out, in, opt) && strbuf_add(out, S("\r\n"));
    return ok ? 0 : error_set(e, out->full ? ERR_LIMIT : ERR_SYNTAX, "request head cannot be forwarded");
}

static bool event_stream(const struct http_head *in)
{
    return str_ifind(http_value(in, HDR_CONTENT_TYPE), S("text/event-stream")) >= 0;
}

int http_forward_response(struct strbuf *out, const struct http_head *in, const struct http_forward *opt,
                          struct error *e)
{
    static const struct http_forward none;
    if (!opt)
        opt = &none;
    bool ok = true, sse = event_stream(in), search = lists_fields(in), edits = opt->n_set || opt->n_remove;
    for (size_t i = 0; ok && i < in->n_headers; i++) {
        const struct http_header *f = &in->headers[i];
        bool pass;
        if (f->id == HDR_TRAILER)
            pass = in->body == HTTP_BODY_CHUNKED;
        else if (f->id == HDR_CONTENT_LENGTH || (f->id == HDR_X_ACCEL_BUFFERING && sse))
            pass = false;
        else
            pass = !by_itself_hop(f->id) && !(search && http_has_token(in, HDR_CONNECTION, f->name));
        if (pass && !(edits && replaced(opt, f->name)))
            ok = http_head_add(out, f->name, f->value);
    }
    if (sse)
        ok = ok && add_line(out, S("X-Accel-Buffering"), S("no"));
    if (opt->upgrade && in->upgrade)
        ok = ok && add_line(out, S("Connection"), S("Upgrade")) &&
             http_head_add(out, S("Upgrade"), http_value(in, HDR_UPGRADE));
    ok = ok && add_set(out, opt);
    return ok ? 0 : error_set(e, out->full ? ERR_LIMIT : ERR_SYNTAX, "response head cannot be forwarded");
}

/* RFC 9110 6.5.1: fields that frame, route, authenticate or describe the message have no place after it. */
static bool trailer_ok(str name)
{
    enum http_hdr id = http_hdr_of(name);
    switch (id) {
    case HDR_HOST:
    case HDR_CONTENT_LENGTH:
    case HDR_CONTENT_TYPE:
    case HDR_CONTENT_ENCODING:
    case HDR_AUTHORIZATION:
    case HDR_X_API_KEY:
    case HDR_EXPECT:
    case HDR_COOKIE:
    case HDR_SET_COOKIE:
    case HDR_X_FORWARDED_FOR:
    case HDR_X_FORWARDED_HOST:
    case HDR_X_FORWARDED_PROTO:
    case HDR_FORWARDED:
    case HDR_X_REAL_IP:
        return false;
    default:
        return !by_itself_hop(id);
    }
}

void http_filter_trailers(struct strbuf *out, str lines)
{
    while (lines.len) {
        str line, rest, name, value;
        str_cut(lines, '\n', &line, &rest);
        lines = rest;
        if (str_cut(line, ':', &name, &value) && trailer_ok(name))
            http_head_add(out, name, str_trim(value));
    }
}
