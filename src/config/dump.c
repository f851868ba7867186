/* dump.c: the effective configuration as JSON; the dump functions named in schema.def. See
 * config.h. */
#include "config/schema.h"

#include "config/duration.h"

/* ---- small parts ---- */

static bool text(struct strbuf *out, str s)
{
    return strbuf_addc(out, '"') && strbuf_add_json(out, s) && strbuf_addc(out, '"');
}

static bool comma(struct strbuf *out, size_t i)
{
    return i == 0 || strbuf_addc(out, ',');
}

static bool texts(struct strbuf *out, const str *at, size_t n)
{
    bool ok = strbuf_addc(out, '[');
    for (size_t i = 0; ok && i < n; i++)
        ok = comma(out, i) && text(out, at[i]);
    return ok && strbuf_addc(out, ']');
}

static bool key(struct strbuf *out, str k)
{
    return text(out, k) && strbuf_addc(out, ':');
}

static bool model_ids(const struct config *c, struct strbuf *out, const size_t *at, size_t n)
{
    bool ok = strbuf_addc(out, '[');
    for (size_t i = 0; ok && i < n; i++)
        ok = comma(out, i) && text(out, c->models[at[i]].id);
    return ok && strbuf_addc(out, ']');
}

static bool secret(const struct dumper *d, struct strbuf *out, str s)
{
    if (d->secrets || s.len == 0)
        return text(out, s);
    return strbuf_add(out, S("\"***\""));
}

static bool pairs(struct strbuf *out, const struct config_pair *at, size_t n)
{
    bool ok = strbuf_addc(out, '{');
    for (size_t i = 0; ok && i < n; i++)
        ok = comma(out, i) && key(out, at[i].key) && text(out, at[i].value);
    return ok && strbuf_addc(out, '}');
}

static bool costs(struct strbuf *out, const struct config_cost *at, size_t n)
{
    bool ok = strbuf_addc(out, '{');
    for (size_t i = 0; ok && i < n; i++)
        ok =
            comma(out, i) && key(out, at[i].key) && strbuf_addf(out, "%lld", (long long)at[i].cost);
    return ok && strbuf_addc(out, '}');
}

static bool macros(struct strbuf *out, const struct config_macro *at, size_t n)
{
    bool ok = strbuf_addc(out, '{');
    for (size_t i = 0; ok && i < n; i++)
        ok = comma(out, i) && key(out, at[i].name) && strbuf_add(out, at[i].json);
    return ok && strbuf_addc(out, '}');
}

/* {"id": {section}, ...} over an array of structs that begin with `str id`. */
static bool named(const struct dumper *d, struct strbuf *out, enum schema_section sec,
                  const void *at, size_t n, size_t size)
{
    bool ok = strbuf_addc(out, '{');
    for (size_t i = 0; ok && i < n; i++) {
        const char *one = (const char *)at + i * size;
        ok = comma(out, i) && key(out, *(const str *)(const void *)one) &&
             schema_show(d, sec, one, out);
    }
    return ok && strbuf_addc(out, '}');
}

/* ---- the functions of schema.def ---- */

SCHEMA_DUMP(dump_log_level)
{
    (void)d;
    return text(out, ((const struct config *)base)->log_level_text);
}

SCHEMA_DUMP(dump_log_time)
{
    (void)d;
    return text(out, ((const struct config *)base)->log_time_format);
}

SCHEMA_DUMP(dump_store)
{
    (void)d;
    const struct config *c = base;
    if (!c->has_store)
        return strbuf_add(out, S("null"));
    return strbuf_add(out, S("{\"path\":")) && text(out, c->store_path) && strbuf_addc(out, '}');
}

SCHEMA_DUMP(dump_every)
{
    (void)d;
    return strbuf_addc(out, '"') &&
           duration_text(((const struct config *)base)->performance_every_ns, out) &&
           strbuf_addc(out, '"');
}

SCHEMA_DUMP(dump_macros)
{
    (void)d;
    const struct config *c = base;
    return macros(out, c->macros, c->n_macros);
}

SCHEMA_DUMP(dump_api_keys)
{
    const struct config *c = base;
    bool ok = strbuf_addc(out, '[');
    for (size_t i = 0; ok && i < c->n_api_keys; i++)
        ok = comma(out, i) && secret(d, out, c->api_keys[i]);
    return ok && strbuf_addc(out, ']');
}

SCHEMA_DUMP(dump_models)
{
    const struct config *c = base;
    return named(d, out, SEC_MODEL, c->models, c->n_models, sizeof *c->models);
}

SCHEMA_DUMP(dump_profiles)
{
    const struct config *c = base;
    return named(d, out, SEC_PROFILE, c->profiles, c->n_profiles, sizeof *c->profiles);
}

SCHEMA_DUMP(dump_selectors)
{
    const struct config *c = base;
    return named(d, out, SEC_SELECTOR, c->selectors, c->n_selectors, sizeof *c->selectors);
}

SCHEMA_DUMP(dump_peers)
{
    const struct config *c = base;
    return named(d, out, SEC_PEER, c->peers, c->n_peers, sizeof *c->peers);
}

SCHEMA_DUMP(dump_groups)
{
    const struct config *c = base;
    return named(d, out, SEC_GROUP, c->groups, c->n_groups, sizeof *c->groups);
}

SCHEMA_DUMP(dump_policies)
{
    const struct config *c = base;
    bool ok = strbuf_addc(out, '[');
    for (size_t i = 0; ok && i < c->n_policies; i++)
        ok = comma(out, i) && schema_show(d, SEC_POLICY, &c->policies[i], out);
    return ok && strbuf_addc(out, ']');
}

SCHEMA_DUMP(dump_session_id)
{
    (void)d;
    const struct config *c = base;
    return texts(out, c->session_id, c->n_session_id);
}

SCHEMA_DUMP(dump_aliases)
{
    (void)d;
    const struct config_model *m = base;
    return texts(out, m->aliases, m->n_aliases);
}

/* Is this the name of a variable whose value is nobody's business? */
static bool secret_name(str name)
{
    static const char *const parts[] = { "KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL" };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (str_ifind(name, str_c(parts[i])) >= 0)
            return true;
    return false;
}

SCHEMA_DUMP(dump_env)
{
    const struct config_model *m = base;
    bool ok = strbuf_addc(out, '[');
    for (size_t i = 0; ok && i < m->n_env; i++) {
        str name, value;
        ok = comma(out, i);
        if (str_cut(m->env[i], '=', &name, &value) && value.len && !d->secrets && secret_name(name))
            ok = ok && strbuf_addc(out, '"') && strbuf_add_json(out, name) && strbuf_add(out, S("=***\""));
        else
            ok = ok && schema_show_text(d, m->env[i], out);
    }
    return ok && strbuf_addc(out, ']');
}

SCHEMA_DUMP(dump_model_macros)
{
    (void)d;
    const struct config_model *m = base;
    return macros(out, m->macros, m->n_macros);
}

SCHEMA_DUMP(dump_loading)
{
    (void)d;
    return strbuf_add(out, ((const struct config_model *)base)->send_loading_state ? S("true")
                                                                                   : S("false"));
}

SCHEMA_DUMP(dump_modalities_in)
{
    (void)d;
    const struct config_capabilities *c = base;
    return texts(out, c->in, c->n_in);
}

SCHEMA_DUMP(dump_modalities_out)
{
    (void)d;
    const struct config_capabilities *c = base;
    return texts(out, c->out, c->n_out);
}

SCHEMA_DUMP(dump_by_id)
{
    (void)d;
    const struct config_filters *f = base;
    bool ok = strbuf_addc(out, '{');
    for (size_t i = 0; ok && i < f->n_by_id; i++)
        ok = comma(out, i) && key(out, f->by_id[i].id) &&
             schema_show_params(&f->by_id[i].params, out);
    return ok && strbuf_addc(out, '}');
}

SCHEMA_DUMP(dump_peer_key)
{
    return secret(d, out, ((const struct config_peer *)base)->api_key);
}

SCHEMA_DUMP(dump_pins)
{
    (void)d;
    const struct config_profile *p = base;
    return pairs(out, p->pins, p->n_pins);
}

SCHEMA_DUMP(dump_strategy)
{
    (void)d;
    return text(out, str_c(config_strategy_name(((const struct config_selector *)base)->strategy)));
}

SCHEMA_DUMP(dump_router)
{
    (void)d;
    return strbuf_add(out, ((const struct config *)base)->router == CONFIG_ROUTER_MATRIX
                               ? S("\"matrix\"")
                               : S("\"group\""));
}

SCHEMA_DUMP(dump_matrix)
{
    (void)d;
    const struct config *c = base;
    if (c->router != CONFIG_ROUTER_MATRIX)
        return strbuf_add(out, S("null"));
    return strbuf_add(out, S("{\"vars\":")) && pairs(out, c->matrix.vars, c->matrix.n_vars) &&
           strbuf_add(out, S(",\"evict_costs\":")) &&
           costs(out, c->matrix.costs, c->matrix.n_costs) && strbuf_add(out, S(",\"sets\":")) &&
           pairs(out, c->matrix.sets, c->matrix.n_sets) && strbuf_addc(out, '}');
}

SCHEMA_DUMP(dump_members)
{
    const struct config_group *g = base;
    return model_ids(d->cfg, out, g->members, g->n_members);
}

SCHEMA_DUMP(dump_scheduler)
{
    (void)d;
    str file = ((const struct config *)base)->scheduler_file;
    if (file.len > 0)
        return strbuf_addc(out, '"') && strbuf_add_json(out, file) && strbuf_addc(out, '"');
    return strbuf_add(out, ((const struct config *)base)->scheduler == CONFIG_SCHED_FIFO
                               ? S("\"fifo\"")
                               : S("\"serial\""));
}

SCHEMA_DUMP(dump_priority)
{
    (void)d;
    const struct config *c = base;
    return costs(out, c->fifo.priority, c->fifo.n_priority);
}

SCHEMA_DUMP(dump_preload)
{
    const struct config *c = base;
    return model_ids(d->cfg, out, c->preload, c->n_preload);
}

SCHEMA_DUMP(dump_ignore_paths)
{
    (void)d;
    const struct config *c = base;
    return texts(out, c->ignore_paths, c->n_ignore_paths);
}

SCHEMA_DUMP(dump_settings)
{
    (void)d;
    return strbuf_add(out, ((const struct config_policy *)base)->settings_json);
}

/* ---- the whole ---- */

static bool newline(struct strbuf *out, unsigned depth)
{
    bool ok = strbuf_addc(out, '\n');
    for (unsigned i = 0; ok && i < depth; i++)
        ok = strbuf_add(out, S("  "));
    return ok;
}

/* Compact JSON with line ends and indentation put in; empty brackets stay closed. */
bool dump_indent(str json, struct strbuf *out)
{
    unsigned depth = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < json.len; i++) {
        char c = json.ptr[i], next = i + 1 < json.len ? json.ptr[i + 1] : '\0';
        if (c == '"') {
            size_t from = i++;
            while (json.ptr[i] != '"')
                i += json.ptr[i] == '\\' ? 2 : 1;
            ok = strbuf_add(out, str_sub(json, from, i - from + 1));
        } else if ((c == '{' && next == '}') || (c == '[' && next == ']')) {
            ok = strbuf_addc(out, c) && strbuf_addc(out, next);
            i++;
        } else if (c == '{' || c == '[') {
            ok = strbuf_addc(out, c) && newline(out, ++depth);
        } else if (c == '}' || c == ']') {
            ok = newline(out, --depth) && strbuf_addc(out, c);
        } else if (c == ',') {
            ok = strbuf_addc(out, c) && newline(out, depth);
        } else if (c == ':') {
            ok = strbuf_add(out, S(": "));
        } else {
            ok = strbuf_addc(out, c);
        }
    }
    return ok && strbuf_addc(out, '\n');
}

bool config_dump_compact(const struct config *cfg, bool secrets, struct strbuf *out)
{
    struct dumper d = { cfg, secrets };
    return schema_show(&d, SEC_ROOT, cfg, out);
}

bool config_dump_json(const struct config *cfg, struct strbuf *out)
{
    struct strbuf compact = STRBUF(out->max);
    bool ok = config_dump_compact(cfg, false, &compact) && dump_indent(strbuf_str(&compact), out);
    strbuf_fini(&compact);
    return ok;
}
