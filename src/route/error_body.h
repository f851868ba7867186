/* error_body.h: the body of an error that we answer ourselves (http.md 2.6).
 *
 * What: picks the form by substring of `Accept` (text/plain, text/html, else the JSON envelope) and
 *       writes it.
 * Not:  status line and headers. A text that is not UTF-8 is repaired, so the JSON is always valid.
 */
#ifndef LUASWAP_ROUTE_ERROR_BODY_H
#define LUASWAP_ROUTE_ERROR_BODY_H

#include "base/strbuf.h"

/* code_override: the envelope's `code`, NULL for the status' own. ret_content_type is static text.
 */
void error_body(struct strbuf *out, str accept, int status, str message, const char *code_override,
                const char **ret_content_type);
/* The 429 of a concurrency limit: JSON whatever was asked for, goes with `Retry-After: 1`. Empty
 * message: the usual one. */
void error_body_limit(struct strbuf *out, str message, const char **ret_content_type);
/* The same error inside an event stream: "data: {envelope}\n\n". */
void error_body_event(struct strbuf *out, int status, str message, const char *code_override);
const char *error_body_type(int status); /* "invalid_request_error" ... */
const char *error_body_code(int status); /* "not_found" ... */

#endif
