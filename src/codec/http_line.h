/* http_line.h: a request line, byte by byte.
 *
 * What: judges "METHOD target HTTP/x.y" and its CRLF at the earliest byte that decides it. Any token is a method, and a
 *       target may hold bytes above 127: so it is with servers written in Go, whose clients we take over, and
 *       llhttp knows neither.
 * Not:  keeping the bytes, what the target means.
 * Limits: none of its own; the caller bounds the head.
 * Source: RFC 9112 section 3.
 */
#ifndef LUASWAP_CODEC_HTTP_LINE_H
#define LUASWAP_CODEC_HTTP_LINE_H

#include "base/str.h"

/* Zeroed = at the beginning. */
struct http_line {
    enum { HTTP_LINE_METHOD, HTTP_LINE_TARGET, HTTP_LINE_VERSION, HTTP_LINE_LF, HTTP_LINE_DONE } at;
    size_t part;     /* bytes of the present part so far; of the version at last */
    char version[8]; /* "HTTP/1.1" */
};

/* Takes what there is of the line, *ret_used bytes. False: malformed. */
bool http_line_take(struct http_line *l, str in, size_t *ret_used);
bool http_line_done(const struct http_line *l);
/* Of a complete one: 0 for HTTP/1.0, 1 for HTTP/1.1, -1 for any other version. */
int http_line_minor(const struct http_line *l);

#endif
