/* diff.c: what changes between two snapshots, key by key through schema.def; see config.h.
 *
 * Two values are the same when their JSON is; so a new key of schema.def needs no code here.
 */
#include "config/schema.h"

#include "base/check.h"

#define JSON_MAX ((size_t)64 << 20)

struct side {
    struct dumper d;
    struct strbuf json;
};

struct differ {
    struct side a, b;
    struct arena *arena;
};

static bool same_key(struct differ *x, const struct schema_key *k, const void *a, const void *b)
{
    if (k->kind == SCHEMA_STR)
        return str_eq(*(const str *)(const void *)((const char *)a + k->off),
                      *(const str *)(const void *)((const char *)b + k->off));
    strbuf_clear(&x->a.json);
    strbuf_clear(&x->b.json);
    bool shown = schema_show_key(&x->a.d, k, a, &x->a.json);
    bool shown_b = schema_show_key(&x->b.d, k, b, &x->b.json);
    ASSERT(!x->a.json.full && !x->b.json.full); /* snapshots are smaller than that */
    return shown == shown_b && str_eq(strbuf_str(&x->a.json), strbuf_str(&x->b.json));
}

static enum config_change model_change(struct differ *x, const struct config_model *a,
                                       const struct config_model *b, const char **ret_key)
{
    enum config_change worst = CONFIG_SAME;
    *ret_key = "";
    SCHEMA_EACH(k, SEC_MODEL)
    {
        enum config_change c = SCHEMA_WHEN(k->when) == SCHEMA_HARD ? CONFIG_HARD : CONFIG_SOFT;
        if (c <= worst || same_key(x, k, a, b))
            continue;
        worst = c;
        *ret_key = k->key;
    }
    return worst;
}

static void diff_models(struct differ *x, const struct config *before, const struct config *after,
                        struct config_diff *ret)
{
    ret->models =
        arena_calloc(x->arena, before->n_models + after->n_models + 1, sizeof *ret->models);
    size_t i = 0, j = 0;
    while (i < before->n_models || j < after->n_models) {
        const struct config_model *a = i < before->n_models ? &before->models[i] : NULL;
        const struct config_model *b = j < after->n_models ? &after->models[j] : NULL;
        int order = !a ? 1 : !b ? -1 : str_cmp(a->id, b->id);
        struct config_model_diff *d = &ret->models[ret->n_models++];
        d->before = order <= 0 ? i : CONFIG_NONE;
        d->after = order >= 0 ? j : CONFIG_NONE;
        d->key = "";
        if (order == 0) {
            d->change = model_change(x, a, b, &d->key);
            d->id = b->id;
        } else {
            d->change = order < 0 ? CONFIG_REMOVED : CONFIG_ADDED;
            d->id = order < 0 ? a->id : b->id;
        }
        i += order <= 0;
        j += order >= 0;
    }
}

static void diff_section(struct differ *x, enum schema_section sec, const void *a, const void *b,
                         str up, struct config_diff *ret)
{
    SCHEMA_EACH(k, sec)
    {
        if (k->kind == SCHEMA_SUB) {
            str path = arena_printf(x->arena, "%.*s%s.", STR_ARG(up), k->key);
            diff_section(x, k->sub, (const char *)a + k->off, (const char *)b + k->off, path, ret);
            continue;
        }
        bool custom = k->kind == SCHEMA_CUSTOM || k->kind == SCHEMA_MAPOF;
        if ((custom && !k->dump) ||
            (sec == SEC_ROOT && k->sub == SEC_MODEL && k->kind == SCHEMA_MAPOF))
            continue; /* old spellings; models have a list of their own */
        if (same_key(x, k, a, b))
            continue;
        ret->keys = mem_resize(ret->keys, ret->n_keys + 1, sizeof *ret->keys);
        ret->keys[ret->n_keys++] = (struct config_key_diff){
            .path = arena_printf(x->arena, "%.*s%s", STR_ARG(up), k->key).ptr,
            .live = SCHEMA_WHEN(k->when) != SCHEMA_START,
        };
    }
}

void config_diff(const struct config *before, const struct config *after, struct arena *a,
                 struct config_diff *ret)
{
    struct differ x = { { { before, true }, STRBUF(JSON_MAX) },
                        { { after, true }, STRBUF(JSON_MAX) },
                        a };
    *ret = (struct config_diff){ 0 };
    diff_models(&x, before, after, ret);
    diff_section(&x, SEC_ROOT, before, after, S(""), ret);
    struct config_key_diff *keys = arena_calloc(a, ret->n_keys + 1, sizeof *keys);
    if (ret->n_keys)
        memcpy(keys, ret->keys, ret->n_keys * sizeof *keys);
    free(ret->keys);
    ret->keys = keys;
    strbuf_fini(&x.a.json);
    strbuf_fini(&x.b.json);
}
