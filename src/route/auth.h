/* auth.h: API keys of clients (http.md 5.1).
 *
 * What: takes the one candidate key of a request and compares it with all configured keys in time that
 *       does not depend on where they differ; masks keys for people.
 * Not:  which paths need a key (api/routes.def), the 401 itself.
 * Order: password of Basic, credentials of Bearer, x-api-key; the first that is there and not empty is
 *       the only candidate. Scheme names ignore case.
 */
#ifndef LUASWAP_ROUTE_AUTH_H
#define LUASWAP_ROUTE_AUTH_H

#include "base/strbuf.h"

/* First header of each name, ptr NULL when absent. No keys configured: everything is accepted. */
bool auth_accept(const str *keys, size_t n_keys, str authorization, str x_api_key);

/* Does this value of Authorization (any of the two schemes) or of x-api-key hold one of our keys?
 * Such a value must not leave the machine (decisions.md, "Client keys"). */
bool auth_holds_key(const str *keys, size_t n_keys, str authorization);
bool auth_is_key(const str *keys, size_t n_keys, str candidate);

/* A key for a person's eye: at most the first two characters of a long one, then "...". */
void auth_mask(struct strbuf *out, str key);
/* Headers whose values are shown as AUTH_REDACTED (http.md 6.6): authorization, cookie ... */
#define AUTH_REDACTED "[REDACTED]"
bool auth_header_secret(str name);

#endif
