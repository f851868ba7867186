/* decode.c: scalars, lists and parameter maps of the tree as C values; see load.h and config.md
 * 10.3. */
#include "config/load.h"


#include <math.h>

#define JSON_MAX ((size_t)1 << 20)

/* A missing variable was reported where it stands; what it leads to is no news. */
static bool known_trouble(const struct loader *l, const struct ynode *n)
{
    return l->env_failed && n->type == YN_STR && str_find(n->text, S("${env.")) >= 0;
}

static str describe(struct loader *l, const struct ynode *n)
{
    if (n->type == YN_SEQ || n->type == YN_MAP || n->type == YN_NULL)
        return str_c(ynode_type_name(n->type));
    str text = n->type == YN_STR ? load_quote(l, n->text) : ynode_scalar_text(&l->scratch, n);
    return load_text(l, "%s %.*s", ynode_type_name(n->type), STR_ARG(text));
}

void decode_wrong_type(struct loader *l, const struct ynode *n, const struct cpath *path,
                       const char *wanted)
{
    if (known_trouble(l, n))
        return;
    const char *hint = NULL;
    struct ynode bare = *n;
    if (n->type == YN_STR && n->style != YS_PLAIN) {
        ynode_resolve(&l->scratch, &bare);
        if (bare.type != YN_STR && bare.type != YN_NULL)
            hint = "write it without quotes";
    }
    load_error(l, n, path, hint, "%.*s: cannot unmarshal %.*s into %s",
               STR_ARG(cpath_text(l, path)), STR_ARG(describe(l, n)), wanted);
}

bool decode_is_map(struct loader *l, const struct ynode *n, const struct cpath *path)
{
    if (!n || n->type == YN_NULL)
        return false;
    if (n->type == YN_MAP)
        return true;
    decode_wrong_type(l, n, path, "a mapping");
    return false;
}

bool decode_text(struct loader *l, const struct ynode *n, const struct cpath *path, str *ret)
{
    if (n->type == YN_NULL)
        return false;
    if (n->type == YN_SEQ || n->type == YN_MAP) {
        decode_wrong_type(l, n, path, "text");
        return false;
    }
    *ret = load_keep(l, ynode_scalar_text(&l->scratch, n));
    return true;
}

bool decode_int(struct loader *l, const struct ynode *n, const struct cpath *path, int64_t *ret)
{
    if (n->type == YN_NULL)
        return false;
    if (n->type == YN_INT) {
        *ret = n->i;
        return true;
    }
    if (n->type == YN_FLOAT && n->f > -9223372036854775808.0 && n->f < 9223372036854775808.0) {
        *ret = (int64_t)n->f;
        return true;
    }
    decode_wrong_type(l, n, path, "a whole number");
    return false;
}

bool decode_bool(struct loader *l, const struct ynode *n, const struct cpath *path, bool *ret)
{
    static const char *const yes[] = { "y", "Y", "yes", "Yes", "YES", "on", "On", "ON" },
                             *const no[] = { "n", "N", "no", "No", "NO", "off", "Off", "OFF" };
    if (n->type == YN_NULL)
        return false;
    if (n->type == YN_BOOL) {
        *ret = n->b;
        return true;
    }
    for (size_t i = 0; n->type == YN_STR && i < ARRAY_LEN(yes); i++) {
        bool is_yes = str_eq(n->text, str_c(yes[i]));
        if (is_yes || str_eq(n->text, str_c(no[i]))) {
            *ret = is_yes;
            return true;
        }
    }
    decode_wrong_type(l, n, path, "a boolean (true or false)");
    return false;
}

bool decode_texts(struct loader *l, const struct ynode *n, const struct cpath *path,
                  const str **ret, size_t *ret_n)
{
    *ret = NULL;
    *ret_n = 0;
    if (n->type == YN_NULL)
        return true;
    if (n->type != YN_SEQ) {
        decode_wrong_type(l, n, path, "a list of texts");
        return false;
    }
    str *at = load_keep_array(l, n->n, sizeof *at);
    size_t len = 0;
    for (uint32_t i = 0; at && i < n->n; i++)
        len += decode_text(l, n->items[i], CPATH_AT(path, i), &at[len]);
    *ret = at;
    *ret_n = at ? len : 0;
    return at != NULL;
}

/* ---- parameters ---- */

static bool has_nonfinite(const struct ynode *n)
{
    if (n->type == YN_FLOAT)
        return !isfinite(n->f);
    bool found = false;
    for (uint32_t i = 0; n->type == YN_SEQ && i < n->n; i++)
        found |= has_nonfinite(n->items[i]);
    for (uint32_t i = 0; n->type == YN_MAP && i < n->n; i++)
        found |= has_nonfinite(n->pairs[i].value);
    return found;
}

static int by_name(const void *x, const void *y)
{
    const struct config_param *a = x, *b = y;
    return str_cmp(a->name, b->name);
}

str decode_json(struct loader *l, const struct ynode *n, const struct cpath *path)
{
    struct strbuf json = STRBUF(JSON_MAX);
    if (has_nonfinite(n))
        load_warn(l, n, path, NULL, "JSON has no infinity and no NaN; null is used instead");
    str s = STR_NONE;
    if (ynode_json(n, &json))
        s = load_keep(l, strbuf_str(&json));
    else
        load_error(l, n, path, NULL, "%.*s: the value is larger than 1 MiB",
                   STR_ARG(cpath_text(l, path)));
    strbuf_fini(&json);
    return s.ptr ? s : S("null");
}

bool decode_params(struct loader *l, const struct ynode *n, const struct cpath *path,
                   struct config_params *ret)
{
    *ret = (struct config_params){ 0 };
    if (n->type == YN_NULL)
        return true;
    if (!decode_is_map(l, n, path))
        return false;
    struct config_param *at = load_keep_array(l, n->n, sizeof *at);
    if (!at)
        return false;
    for (uint32_t i = 0; i < n->n; i++) {
        at[i].name = load_keep(l, n->pairs[i].key);
        at[i].json = decode_json(l, n->pairs[i].value, CPATH(path, n->pairs[i].key));
    }
    qsort(at, n->n, sizeof *at, by_name);
    *ret = (struct config_params){ at, n->n };
    return true;
}
