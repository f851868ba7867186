/* path_lookup.h: model names in paths: /upstream/<model>/<rest>, /logs/stream/<model>, unload (http.md 2.5).
 *
 * What: walks the decoded path segment by segment; the longest run of segments that is a known name
 *       wins. The rest comes decoded (for patterns) and as the client wrote it (for sending on).
 * Cost: names longer than `longest` are not tried, so a long path is no burden.
 */
#ifndef LUASWAP_ROUTE_PATH_LOOKUP_H
#define LUASWAP_ROUTE_PATH_LOOKUP_H

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"

/* Is `name` known? If so *ret_id gets what it stands for. */
typedef bool path_known(void *ud, str name, str *ret_id);

struct path_names {
    path_known *known;
    void *ud;
    size_t longest; /* bytes of the longest name there is */
};

struct path_match {
    str name;    /* as written, decoded */
    str id;      /* what it stands for */
    str rest;    /* decoded, begins with '/' */
    str forward; /* the same with the client's escapes, begins with '/' */
    bool bare;   /* nothing behind the name, not even a slash: /upstream redirects then */
};

/* `tail` is what follows the fixed prefix ("/upstream/"), escapes as written, no query. 0;
 * ERR_NOTFOUND; ERR_SYNTAX for a bad escape; ERR_LIMIT when the arena is full. */
MUSTCHECK int path_lookup(struct arena *a, str tail, const struct path_names *names,
                          struct path_match *ret, struct error *e);
/* Decodes %XX (a plus stays). ERR_SYNTAX for a bad escape. */
MUSTCHECK int path_decode(struct arena *a, str s, str *ret, struct error *e);
/* Writes `name` so that it can stand in a path: slashes stay, what a path may not hold is escaped.
 */
void path_encode(struct strbuf *out, str name);

#endif
