/* http_write.h: writing heads: header lines, request line, dates, and what changes when a message is forwarded.
 *
 * What: everything that becomes part of a head passes here, so that no value of a peer can break a line.
 * Not:  framing of a running body (http/).
 * Source: RFC 9110 sections 5 and 7.6, RFC 9112 sections 3 and 6.
 */
#ifndef LUASWAP_CODEC_HTTP_WRITE_H
#define LUASWAP_CODEC_HTTP_WRITE_H

#include "base/strbuf.h"
#include "codec/http_head.h"

/* "Name: value\r\n". False, and nothing is added, when the name is no token, the value holds CR, LF or NUL, or
 * the buffer is full. */
bool http_head_add(struct strbuf *out, str name, str value);
bool http_head_addu(struct strbuf *out, str name, uint64_t value);
/* "METHOD target HTTP/1.1\r\n"; false when the method is no token or the target holds a blank or control
 * character. */
bool http_write_request_line(struct strbuf *out, str method, str target);
/* "HTTP/1.1 200 OK\r\n"; an empty reason becomes the usual one. False on a status outside 100..999. */
bool http_write_status_line(struct strbuf *out, int status, str reason);

#define HTTP_DATE_LEN 29
/* "Sun, 06 Nov 1994 08:49:37 GMT" of seconds since 1970. */
void http_date(int64_t unix_sec, char out[static HTTP_DATE_LEN + 1]);

/* Is `name` a field that belongs to one connection only (RFC 9110 7.6.1), by itself or because h's Connection
 * header lists it. */
bool http_hop_by_hop(const struct http_head *h, const struct http_header *f);

/* How a head changes on its way. Zeroed = forwarded as it is, without a body. */
struct http_forward {
    /* request target; empty path: in->path. The base is that of the upstream's URL. All still escaped. */
    str base_path, base_query;
    str path;
    str query; /* used when path is given; else the head's own */
    bool has_query;
    str host;              /* replaces Host; empty: the client's is kept */
    str peer;              /* client address, appended to X-Forwarded-For; empty: none added */
    bool drop_forwarded;   /* removes X-Forwarded-* and Forwarded */
    bool filter_encoding;  /* Accept-Encoding: only gzip and deflate are left */
    bool drop_encoding;    /* no Accept-Encoding at all */
    bool upgrade;          /* Connection: Upgrade and the Upgrade header go along */
    enum http_body body;   /* requests: framing to write; EOF is not one of them */
    uint64_t length;
    const struct http_header *set; /* replace by name, or add; id is not looked at */
    size_t n_set;
    const str *remove; /* by name, any case */
    size_t n_remove;
};

/* Whole request head, blank line included. ERR_SYNTAX when something in it could break the head. */
int http_forward_request(struct strbuf *out, const struct http_head *in, const struct http_forward *opt,
                         struct error *e);
/* Header lines of an answer to go into http_req_head_begin's buffer: no status line, no framing, no blank line.
 * opt may be NULL; only set, remove and upgrade are looked at. With event streams `X-Accel-Buffering: no` is set.
 * A Trailer header stays when the body is chunked. */
int http_forward_response(struct strbuf *out, const struct http_head *in, const struct http_forward *opt,
                          struct error *e);
/* Lines of `lines` ("Name: value\r\n"...) that may be trailers: no framing, routing or connection fields. */
void http_filter_trailers(struct strbuf *out, str lines);

/* base + "/" + path with exactly one slash between, queries joined by '&'; escapes are kept, bytes above 127 become
 * escapes. */
bool http_join_target(struct strbuf *out, str base_path, str base_query, str path, str query, bool has_query);

#endif
