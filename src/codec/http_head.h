/* http_head.h: a parsed request or response head: slices into one block of bytes.
 *
 * Owns: nothing; the block belongs to whoever parsed (http/). Header names keep their spelling.
 */
#ifndef LUASWAP_CODEC_HTTP_HEAD_H
#define LUASWAP_CODEC_HTTP_HEAD_H

#include "base/error.h"
#include "base/str.h"

/* Headers that the program itself looks at; everything else is HDR_OTHER. */
enum http_hdr {
    HDR_OTHER,
#define HDR(id, text) HDR_##id,
#include "codec/http_hdrs.def"
#undef HDR
    HDR_COUNT
};

struct http_header {
    str name, value;
    enum http_hdr id;
};

enum http_body {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNKED,
    HTTP_BODY_EOF, /* responses: until the connection closes */
};

struct http_head {
    /* request */
    str method;      /* "GET" */
    str target;      /* as sent, origin form (an absolute form is cut down to it) */
    str path, query; /* target cut at '?', still escaped; has_query tells "/x?" from "/x" */
    bool has_query;
    /* response */
    int status;
    str reason;
    /* both */
    int minor; /* HTTP/1.<minor> */
    struct http_header *headers;
    size_t n_headers;
    enum http_body body;
    uint64_t length; /* of HTTP_BODY_LENGTH */
    bool has_length; /* a Content-Length was given; answers to HEAD and 304 have one without a body */
    bool keep_alive;
    bool upgrade; /* Connection has upgrade and there is an Upgrade header */
    bool expect_continue;
};

/* First header of that kind, or by name (any case); NULL if there is none. */
const struct http_header *http_find(const struct http_head *h, enum http_hdr id);
const struct http_header *http_find_name(const struct http_head *h, str name);
/* Value of the first one, empty if there is none. */
str http_value(const struct http_head *h, enum http_hdr id);
/* Is `token` (any case) an item of a comma list, over all headers of that kind. */
bool http_has_token(const struct http_head *h, enum http_hdr id, str token);
enum http_hdr http_hdr_of(str name);
bool http_token_valid(str s); /* RFC 9110 5.6.2 token, not empty */
/* No byte below 0x20 (a tab is one) and no 0x7f; fast, for the common case. */
bool http_no_controls(str s);
str http_reason(int status);  /* "OK"; "" for an unknown one */

#endif
