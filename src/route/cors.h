/* cors.h: the answer to OPTIONS (http.md 5.3): 204, empty, on any path, never authenticated or forwarded.
 */
#ifndef LUASWAP_ROUTE_CORS_H
#define LUASWAP_ROUTE_CORS_H

#include "base/strbuf.h"

#define CORS_ALLOW_ORIGIN "*"
#define CORS_ALLOW_METHODS "GET, POST, PUT, PATCH, DELETE, OPTIONS"
#define CORS_MAX_AGE "86400"

/* Value of Access-Control-Allow-Headers for a request whose Access-Control-Request-Headers is
 * `requested` (ptr NULL: absent): its items that are tokens, or the default list. */
void cors_allow_headers(struct strbuf *out, str requested);

#endif
