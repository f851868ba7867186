/* envproxy.h: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, by the rules of Go's net/http (config.md 1.3).
 *
 * What: which proxy a connection to a URL goes through, if any. localhost and loopback addresses never do. NO_PROXY is
 *       a list of "*", addresses, networks (10.0.0.0/8), names; a name means itself and what is below it, with a
 *       leading dot (or "*.") only what is below it; a :port limits an address or a name to that port.
 * Not:  reading the environment (proxy/via.c), dialling (io/dial.h).
 */
#ifndef LUASWAP_CONFIG_ENVPROXY_H
#define LUASWAP_CONFIG_ENVPROXY_H

#include "base/strbuf.h"
#include "config/gourl.h"

/* Values of the variables; the upper case one counts if it is not empty, else the lower case one. */
struct envproxy {
    str http, https, none;
};

/* 1: *ret is the URL of the proxy, slices of env's text or of `text`. 0: no proxy. ERR_CONFIG: the variable that
 * applies holds no URL of a proxy we can speak to (http, socks5, socks5h; https for http targets). */
MUSTCHECK int envproxy_pick(const struct envproxy *env, const struct gourl *target, struct gourl *ret,
                            struct strbuf *text, struct error *e);
/* Value of Proxy-Authorization for a URL with user name (and password); false (nothing added) without one. */
bool envproxy_auth(const struct gourl *proxy, struct strbuf *out);

#endif
