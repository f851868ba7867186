/* filter.c: see filter.h. */
#include "route/filter.h"

static const struct config_params *params_by_id(const struct config_filters *f, str id)
{
    for (size_t i = 0; i < f->n_by_id; i++)
        if (str_eq(f->by_id[i].id, id))
            return &f->by_id[i].params;
    return NULL;
}

void filter_plan(const struct config *cfg, const struct resolve_target *t, str sent,
                 struct filter_plan *ret)
{
    bool local = t->kind == RESOLVE_LOCAL;
    *ret = (struct filter_plan){ .filters = local ? &cfg->models[t->model].filters
                                                  : &cfg->peers[t->peer.peer].filters };
    str model = local ? cfg->models[t->model].use_model_name : resolve_peer_model(cfg, t);
    if (model.len == 0)
        model = t->name;
    str rename = local ? t->name : model;
    if (!str_eq(model, sent))
        ret->model = model;
    if (!str_eq(rename, sent))
        ret->rename = rename;
    ret->by_id = params_by_id(ret->filters, t->name);
    ret->empty = ret->model.len == 0 && ret->filters->n_strip == 0 && ret->filters->set.len == 0 &&
                 (!ret->by_id || ret->by_id->len == 0);
}

static bool is_model(str name)
{
    return str_eq(name, S("model"));
}

static size_t add_params(struct json_op *ops, size_t n, const struct config_params *params)
{
    for (size_t i = 0; params && i < params->len; i++)
        if (!is_model(params->at[i].name))
            ops[n++] = (struct json_op){ JSON_SET, params->at[i].name, params->at[i].json };
    return n;
}

int filter_json(struct arena *a, str body, const struct json_top *top,
                const struct filter_plan *plan, struct json_edit *ret, struct error *e)
{
    const struct config_filters *f = plan->filters;
    size_t most = 1 + f->n_strip + f->set.len + (plan->by_id ? plan->by_id->len : 0), n = 0;
    struct json_op *ops = most < SIZE_MAX / sizeof *ops ? arena_try(a, most * sizeof *ops) : NULL;
    if (!ops)
        return error_set(e, ERR_LIMIT, "request too big to edit");
    if (plan->model.len) {
        str name = json_quote(a, plan->model);
        if (!name.ptr)
            return error_set(e, ERR_LIMIT, "request too big to edit");
        ops[n++] = (struct json_op){ JSON_MEMBER, S("model"), name };
    }
    for (size_t i = 0; i < f->n_strip; i++)
        if (!is_model(f->strip[i]))
            ops[n++] = (struct json_op){ JSON_DELETE, f->strip[i], STR_NONE };
    n = add_params(ops, n, &f->set);
    n = add_params(ops, n, plan->by_id);
    return json_edit(a, body, top, ops, n, ret, e);
}
