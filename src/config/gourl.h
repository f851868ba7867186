/* gourl.h: the URLs of `proxy` settings, parsed and refused as the reference does (config.md 3.5).
 *
 * Not: request targets of HTTP (codec/url.h).
 */
#ifndef LUASWAP_CONFIG_GOURL_H
#define LUASWAP_CONFIG_GOURL_H

#include "base/error.h"

struct gourl {
    str scheme;   /* as written, may be empty; compare without case */
    str userinfo; /* as written, without '@' */
    str host;     /* without port and brackets */
    str port;     /* digits as written, may be empty */
    str path;     /* as written (escapes kept), without query and fragment; may be empty */
    str query;    /* without '?' */
    /* The port, or 80 / 443 by scheme; 0 when none is known or it is out of range. */
    unsigned port_num;
    bool ipv6;    /* host was in brackets */
    bool tls;     /* scheme is https */
};

/* Slices of `text`. 0, or ERR_SYNTAX with what is wrong in e. The empty text is a valid empty URL.
 * */
MUSTCHECK int gourl_parse(str text, struct gourl *ret, struct error *e);

#endif
