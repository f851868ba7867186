/* decode_custom.c: keys of schema.def whose values are more than a plain number, text or list. */
#include "config/schema.h"

#include "config/duration.h"

#define NS_PER_S 1000000000LL

SCHEMA_DECODE(decode_log_level)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    struct config *c = base;
    str s;
    if (!decode_text(l, n, path, &s))
        return;
    c->log_level_text = s;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_ieq(str_trim(s), str_c(names[i]))) {
            c->log_level = (enum config_log_level)i;
            return;
        }
    load_warn(l, n, path, "the levels are debug, info, warn and error",
              "unknown log level %.*s acts as info", STR_ARG(load_quote(l, s)));
}

SCHEMA_DECODE(decode_log_time)
{
    static const char *const names[] = { "ansic",      "unixdate",    "rubydate", "rfc822",
                                         "rfc822z",    "rfc850",      "rfc1123",  "rfc1123z",
                                         "rfc3339",    "rfc3339nano", "kitchen",  "stamp",
                                         "stampmilli", "stampmicro",  "stampnano" };
    struct config *c = base;
    str s;
    if (!decode_text(l, n, path, &s))
        return;
    c->log_time_format = s;
    if (str_trim(s).len == 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_ieq(str_trim(s), str_c(names[i]))) {
            c->log_time_layout = names[i];
            return;
        }
    load_warn(l, n, path, "one of the known layouts is rfc3339",
              "unknown time format %.*s: no time stamps", STR_ARG(load_quote(l, s)));
}

SCHEMA_DECODE(decode_store)
{
    struct config *c = base;
    const struct ynode *at = n;
    if (!decode_is_map(l, n, path))
        return;
    c->has_store = true;
    for (uint32_t i = 0; i < n->n; i++) {
        const struct ypair *p = &n->pairs[i];
        const struct cpath *here = CPATH(path, p->key);
        if (!str_eq(p->key, S("path"))) {
            load_warn(l, p->key_node, here, NULL, "unknown key %.*s is ignored",
                      STR_ARG(load_quote(l, p->key)));
            continue;
        }
        at = p->value;
        decode_text(l, p->value, here, &c->store_path);
    }
    const struct cpath *here = CPATH(path, S("path"));
    if (str_trim(c->store_path).len == 0) {
        load_error(l, at, here, "name a file, or leave `store` out to keep the list in memory",
                   "store.path must not be empty");
        return;
    }
    const char *problem = l->probe_store ? source_store_problem(c->store_path) : NULL;
    if (problem)
        load_error(l, at, here, NULL, "store.path: %.*s %s", STR_ARG(load_quote(l, c->store_path)),
                   problem);
}

SCHEMA_DECODE(decode_every)
{
    struct config *c = base;
    int64_t ns = 0;
    if (n->type == YN_NULL)
        return;
    if (n->type != YN_STR || duration_parse(n->text, &ns) != 0) {
        decode_wrong_type(l, n, path, "a duration such as 30s or 1m30s");
        return;
    }
    if (ns == 0)
        ns = 5 * NS_PER_S;
    if (ns < 5 * NS_PER_S)
        load_error(l, n, path, NULL, "performance: every must be at least 5s, not %.*s",
                   STR_ARG(n->text));
    else
        c->performance_every_ns = ns;
}

SCHEMA_DECODE(decode_aliases)
{
    struct config_model *m = base;
    decode_texts(l, n, path, &m->aliases, &m->n_aliases);
    m->n_written_aliases = m->n_aliases;
}

SCHEMA_DECODE(decode_env)
{
    struct config_model *m = base;
    decode_texts(l, n, path, &m->env, &m->n_env);
}

SCHEMA_DECODE(decode_loading)
{
    struct config_model *m = base;
    decode_bool(l, n, path, &m->send_loading_state);
}

static void modalities(struct loader *l, const struct ynode *n, const struct cpath *path,
                       const char *which, const str **ret, size_t *ret_n)
{
    if (!decode_texts(l, n, path, ret, ret_n) || n->type == YN_NULL)
        return;
    for (uint32_t i = 0; i < n->n; i++) {
        const struct ynode *item = n->items[i];
        str s = item->type == YN_SEQ || item->type == YN_MAP ? S("text")
                                                             : ynode_scalar_text(&l->scratch, item);
        if (item->type != YN_NULL && !str_eq(s, S("text")) && !str_eq(s, S("audio")) &&
            !str_eq(s, S("image")))
            load_error(l, item, CPATH_AT(path, i), "the modalities are text, audio and image",
                       "%.*s: capabilities.%s: invalid modality %.*s",
                       STR_ARG(cpath_text(l, path->up ? path->up->up : NULL)), which,
                       STR_ARG(load_quote(l, s)));
    }
}

SCHEMA_DECODE(decode_modalities_in)
{
    struct config_capabilities *c = base;
    modalities(l, n, path, "in", &c->in, &c->n_in);
}

SCHEMA_DECODE(decode_modalities_out)
{
    struct config_capabilities *c = base;
    modalities(l, n, path, "out", &c->out, &c->n_out);
}

static int by_id(const void *x, const void *y)
{
    const struct config_param_set *a = x, *b = y;
    return str_cmp(a->id, b->id);
}

SCHEMA_DECODE(decode_by_id)
{
    struct config_filters *f = base;
    if (!decode_is_map(l, n, path))
        return;
    struct config_param_set *at = load_keep_array(l, n->n, sizeof *at);
    if (!at)
        return;
    for (uint32_t i = 0; i < n->n; i++) {
        at[i].id = load_keep(l, n->pairs[i].key);
        decode_params(l, n->pairs[i].value, CPATH(path, n->pairs[i].key), &at[i].params);
    }
    qsort(at, n->n, sizeof *at, by_id);
    f->by_id = at;
    f->n_by_id = n->n;
}

SCHEMA_DECODE(decode_peer_key)
{
    struct config_peer *p = base;
    decode_text(l, n, path, &p->api_key);
}

SCHEMA_DECODE(decode_settings)
{
    struct config_policy *p = base;
    if (decode_is_map(l, n, path))
        p->settings_json = decode_json(l, n, path);
}

/* ---- filters: the clean list ---- */

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const str *)x, *(const str *)y);
}

void decode_filters_done(struct loader *l, const struct ynode *n, bool legacy,
                         const struct cpath *path, struct config_filters *f)
{
    const struct ynode *old =
        legacy && n && n->type == YN_MAP ? ynode_get(n, S("strip_params")) : NULL;
    if (old && f->strip_params.len == 0)
        decode_text(l, old, CPATH(path, S("strip_params")), &f->strip_params);
    str rest = f->strip_params, item;
    size_t room = 0, len = 0;
    while (str_item(&rest, ',', &item))
        room++;
    str *at = load_keep_array(l, room, sizeof *at);
    if (!at)
        return;
    rest = f->strip_params;
    while (str_item(&rest, ',', &item))
        if (item.len && !str_eq(item, S("model")))
            at[len++] = item;
    qsort(at, len, sizeof *at, by_text);
    size_t kept = 0;
    for (size_t i = 0; i < len; i++)
        if (kept == 0 || !str_eq(at[kept - 1], at[i]))
            at[kept++] = at[i];
    f->strip = at;
    f->n_strip = kept;
}
