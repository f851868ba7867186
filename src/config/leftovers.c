/* leftovers.c: references that nothing replaced (config.md 4.6), and suggestions for them; see
 * load.h. */
#include "config/load.h"

#include "config/schema.h"

/* ---- suggestions ---- */

#define WORD_MAX 40

/* Edit distance with swaps of neighbours, ASCII case counted as half a change: 2 per edit. */
static unsigned distance(str a, str b)
{
    unsigned rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = (unsigned)(2 * j);
    for (size_t i = 1; i <= a.len; i++) {
        unsigned *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = (unsigned)(2 * i);
        for (size_t j = 1; j <= b.len; j++) {
            char x = a.ptr[i - 1], y = b.ptr[j - 1];
            unsigned d = up[j - 1] + (x == y ? 0 : chr_lower(x) == chr_lower(y) ? 1 : 2);
            d = up[j] + 2 < d ? up[j] + 2 : d;
            d = row[j - 1] + 2 < d ? row[j - 1] + 2 : d;
            if (i > 1 && j > 1 && x == b.ptr[j - 2] && a.ptr[i - 2] == y && up2[j - 2] + 2 < d)
                d = up2[j - 2] + 2;
            row[j] = d;
        }
    }
    return rows[a.len % 3][b.len];
}

bool same_word(str a, str b)
{
    size_t i = 0, j = 0;
    for (;; i++, j++) {
        while (i < a.len && (a.ptr[i] == '_' || a.ptr[i] == '-'))
            i++;
        while (j < b.len && (b.ptr[j] == '_' || b.ptr[j] == '-'))
            j++;
        if (i >= a.len || j >= b.len)
            return i >= a.len && j >= b.len;
        if (chr_lower(a.ptr[i]) != chr_lower(b.ptr[j]))
            return false;
    }
}

const char *suggest(struct loader *l, str name, const str *known, size_t n, const char *before,
                    const char *after)
{
    str best = STR_NONE;
    unsigned least = name.len <= 3 ? 3 : name.len <= 6 ? 5 : 7;
    if (name.len == 0 || name.len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n && least > 0; i++) {
        if (known[i].len == 0 || known[i].len > WORD_MAX)
            continue;
        unsigned d = same_word(name, known[i]) ? 0 : distance(name, known[i]);
        if (d < least) {
            least = d;
            best = known[i];
        }
    }
    if (!best.ptr)
        return NULL;
    return load_text(l, "did you mean %s%.*s%s?", before, STR_ARG(best), after).ptr;
}

static const char *suggest_macro(struct loader *l, str name, const struct lmacros *m)
{
    str *known = arena_try(&l->scratch, (m->len + 1) * sizeof *known);
    if (!known)
        return NULL;
    for (size_t i = 0; i < m->len; i++) {
        known[i] = m->at[i].name;
        if (str_eq(known[i], name))
            return "a macro may refer only to macros that are declared before it";
    }
    return suggest(l, name, known, m->len, "${", "}");
}

/* ---- the search ---- */

struct search {
    struct loader *l;
    const struct lmodel *model; /* NULL outside models */
    str field;                  /* the model's key that the search is in */
};

static bool plain_field(str f)
{
    static const char *const fields[] = {
        "cmd", "cmdStop", "proxy", "checkEndpoint", "name", "description", "filters.stripParams"
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (str_eq(f, str_c(fields[i])))
            return true;
    return false;
}

/* The path below the model, without list indexes. */
static str field_path(struct loader *l, const struct cpath *p, const struct cpath *model)
{
    if (!p || p == model)
        return STR_NONE;
    str up = field_path(l, p->up, model);
    if (p->index >= 0)
        return up;
    return up.len ? load_text(l, "%.*s.%.*s", STR_ARG(up), STR_ARG(p->key)) : p->key;
}

static void hit_in_model(const struct search *s, const struct ynode *n, const struct cpath *path,
                         const struct cpath *model_path, str name)
{
    struct loader *l = s->l;
    str id = s->model->id, field = field_path(l, path, model_path);
    bool builtin = str_eq(name, S("PORT")) || str_eq(name, S("MODEL_ID"));
    const char *hint = suggest_macro(l, name, &s->model->scope);
    if (str_eq(name, S("PID")))
        hint = "${PID} is known in cmdStop only";
    if (str_eq(name, S("PORT")))
        hint = "${PORT} is available only when cmd uses it";
    if (str_eq(name, S("PID")) && str_eq(field, S("cmdStop")))
        return;
    if (str_eq(name, S("PORT")) && s->model->port_error && str_eq(field, S("proxy")))
        return;
    if (plain_field(field) && builtin)
        load_error(l, n, path, hint, "macro '${%.*s}' should have been substituted in %.*s.%.*s",
                   STR_ARG(name), STR_ARG(id), STR_ARG(field));
    else if (plain_field(field))
        load_error(l, n, path, hint, "unknown macro '${%.*s}' found in %.*s.%.*s", STR_ARG(name),
                   STR_ARG(id), STR_ARG(field));
    else if (str_eq(s->field, S("capabilities")) || str_eq(s->field, S("metadata")))
        load_error(l, n, path, hint, "model %.*s %.*s: unknown macro '${%.*s}'", STR_ARG(id),
                   STR_ARG(s->field), STR_ARG(name));
    else
        load_error(l, n, path, hint, "model %.*s %.*s: unknown macro '${%.*s}'", STR_ARG(id),
                   STR_ARG(field), STR_ARG(name));
}

static void search_text(const struct search *s, const struct ynode *n, const struct cpath *path,
                        const struct cpath *model_path)
{
    struct loader *l = s->l;
    size_t at = 0, end;
    str name;
    for (; macro_next(n->text, &at, &end, &name); at = end) {
        if (s->model)
            hit_in_model(s, n, path, model_path, name);
        else
            load_error(l, n, path, suggest_macro(l, name, &l->globals),
                       "%.*s: unknown macro '${%.*s}'", STR_ARG(cpath_text(l, path)),
                       STR_ARG(name));
    }
    for (at = 0; !l->env_failed && env_next(n->text, &at, &end, &name); at = end)
        load_error(l, n, path, "references to variables are replaced before macros are",
                   "%.*s: environment variable '%.*s' not set", STR_ARG(cpath_text(l, path)),
                   STR_ARG(name));
}

static void search(const struct search *s, const struct ynode *n, const struct cpath *path,
                   const struct cpath *model_path)
{
    if (n->type == YN_STR && str_find(n->text, S("${")) >= 0)
        search_text(s, n, path, model_path);
    for (uint32_t i = 0; n->type == YN_SEQ && i < n->n; i++)
        search(s, n->items[i], CPATH_AT(path, i), model_path);
    if (n->type == YN_MAP && tree_string_map(n))
        for (uint32_t i = 0; i < n->n; i++)
            search(s, n->pairs[i].value, CPATH(path, n->pairs[i].key), model_path);
}

void leftovers_check(struct loader *l, const struct ynode *root, const struct lmodels *models)
{
    for (uint32_t i = 0; i < root->n; i++) {
        const struct ypair *p = &root->pairs[i];
        struct search s = { .l = l };
        if (!str_eq(p->key, S("models")) && !str_eq(p->key, S("macros")) &&
            schema_find(SEC_ROOT, p->key))
            search(&s, p->value, CPATH(NULL, p->key), NULL);
    }
    for (size_t i = 0; i < models->len; i++) {
        const struct lmodel *m = &models->at[i];
        if (!m->node || !tree_string_map(m->node))
            continue;
        const struct cpath *path = CPATH(CPATH(NULL, S("models")), m->id);
        for (uint32_t k = 0; k < m->node->n; k++) {
            struct search s = { .l = l, .model = m, .field = m->node->pairs[k].key };
            search(&s, m->node->pairs[k].value, CPATH(path, s.field), path);
        }
    }
}
