/* yaml_json.c: a YAML node as compact JSON, see yaml.h. */
#include "codec/yaml.h"

#include "base/check.h"

static int by_key(const void *x, const void *y)
{
    const struct ypair *const *a = x, *const *b = y;
    return str_cmp((*a)->key, (*b)->key);
}

static bool map_json(const struct ynode *n, struct strbuf *out)
{
    const struct ypair **sorted = mem_calloc(n->n + 1u, sizeof *sorted);
    for (uint32_t i = 0; i < n->n; i++)
        sorted[i] = &n->pairs[i];
    qsort(sorted, n->n, sizeof *sorted, by_key);
    bool ok = strbuf_addc(out, '{');
    for (uint32_t i = 0; ok && i < n->n; i++) {
        ok = (i == 0 || strbuf_addc(out, ',')) && strbuf_addc(out, '"') &&
             strbuf_add_json(out, sorted[i]->key) && strbuf_add(out, S("\":")) &&
             ynode_json(sorted[i]->value, out);
    }
    free(sorted);
    return ok && strbuf_addc(out, '}');
}

static bool seq_json(const struct ynode *n, struct strbuf *out)
{
    bool ok = strbuf_addc(out, '[');
    for (uint32_t i = 0; ok && i < n->n; i++)
        ok = (i == 0 || strbuf_addc(out, ',')) && ynode_json(n->items[i], out);
    return ok && strbuf_addc(out, ']');
}

bool ynode_json(const struct ynode *n, struct strbuf *out)
{
    switch (n->type) {
    case YN_NULL:
        return strbuf_add(out, S("null"));
    case YN_BOOL:
        return strbuf_add(out, n->b ? S("true") : S("false"));
    case YN_INT:
        return strbuf_addf(out, "%lld", (long long)n->i);
    case YN_UINT:
        return strbuf_addu(out, n->u);
    case YN_FLOAT:
        return yaml_float_json(n->f, out);
    case YN_STR:
    case YN_TIME:
        return strbuf_addc(out, '"') && strbuf_add_json(out, n->text) && strbuf_addc(out, '"');
    case YN_SEQ:
        return seq_json(n, out);
    case YN_MAP:
        return map_json(n, out);
    }
    UNREACHABLE();
}
