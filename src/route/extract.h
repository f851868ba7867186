/* extract.h: which model a request names and whether it wants a stream (http.md 2.1).
 *
 * What: the place is a matter of method and Content-Type only: extract_place() says what has to be read
 *       first. JSON and urlencoded bodies are looked at whole, multipart ones as a stream.
 * Not:  what the name means (route/resolve.h), how it is rewritten (route/filter.h).
 * Lenient: what does not parse names no model. Only a JSON object with two `model` members, or with
 *       absurdly many, is an error.
 * Owns: nothing; texts are borrowed from the request or live in the arena.
 */
#ifndef LUASWAP_ROUTE_EXTRACT_H
#define LUASWAP_ROUTE_EXTRACT_H

#include "codec/json_scan.h"
#include "codec/multipart.h"

enum extract_place {
    EXTRACT_QUERY,     /* no body is needed */
    EXTRACT_JSON,      /* whole body */
    EXTRACT_FORM,      /* whole body, at most EXTRACT_FORM_MAX; the query counts after it */
    EXTRACT_MULTIPART, /* body as a stream; the query counts before it */
};
#define EXTRACT_FORM_MAX ((size_t)10 << 20)

/* content_type: first header value, ptr NULL when absent. */
enum extract_place extract_place(str method, str content_type);

struct extract {
    str model; /* empty: none */
    bool stream;
    enum extract_place where;    /* where the model was found */
    struct json_want json_model; /* JSON only */
    struct json_top json_top;
};

/* The whole body at hand, of any kind. 0, ERR_DUPLICATE (400), or ERR_LIMIT. With `ret->model` empty
 * nothing was found. */
MUSTCHECK int extract_model(struct arena *a, str method, str content_type, str query, str body,
                            struct extract *ret, struct error *e);

/* Multipart in pieces: init, feed*, end. A body that does not parse names no model, which is no error:
 * feed says so at once, and end leaves the model empty. Afterwards `fields` knows where the values of
 * `model` are (multipart_fields_splice). */
struct extract_stream {
    struct multipart_fields fields;
    bool broken;
};
void extract_stream_init(struct extract_stream *x, str content_type);
void extract_stream_fini(struct extract_stream *x);
/* False once the body is broken; further calls are harmless. */
bool extract_stream_feed(struct extract_stream *x, str bytes);
/* Before the body is over: is the name known already? It is when the query has it, or when the first field `model` has
 * been read. What comes behind can still be broken. */
bool extract_stream_early(const struct extract_stream *x, struct arena *a, str query, struct extract *ret);
/* The body is over. */
MUSTCHECK int extract_stream_end(struct extract_stream *x, struct arena *a, str query,
                                 struct extract *ret, struct error *e);

/* First value of `name` (at most 20 bytes) in a urlencoded text, decoded into the arena. Pairs with a
 * bad escape or a semicolon are skipped; *ret_bad says that there were some. False when there is none. */
bool extract_form_value(struct arena *a, str text, str name, str *ret, bool *ret_bad);
/* The urlencoded text with the first value of `name` replaced and further ones dropped; other pairs
 * as they are. Appended at the end when absent. */
void extract_form_set(struct strbuf *out, str text, str name, str value);

#endif
