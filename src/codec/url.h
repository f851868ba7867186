/* url.h: URLs of upstreams, request paths and query strings.
 *
 * Not: a general URL library; http, https and unix only. Escapes are kept unless a function says it decodes.
 * Source: RFC 3986; query pairs as application/x-www-form-urlencoded.
 */
#ifndef LUASWAP_CODEC_URL_H
#define LUASWAP_CODEC_URL_H

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"

struct url {
    str scheme;    /* "http" */
    str userinfo;  /* "user:pass", empty if none */
    str host;      /* without brackets */
    str authority; /* host[:port] as written: the Host header */
    int port;      /* given, or the scheme's own */
    str path;      /* "" or "/..." */
    str query;
};

/* "http://host[:port][/path][?query]" or https. The result points into s. */
int url_parse(str s, struct url *ret, struct error *e);

/* %XX decoded, '+' as a blank when `plus`. False on a bad escape (out then holds a part). */
bool url_decode(struct strbuf *out, str s, bool plus);
/* Decoded in place of a copy in the arena; false on a bad escape or a full arena. */
bool url_decode_dup(struct arena *a, str s, bool plus, str *ret);
/* As part of a path: everything but unreserved characters and "/" (when keep_slash) becomes %XX. */
bool url_encode(struct strbuf *out, str s, bool keep_slash);
/* As it is, but bytes above 127 become %XX: what a client wrote raw into a path or query. */
bool url_ascii(struct strbuf *out, str s);
/* Every '%' is followed by two hex digits, and none is %00. */
bool url_escapes_ok(str s);

/* Next pair of a query or form, raw. Pairs with ';' or a bad escape are skipped (as Go does); false at the end. */
bool url_query_next(str *rest, str *raw_key, str *raw_value);
/* The pairs of a query that url_query_next gives, as they were written. True: some were left out. */
bool url_query_tidy(struct strbuf *out, str query);
/* Decoded value of the first pair with that key; false when there is none or the arena is full. */
bool url_query_get(struct arena *a, str query, str key, str *ret);

/* Is there anything to clean ("//", "/./", "/../", also at the end)? A trailing slash is kept. Then out gets the cleaned path, which
 * begins with one slash. */
bool url_path_unclean(str path);
bool url_path_clean(struct strbuf *out, str path);

/* Cuts "http://host/path?q" to its authority and "/path?q"; false when target does not begin with a scheme and
 * "//", the authority is empty, or a query follows it without a path. An empty path becomes "/" (a literal). */
bool url_cut_absolute(str target, str *ret_authority, str *ret_origin_form);
/* Characters of host[:port] only. */
bool url_authority_ok(str s);

#endif
