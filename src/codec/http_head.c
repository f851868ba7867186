/* http_head.c: see http_head.h. */
#include "codec/http_head.h"

static const struct {
    str name;
} names[HDR_COUNT] = {
#define HDR(id, text) [HDR_##id] = { { text, sizeof(text) - 1 } },
#include "codec/http_hdrs.def"
#undef HDR
};

/* Names that share length and first letter, tried in turn: at most three. Built by hand from the .def; the spec
 * checks that every line of the .def is found. */
static enum http_hdr among(str s, const enum http_hdr *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq(s, names[ids[i]].name))
            return ids[i];
    return HDR_OTHER;
}
#define AMONG(...) among(s, (const enum http_hdr[]){ __VA_ARGS__ }, ARRAY_LEN(((const enum http_hdr[]){ __VA_ARGS__ })))
#define KEY(len, c) ((unsigned)(len) << 8 | (unsigned char)(c))

enum http_hdr http_hdr_of(str s)
{
    if (s.len < 2 || s.len > 30)
        return HDR_OTHER;
    switch (KEY(s.len, chr_lower(s.ptr[0]))) {
    case KEY(2, 't'):
        return AMONG(HDR_TE);
    case KEY(4, 'h'):
        return AMONG(HDR_HOST);
    case KEY(4, 'd'):
        return AMONG(HDR_DATE);
    case KEY(6, 'a'):
        return AMONG(HDR_ACCEPT);
    case KEY(6, 'c'):
        return AMONG(HDR_COOKIE);
    case KEY(6, 'e'):
        return AMONG(HDR_EXPECT);
    case KEY(6, 'o'):
        return AMONG(HDR_ORIGIN);
    case KEY(6, 's'):
        return AMONG(HDR_SERVER);
    case KEY(7, 't'):
        return AMONG(HDR_TRAILER);
    case KEY(7, 'u'):
        return AMONG(HDR_UPGRADE);
    case KEY(8, 'l'):
        return AMONG(HDR_LOCATION);
    case KEY(9, 'f'):
        return AMONG(HDR_FORWARDED);
    case KEY(9, 'x'):
        return AMONG(HDR_X_API_KEY, HDR_X_REAL_IP);
    case KEY(10, 'c'):
        return AMONG(HDR_CONNECTION);
    case KEY(10, 'k'):
        return AMONG(HDR_KEEP_ALIVE);
    case KEY(10, 's'):
        return AMONG(HDR_SET_COOKIE);
    case KEY(10, 'u'):
        return AMONG(HDR_USER_AGENT);
    case KEY(11, 'r'):
        return AMONG(HDR_RETRY_AFTER);
    case KEY(12, 'c'):
        return AMONG(HDR_CONTENT_TYPE);
    case KEY(13, 'a'):
        return AMONG(HDR_AUTHORIZATION);
    case KEY(13, 'i'):
        return AMONG(HDR_IF_NONE_MATCH);
    case KEY(14, 'c'):
        return AMONG(HDR_CONTENT_LENGTH);
    case KEY(15, 'a'):
        return AMONG(HDR_ACCEPT_ENCODING);
    case KEY(15, 'x'):
        return AMONG(HDR_X_FORWARDED_FOR);
    case KEY(16, 'c'):
        return AMONG(HDR_CONTENT_ENCODING);
    case KEY(16, 'p'):
        return AMONG(HDR_PROXY_CONNECTION);
    case KEY(16, 'x'):
        return AMONG(HDR_X_FORWARDED_HOST);
    case KEY(17, 't'):
        return AMONG(HDR_TRANSFER_ENCODING);
    case KEY(17, 'x'):
        return AMONG(HDR_X_FORWARDED_PROTO, HDR_X_ACCEL_BUFFERING);
    case KEY(18, 'p'):
        return AMONG(HDR_PROXY_AUTHENTICATE);
    case KEY(19, 'p'):
        return AMONG(HDR_PROXY_AUTHORIZATION);
    case KEY(30, 'a'):
        return AMONG(HDR_ACCESS_CONTROL_REQUEST_HEADERS);
    default:
        return HDR_OTHER;
    }
}

const struct http_header *http_find(const struct http_head *h, enum http_hdr id)
{
    for (size_t i = 0; i < h->n_headers; i++)
        if (h->headers[i].id == id)
            return &h->headers[i];
    return NULL;
}

const struct http_header *http_find_name(const struct http_head *h, str name)
{
    for (size_t i = 0; i < h->n_headers; i++)
        if (str_ieq(h->headers[i].name, name))
            return &h->headers[i];
    return NULL;
}

str http_value(const struct http_head *h, enum http_hdr id)
{
    const struct http_header *f = http_find(h, id);
    return f ? f->value : STR_NONE;
}

bool http_has_token(const struct http_head *h, enum http_hdr id, str token)
{
    for (size_t i = 0; i < h->n_headers; i++) {
        if (h->headers[i].id != id)
            continue;
        str rest = h->headers[i].value, item;
        while (str_item(&rest, ',', &item))
            if (str_ieq(item, token))
                return true;
    }
    return false;
}

static const bool token_chars[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['!'] = true, ['#'] = true, ['$'] = true,
    ['%'] = true,         ['&'] = true,         ['\''] = true,        ['*'] = true, ['+'] = true, ['-'] = true,
    ['.'] = true,         ['^'] = true,         ['_'] = true,         ['`'] = true, ['|'] = true, ['~'] = true,
};

bool http_token_valid(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!token_chars[(unsigned char)s.ptr[i]])
            return false;
    return s.len > 0;
}

/* Eight bytes at a time: which of them are below 0x20 or are 0x7f. */
static uint64_t controls(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t del = v ^ (ones * 0x7f);
    return (((v - ones * 0x20) & ~v) | ((del - ones) & ~del)) & high;
}

bool http_no_controls(str s)
{
    size_t i = 0;
    uint64_t v, found = 0;
    for (; s.len - i >= 8; i += 8) {
        memcpy(&v, s.ptr + i, 8);
        found |= controls(v);
    }
    if (i < s.len) {
        v = 0x2020202020202020u;
        memcpy(&v, s.ptr + i, s.len - i);
        found |= controls(v);
    }
    return found == 0;
}

str http_reason(int status)
{
    switch (status) {
#define R(n, text)                                                                                 \
    case n:                                                                                        \
        return S(text);
        R(100, "Continue")
        R(101, "Switching Protocols")
        R(103, "Early Hints")
        R(200, "OK")
        R(201, "Created")
        R(202, "Accepted")
        R(204, "No Content")
        R(206, "Partial Content")
        R(301, "Moved Permanently")
        R(302, "Found")
        R(303, "See Other")
        R(304, "Not Modified")
        R(307, "Temporary Redirect")
        R(308, "Permanent Redirect")
        R(400, "Bad Request")
        R(401, "Unauthorized")
        R(403, "Forbidden")
        R(404, "Not Found")
        R(405, "Method Not Allowed")
        R(406, "Not Acceptable")
        R(408, "Request Timeout")
        R(409, "Conflict")
        R(410, "Gone")
        R(411, "Length Required")
        R(413, "Content Too Large")
        R(414, "URI Too Long")
        R(415, "Unsupported Media Type")
        R(417, "Expectation Failed")
        R(421, "Misdirected Request")
        R(422, "Unprocessable Content")
        R(426, "Upgrade Required")
        R(429, "Too Many Requests")
        R(431, "Request Header Fields Too Large")
        R(499, "Client Closed Request")
        R(500, "Internal Server Error")
        R(501, "Not Implemented")
        R(502, "Bad Gateway")
        R(503, "Service Unavailable")
        R(504, "Gateway Timeout")
        R(505, "HTTP Version Not Supported")
#undef R
    default:
        return S("");
    }
}
