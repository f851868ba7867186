/* filter.h: what the configuration changes in a request before it goes to a model (http.md 3.1 to 3.3).
 *
 * Order: useModelName (or the peer's own name), stripParams, setParams, setParamsByID of the name as
 *       requested after profile and selector. `model` itself is neither stripped nor set by a filter.
 * Errors: ERR_DUPLICATE (400): a member that a filter names, or `model`, is there twice. ERR_SYNTAX
 *       (400): the body cannot be edited. ERR_CONFIG (500): a filter cannot be applied, the message
 *       names it.
 */
#ifndef LUASWAP_ROUTE_FILTER_H
#define LUASWAP_ROUTE_FILTER_H

#include "codec/json_edit.h"
#include "config/config.h"
#include "route/resolve.h"

/* The edits for a target in order; at least the model's name when it must change. */
struct filter_plan {
    str model;  /* what `model` must become in a JSON or multipart body, empty: as it is */
    str rename; /* ... in a query or urlencoded body (extract_form_set): no useModelName there */
    const struct config_filters *filters;
    const struct config_params *by_id; /* NULL: none */
    bool empty;                        /* nothing at all to do */
};

/* `sent` is the model name as it stands in the request. */
void filter_plan(const struct config *cfg, const struct resolve_target *t, str sent,
                 struct filter_plan *ret);

/* Applies the plan to a JSON body; `top` from the extraction. With an empty plan the result is the
 * body. */
MUSTCHECK int filter_json(struct arena *a, str body, const struct json_top *top,
                          const struct filter_plan *plan, struct json_edit *ret, struct error *e);

#endif
