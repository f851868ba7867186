/* tree.c: copies of YAML trees with some values changed; see load.h. */
#include "config/load.h"

bool tree_string_map(const struct ynode *n)
{
    if (n->type != YN_MAP)
        return false;
    for (uint32_t i = 0; i < n->n; i++)
        if (n->pairs[i].key_node->type != YN_STR)
            return false;
    return true;
}

static struct ynode *copy(struct loader *l, const struct ynode *n)
{
    struct ynode *c = arena_try(&l->scratch, sizeof *c);
    if (!c) {
        load_full(l);
        return NULL;
    }
    *c = *n;
    return c;
}

const struct ynode *tree_text(struct loader *l, const struct ynode *like, str text)
{
    struct ynode *c = copy(l, like);
    if (!c)
        return like;
    c->type = YN_STR;
    c->text = text;
    c->blank = false;
    c->size = 1;
    return c;
}

const struct ynode *tree_int(struct loader *l, const struct ynode *like, int64_t i)
{
    struct ynode *c = copy(l, like);
    if (!c)
        return like;
    c->type = YN_INT;
    c->i = i;
    c->blank = false;
    c->size = 1;
    return c;
}

static struct ypair *copy_pairs(struct loader *l, const struct ynode *n, uint32_t room)
{
    struct ypair *p = arena_try(&l->scratch, (size_t)(n->n + room) * sizeof *p);
    if (!p)
        load_full(l);
    else if (n->n)
        memcpy(p, n->pairs, n->n * sizeof *p);
    return p;
}

static const struct ynode *map_pairs(struct loader *l, const struct ynode *n, bool strict,
                                     tree_fn *fn, void *ud)
{
    struct ynode *c = NULL;
    for (uint32_t i = 0; i < n->n && !l->full; i++) {
        const struct ynode *old = c ? c->pairs[i].value : n->pairs[i].value;
        const struct ynode *v = tree_map(l, old, strict, fn, ud);
        if (v == old)
            continue;
        if (!c) {
            struct ypair *pairs = copy_pairs(l, n, 0);
            c = pairs ? copy(l, n) : NULL;
            if (!c)
                return n;
            c->pairs = pairs;
        }
        c->pairs[i].value = v;
    }
    return c ? c : n;
}

static const struct ynode *map_items(struct loader *l, const struct ynode *n, bool strict,
                                     tree_fn *fn, void *ud)
{
    struct ynode *c = NULL;
    for (uint32_t i = 0; i < n->n && !l->full; i++) {
        const struct ynode *v = tree_map(l, n->items[i], strict, fn, ud);
        if (v == n->items[i])
            continue;
        if (!c) {
            const struct ynode **items = arena_try(&l->scratch, n->n * sizeof *items);
            c = items ? copy(l, n) : NULL;
            if (!c) {
                load_full(l);
                return n;
            }
            memcpy(items, n->items, n->n * sizeof *items);
            c->items = items;
        }
        c->items[i] = v;
    }
    return c ? c : n;
}

const struct ynode *tree_map(struct loader *l, const struct ynode *n, bool strict, tree_fn *fn,
                             void *ud)
{
    if (n->type == YN_SEQ)
        return map_items(l, n, strict, fn, ud);
    if (n->type == YN_MAP)
        return strict && !tree_string_map(n) ? n : map_pairs(l, n, strict, fn, ud);
    return fn(l, n, ud);
}

const struct ynode *tree_set(struct loader *l, const struct ynode *map, str key,
                             const struct ynode *value)
{
    uint32_t at = 0;
    while (at < map->n && !str_eq(map->pairs[at].key, key))
        at++;
    if (at == map->n && !value)
        return map;
    struct ypair *pairs = copy_pairs(l, map, 1);
    struct ynode *c = pairs ? copy(l, map) : NULL;
    if (!c)
        return map;
    c->pairs = pairs;
    if (!value) {
        memmove(pairs + at, pairs + at + 1, (map->n - at - 1) * sizeof *pairs);
        c->n--;
        return c;
    }
    if (at == map->n) {
        pairs[at] = (struct ypair){ .key = key, .key_node = tree_text(l, map, key) };
        c->n++;
    }
    pairs[at].value = value;
    return c;
}
