/* macros.c: macro declarations, their expansion, ports; see load.h and config.md 4.1 to 4.4.
 *
 * The reference replaces one macro after the other, last to first, throughout a tree. Strings are
 * independent of each other, so here each string goes through the same sequence on its own.
 */
#include "config/load.h"

#include "config/cmdline.h"

#define STRING_MAX ((size_t)1 << 20)
#define NAME_MAX_LEN 63

static bool name_chr(char c)
{
    char d = chr_lower(c);
    return (d >= 'a' && d <= 'z') || chr_digit(c) || c == '_' || c == '-';
}

bool macro_next(str s, size_t *at, size_t *ret_end, str *ret_name)
{
    for (size_t i = *at; i < s.len; i++) {
        ptrdiff_t found = str_find(str_sub(s, i, s.len), S("${"));
        if (found < 0)
            return false;
        i += (size_t)found;
        size_t to = i + 2;
        while (to < s.len && name_chr(s.ptr[to]))
            to++;
        if (to > i + 2 && to < s.len && s.ptr[to] == '}') {
            *at = i;
            *ret_end = to + 1;
            *ret_name = str_sub(s, i + 2, to - i - 2);
            return true;
        }
    }
    return false;
}

/* Place of "${name}" in s, or -1. */
static ptrdiff_t find_ref(str s, str name)
{
    for (size_t i = 0; i + name.len + 3 <= s.len; i++) {
        const char *dollar = memchr(s.ptr + i, '$', s.len - i);
        if (!dollar)
            return -1;
        i = (size_t)(dollar - s.ptr);
        if (i + name.len + 3 <= s.len && s.ptr[i + 1] == '{' && s.ptr[i + 2 + name.len] == '}' &&
            str_eq(str_sub(s, i + 2, name.len), name))
            return (ptrdiff_t)i;
    }
    return -1;
}

static bool is_port_ref(const struct ynode *n)
{
    return n && n->type == YN_STR && str_find(n->text, S("${PORT}")) >= 0;
}

str macro_text(struct loader *l, const struct ynode *v)
{
    char buf[YAML_FLOAT_MAX];
    if (v->type != YN_FLOAT)
        return ynode_scalar_text(&l->scratch, v);
    str s = arena_try_dup(&l->scratch, str_n(buf, yaml_float_text(v->f, buf)));
    return s.ptr ? s : S("");
}

/* ---- declaration ---- */

static const char *declaration_problem(str name, const struct ynode *v, const char **hint)
{
    bool chars_ok = name.len > 0;
    for (size_t i = 0; i < name.len; i++)
        chars_ok &= name_chr(name.ptr[i]);
    if (name.len > NAME_MAX_LEN)
        return "exceeds maximum length of 63 characters";
    if (!chars_ok) {
        *hint = str_eq(name, S("<<"))
                    ? "merge keys do not work inside `macros`; take the whole block with an alias"
                    : "use letters, digits, '_' and '-'";
        return "contains invalid characters";
    }
    if (v->type == YN_STR && find_ref(v->text, name) >= 0) {
        *hint = "a macro may refer to macros that are declared before it";
        return "contains self-reference";
    }
    if (v->type != YN_STR && v->type != YN_INT && v->type != YN_UINT && v->type != YN_FLOAT &&
        v->type != YN_BOOL) {
        *hint = "text, a number or a boolean is needed; quote it to make it text";
        return "must be a scalar type";
    }
    if (str_eq(name, S("PORT")) || str_eq(name, S("PID")) || str_eq(name, S("MODEL_ID"))) {
        *hint = "PORT, PID and MODEL_ID are given by luaswap; choose another name";
        return "is reserved";
    }
    return NULL;
}

void macros_declare(struct loader *l, const struct ynode *block, str model,
                    const struct cpath *path, struct lmacros *ret)
{
    *ret = (struct lmacros){ 0 };
    if (!block || block->type == YN_NULL)
        return;
    const char *before = model.ptr ? "model " : "", *after = model.ptr ? ": " : "";
    if (block->type != YN_MAP) {
        load_error(l, block, path, NULL, "%s%.*s%smacros must be a mapping, not %s", before,
                   STR_ARG(model), after, ynode_type_name(block->type));
        return;
    }
    if (block->merge_line) {
        struct ynode at = *block;
        at.line = block->merge_line;
        at.col = block->merge_col;
        const char *hint = NULL;
        load_error(l, &at, path,
                   "merge keys do not work inside `macros`; take the whole block with an alias",
                   "%s%.*s%smacro name '<<' %s", before, STR_ARG(model), after,
                   declaration_problem(S("<<"), &at, &hint));
    }
    ret->at = arena_try(&l->scratch, block->n * sizeof *ret->at);
    if (!ret->at) {
        load_full(l);
        return;
    }
    for (uint32_t i = 0; i < block->n; i++) {
        const struct ypair *p = &block->pairs[i];
        const char *hint = NULL, *bad = declaration_problem(p->key, p->value, &hint);
        if (p->merged)
            continue;
        bool of_value = bad && (bad[0] == 'm' || str_starts(str_c(bad), S("contains self")));
        if (bad)
            load_error(l, of_value ? p->value : p->key_node, CPATH(path, p->key), hint,
                       "%s%.*s%smacro %s'%.*s' %s", before, STR_ARG(model), after,
                       of_value ? "" : "name ", (int)(p->key.len > 100 ? 100 : p->key.len),
                       p->key.ptr, bad);
        else
            ret->at[ret->len++] = (struct lmacro){ p->key, p->value };
    }
}

/* ---- expansion ---- */

static const struct ynode *typed(struct loader *l, const struct ynode *at, const struct ynode *v)
{
    if (v->type == YN_STR)
        return tree_text(l, at, v->text);
    struct ynode *c = arena_try(&l->scratch, sizeof *c);
    if (!c) {
        load_full(l);
        return at;
    }
    *c = *v;
    c->file = at->file;
    c->line = at->line;
    c->col = at->col;
    return c;
}

/* The text with every "${name}" replaced; the first is at `at`. */
static const struct ynode *insert(struct loader *l, const struct ynode *n, size_t at, str name,
                                  str value)
{
    struct strbuf out = STRBUF(STRING_MAX);
    str rest = n->text;
    for (ptrdiff_t i = (ptrdiff_t)at; i >= 0; i = find_ref(rest, name)) {
        strbuf_add(&out, str_sub(rest, 0, (size_t)i));
        strbuf_add(&out, value);
        rest = str_sub(rest, (size_t)i + name.len + 3, rest.len);
    }
    strbuf_add(&out, rest);
    str text = out.full ? STR_NONE : arena_try_dup(&l->scratch, strbuf_str(&out));
    if (out.full && !l->full)
        load_error(l, n, NULL, "macros that refer to each other several times grow very fast",
                   "the text grows beyond 1 MiB when its macros are expanded");
    if (!text.ptr)
        load_full(l);
    strbuf_fini(&out);
    return text.ptr ? tree_text(l, n, text) : n;
}

static const struct ynode *apply_scalar(struct loader *l, const struct ynode *n, void *ud)
{
    const struct lmacros *m = ud;
    if (n->type != YN_STR || str_find(n->text, S("${")) < 0)
        return n;
    for (size_t i = m->len; i-- > 0 && n->type == YN_STR && !l->full;) {
        str name = m->at[i].name;
        ptrdiff_t at = find_ref(n->text, name);
        if (at == 0 && n->text.len == name.len + 3)
            n = typed(l, n, m->at[i].value);
        else if (at >= 0)
            n = insert(l, n, (size_t)at, name, macro_text(l, m->at[i].value));
    }
    return n;
}

const struct ynode *macros_apply(struct loader *l, const struct ynode *n, const struct lmacros *m)
{
    return m->len ? tree_map(l, n, true, apply_scalar, (void *)(uintptr_t)m) : n;
}

/* ---- models ---- */

/* Keys of filters.setParamsByID: the only keys that macros reach. */
static const struct ynode *expand_id_keys(struct loader *l, const struct lmodel *m,
                                          const struct ynode *node, const struct lmacros *scope)
{
    const struct ynode *filters = ynode_get(node, S("filters"));
    if (!filters || !tree_string_map(filters))
        return node;
    const struct ynode *by_id = ynode_get(filters, S("setParamsByID"));
    if (!by_id || !tree_string_map(by_id) || by_id->n == 0)
        return node;
    const struct ynode *fresh = by_id;
    struct ypair *pairs = arena_try(&l->scratch, by_id->n * sizeof *pairs);
    struct ynode *copy = arena_try(&l->scratch, sizeof *copy);
    if (!pairs || !copy) {
        load_full(l);
        return node;
    }
    *copy = *by_id;
    copy->pairs = pairs;
    bool changed = false;
    for (uint32_t i = 0; i < by_id->n; i++) {
        pairs[i] = by_id->pairs[i];
        if (str_find(pairs[i].key, S("${")) < 0)
            continue;
        const struct ynode *k = apply_scalar(l, pairs[i].key_node, (void *)(uintptr_t)scope);
        if (k == pairs[i].key_node)
            continue;
        changed = true;
        pairs[i].key = k->type == YN_STR ? k->text : macro_text(l, k);
        pairs[i].key_node = k->type == YN_STR ? k : tree_text(l, k, pairs[i].key);
    }
    for (uint32_t i = 0; changed && i < by_id->n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (str_eq(pairs[i].key, pairs[k].key)) {
                load_error(l, pairs[i].key_node, NULL, NULL,
                           "model %.*s filters.setParamsByID: the keys '%.*s' and '%.*s' resolve "
                           "to the same value '%.*s'",
                           STR_ARG(m->id), STR_ARG(by_id->pairs[k].key),
                           STR_ARG(by_id->pairs[i].key), STR_ARG(pairs[i].key));
                break;
            }
    if (changed)
        fresh = copy;
    if (fresh == by_id)
        return node;
    return tree_set(l, node, S("filters"), tree_set(l, filters, S("setParamsByID"), fresh));
}

static void make_scope(struct loader *l, struct lmodel *m)
{
    size_t room = 1 + l->globals.len + m->own.len;
    struct lmacro *at = arena_try(&l->scratch, room * sizeof *at);
    if (!at) {
        load_full(l);
        return;
    }
    size_t n = 0;
    at[n++] = (struct lmacro){ S("MODEL_ID"), tree_text(l, m->pair->key_node, m->id) };
    for (size_t i = 0; i < l->globals.len; i++)
        at[n++] = l->globals.at[i];
    for (size_t i = 0; i < m->own.len; i++) {
        size_t k = 1;
        while (k <= l->globals.len && !str_eq(at[k].name, m->own.at[i].name))
            k++;
        if (k > l->globals.len)
            k = n++;
        at[k] = m->own.at[i];
    }
    m->scope = (struct lmacros){ at, n };
}

static const struct ynode *strip_comments(struct loader *l, const struct ynode *node, str key)
{
    const struct ynode *v = ynode_get(node, key);
    if (!v || v->type != YN_STR)
        return node;
    str s = cmdline_strip_comments(&l->scratch, v->text);
    if (!s.ptr) {
        load_full(l);
        return node;
    }
    return s.len == v->text.len ? node : tree_set(l, node, key, tree_text(l, v, s));
}

static bool had_port(const struct config *previous, int64_t port)
{
    for (size_t i = 0; i < previous->n_models; i++)
        if (previous->models[i].port == port)
            return true;
    return false;
}

/* The number for m: the one that it has already, else the next that is free. */
static int64_t choose_port(const struct loader *l, const struct lmodel *m, int64_t start_port, int64_t *next_port)
{
    const struct config *previous = l->src ? l->src->previous : NULL;
    if (previous && previous->start_port == start_port) {
        size_t at = config_find_model_id(previous, m->id);
        if (at != CONFIG_NONE && previous->models[at].port)
            return previous->models[at].port;
        while (*next_port <= UINT16_MAX && had_port(previous, *next_port))
            ++*next_port;
    }
    int64_t port = *next_port;
    if (*next_port < INT64_MAX)
        ++*next_port;
    return port;
}

static void assign_port(struct loader *l, struct lmodel *m, int64_t start_port, int64_t *next_port)
{
    const struct ynode *cmd = ynode_get(m->node, S("cmd")), *proxy = ynode_get(m->node, S("proxy"));
    if (!is_port_ref(cmd)) {
        m->port_error = is_port_ref(proxy);
        if (m->port_error)
            load_error(l, proxy, CPATH(CPATH(CPATH(NULL, S("models")), m->id), S("proxy")),
                       "use ${PORT} in cmd, or write the fixed address into proxy, for example "
                       "http://localhost:8080",
                       "model %.*s: proxy uses ${PORT} but cmd does not - ${PORT} is only "
                       "available when used in cmd",
                       STR_ARG(m->id));
        return;
    }
    int64_t number = choose_port(l, m, start_port, next_port);
    struct lmacro port = { S("PORT"), tree_int(l, cmd, number) };
    struct lmacros one = { &port, 1 };
    m->port = number > 0 && number <= UINT32_MAX ? (unsigned)number : 0;
    m->node = macros_apply(l, m->node, &one);
    m->node = expand_id_keys(l, m, m->node, &one);
}

static void id_keys_leftover(struct loader *l, const struct lmodel *m)
{
    const struct ynode *filters = ynode_get(m->node, S("filters"));
    const struct ynode *by_id = filters ? ynode_get(filters, S("setParamsByID")) : NULL;
    for (uint32_t i = 0; by_id && by_id->type == YN_MAP && i < by_id->n; i++) {
        size_t at = 0, end;
        str name;
        if (macro_next(by_id->pairs[i].key, &at, &end, &name))
            load_error(l, by_id->pairs[i].key_node, NULL, NULL,
                       "unknown macro '${%.*s}' found in model %.*s filters.setParamsByID key",
                       STR_ARG(name), STR_ARG(m->id));
    }
}

static void expand_model(struct loader *l, struct lmodel *m, int64_t start_port, int64_t *next_port)
{
    const struct ynode *n = m->pair->value;
    const struct cpath *path = CPATH(CPATH(NULL, S("models")), m->id);
    if (n->type == YN_NULL) {
        load_error(l, m->pair->key_node, path,
                   "give it at least a cmd with ${PORT}, or a cmd and a proxy",
                   "model %.*s: has no settings", STR_ARG(m->id));
        return;
    }
    if (n->type != YN_MAP) {
        load_error(l, n, path, NULL,
                   "model %.*s: cannot unmarshal %s into a model; a mapping is needed",
                   STR_ARG(m->id), ynode_type_name(n->type));
        return;
    }
    macros_declare(l, ynode_get(n, S("macros")), m->id, CPATH(path, S("macros")), &m->own);
    make_scope(l, m);
    m->node = tree_set(l, n, S("macros"), NULL);
    if (!tree_string_map(m->node)) {
        load_warn(l, n, path, "quote the key",
                  "model %.*s: has a key that is no text, so no macros are expanded in it",
                  STR_ARG(m->id));
        return;
    }
    m->node = strip_comments(l, m->node, S("cmd"));
    m->node = strip_comments(l, m->node, S("cmdStop"));
    const struct ynode *proxy = ynode_get(m->node, S("proxy"));
    if (!proxy || proxy->type == YN_NULL)
        m->node = tree_set(
            l, m->node, S("proxy"),
            tree_text(l, proxy ? proxy : m->pair->key_node, S("http://localhost:${PORT}")));
    m->node = macros_apply(l, m->node, &m->scope);
    m->node = expand_id_keys(l, m, m->node, &m->scope);
    assign_port(l, m, start_port, next_port);
    id_keys_leftover(l, m);
}

static int by_id(const void *x, const void *y)
{
    const struct lmodel *a = x, *b = y;
    return str_cmp(a->id, b->id);
}

void models_expand(struct loader *l, const struct ynode *root, int64_t start_port,
                   struct lmodels *ret)
{
    *ret = (struct lmodels){ 0 };
    const struct ynode *models = ynode_get(root, S("models"));
    if (!models || models->type == YN_NULL)
        return;
    if (models->type != YN_MAP) {
        load_error(l, models, CPATH(NULL, S("models")), NULL,
                   "models: cannot unmarshal %s; a mapping of ids to models is needed",
                   ynode_type_name(models->type));
        return;
    }
    ret->at = arena_try(&l->scratch, models->n * sizeof *ret->at);
    if (!ret->at) {
        load_full(l);
        return;
    }
    for (uint32_t i = 0; i < models->n; i++)
        ret->at[ret->len++] =
            (struct lmodel){ .id = models->pairs[i].key, .pair = &models->pairs[i] };
    qsort(ret->at, ret->len, sizeof *ret->at, by_id);
    int64_t next_port = start_port;
    for (size_t i = 0; i < ret->len && !l->full; i++)
        expand_model(l, &ret->at[i], start_port, &next_port);
    if (next_port > start_port && next_port > 65536)
        load_warn(l, models, CPATH(NULL, S("startPort")), "choose a lower startPort",
                  "the last automatic port is %lld, above 65535", (long long)(next_port - 1));
}
