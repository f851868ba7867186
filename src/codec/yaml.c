/* yaml.c: see yaml.h. Types of scalars are in yaml_scalar.c. */
#include "codec/yaml.h"

#include "base/check.h"
#include "base/map.h"
#include "codec/yaml_scalar.h"

#include <stdio.h>
#include <yaml.h>

#define DEPTH_MAX 200
#define SIZE_LIMIT 4000000u

struct anchor {
    const struct ynode *node;
    bool open; /* its collection has not ended yet */
};

struct reader {
    yaml_parser_t parser;
    struct arena *a;
    const struct yaml_opts *opts;
    struct map anchors;
    struct ypair *stack; /* children of all open collections, innermost last */
    size_t top, cap;
    size_t errors;
    bool fatal; /* stop reading */
    bool full;  /* the arena is */
};

/* ---- errors ---- */

static void say(struct reader *r, uint32_t line, uint32_t col, const char *text)
{
    r->errors++;
    if (r->opts->on_error)
        r->opts->on_error(r->opts->ud, line, col, text);
}

static void say_name(struct reader *r, const struct ynode *at, const char *before, str name,
                     const char *after)
{
    char msg[300];
    snprintf(msg, sizeof msg, "%s%.*s%s", before, (int)(name.len > 120 ? 120 : name.len),
             name.ptr ? name.ptr : "", after);
    say(r, at->line, at->col, msg);
}

static void no_room(struct reader *r, uint32_t line, uint32_t col)
{
    if (!r->full)
        say(r, line, col, "the configuration is too large");
    r->full = r->fatal = true;
}

static void say_parser(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    char msg[300];
    const yaml_mark_t *m = &p->problem_mark;
    const char *problem = p->problem ? p->problem : "cannot be read";
    r->fatal = true;
    if (p->error == YAML_READER_ERROR) {
        snprintf(msg, sizeof msg, "%s (byte %zu)", problem, p->problem_offset);
        say(r, 1, 1, msg);
        return;
    }
    if (p->context)
        snprintf(msg, sizeof msg, "%s %s at line %zu", problem, p->context,
                 p->context_mark.line + 1);
    else
        snprintf(msg, sizeof msg, "%s", problem);
    say(r, (uint32_t)m->line + 1, (uint32_t)m->column + 1, msg);
}

/* ---- nodes ---- */

static struct ynode *new_node(struct reader *r, const yaml_mark_t *at)
{
    struct ynode *n = arena_try(r->a, sizeof *n);
    uint32_t line = (uint32_t)at->line + 1, col = (uint32_t)at->column + 1;
    if (!n) {
        no_room(r, line, col);
        return NULL;
    }
    n->file = r->opts->file;
    n->line = line;
    n->col = col;
    n->size = 1;
    return n;
}

static void size_add(struct ynode *n, uint64_t more)
{
    uint64_t sum = n->size + more;
    n->size = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

static bool push(struct reader *r, struct ypair p)
{
    if (r->top == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->stack = mem_resize(r->stack, r->cap, sizeof *r->stack);
    }
    r->stack[r->top++] = p;
    return true;
}

static struct anchor *set_anchor(struct reader *r, const char *name, const struct ynode *n)
{
    if (!name)
        return NULL;
    struct anchor *an = arena_try(r->a, sizeof *an);
    str key = arena_try_dup(r->a, str_c(name));
    if (!an || !key.ptr) {
        no_room(r, n->line, n->col);
        return NULL;
    }
    an->node = n;
    map_set(&r->anchors, key, an);
    return an;
}

static const struct ynode *parse_node(struct reader *r, yaml_event_t *ev, unsigned depth,
                                      bool *ret_aliased, uint64_t *ret_asize);

static bool next(struct reader *r, yaml_event_t *ev)
{
    if (r->fatal)
        return false;
    if (yaml_parser_parse(&r->parser, ev))
        return true;
    say_parser(r);
    return false;
}

static const struct ynode *parse_scalar(struct reader *r, const yaml_event_t *ev)
{
    struct ynode *n = new_node(r, &ev->start_mark);
    if (!n)
        return NULL;
    n->text =
        arena_try_dup(r->a, str_n((const char *)ev->data.scalar.value, ev->data.scalar.length));
    if (!n->text.ptr) {
        no_room(r, n->line, n->col);
        return NULL;
    }
    switch (ev->data.scalar.style) {
    case YAML_SINGLE_QUOTED_SCALAR_STYLE:
        n->style = YS_SINGLE;
        break;
    case YAML_DOUBLE_QUOTED_SCALAR_STYLE:
        n->style = YS_DOUBLE;
        break;
    case YAML_LITERAL_SCALAR_STYLE:
    case YAML_FOLDED_SCALAR_STYLE:
        n->style = YS_BLOCK;
        break;
    default:
        n->style = YS_PLAIN;
        break;
    }
    const char *tag = (const char *)ev->data.scalar.tag;
    n->tagged = tag != NULL;
    n->blank = !tag && n->style == YS_PLAIN && n->text.len == 0;
    n->type = YN_STR;
    if (tag) {
        const char *bad = yaml_scalar_tagged(r->a, n, str_c(tag));
        if (bad)
            say_name(r, n, "cannot read `", n->text, bad);
    } else if (n->style == YS_PLAIN) {
        ynode_resolve(r->a, n);
    }
    set_anchor(r, (const char *)ev->data.scalar.anchor, n);
    return n;
}

static const struct ynode *parse_alias(struct reader *r, const yaml_event_t *ev)
{
    str name = str_c((const char *)ev->data.alias.anchor);
    struct anchor *an = map_get(&r->anchors, name);
    if (an && !an->open)
        return an->node;
    struct ynode *n = new_node(r, &ev->start_mark);
    if (!n)
        return NULL;
    if (an)
        say_name(r, n, "anchor '", name, "' value contains itself");
    else
        say_name(r, n, "unknown anchor '", name,
                 "' referenced; an anchor must stand earlier in the same file");
    return n; /* a null, so that reading can go on */
}

static const struct ynode *parse_seq(struct reader *r, const yaml_event_t *start, unsigned depth,
                                     uint64_t *ret_asize)
{
    struct ynode *n = new_node(r, &start->start_mark);
    if (!n)
        return NULL;
    n->type = YN_SEQ;
    struct anchor *an = set_anchor(r, (const char *)start->data.sequence_start.anchor, n);
    if (an)
        an->open = true;
    size_t base = r->top;
    yaml_event_t ev;
    while (next(r, &ev)) {
        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            break;
        }
        struct ypair p = { 0 };
        uint64_t asize = 0;
        p.value = parse_node(r, &ev, depth + 1, &p.aliased, &asize);
        if (!p.value)
            break;
        *ret_asize += p.aliased ? p.value->size : asize;
        size_add(n, p.value->size);
        push(r, p);
    }
    if (an)
        an->open = false;
    size_t len = r->top - base;
    n->items = r->fatal ? NULL : arena_try(r->a, len * sizeof *n->items);
    if (!r->fatal && !n->items)
        no_room(r, n->line, n->col);
    for (size_t i = 0; n->items && i < len; i++)
        n->items[i] = r->stack[base + i].value;
    n->n = n->items ? (uint32_t)len : 0;
    r->top = base;
    return r->fatal ? NULL : n;
}

/* ---- mappings ---- */

static bool is_merge(const struct ynode *key)
{
    return key->type == YN_STR && key->style == YS_PLAIN && !key->tagged &&
           str_eq(key->text, S("<<"));
}

/* The pairs [base, top) of the stack by key; the table is used from 12 pairs on. */
struct keyset {
    const struct reader *r;
    size_t base;
    struct map map;
    bool hashed;
};

static const struct ypair *key_find(struct keyset *ks, str key)
{
    size_t n = ks->r->top - ks->base;
    if (!ks->hashed && n < 12) {
        for (size_t i = 0; i < n; i++)
            if (str_eq(ks->r->stack[ks->base + i].key, key))
                return &ks->r->stack[ks->base + i];
        return NULL;
    }
    if (!ks->hashed) {
        map_init(&ks->map);
        ks->hashed = true;
        for (size_t i = 0; i < n; i++)
            map_set(&ks->map, ks->r->stack[ks->base + i].key, (void *)(uintptr_t)(i + 1));
    }
    uintptr_t at = (uintptr_t)map_get(&ks->map, key);
    return at ? &ks->r->stack[ks->base + at - 1] : NULL;
}

static void key_pushed(struct keyset *ks, str key)
{
    if (ks->hashed)
        map_set(&ks->map, key, (void *)(uintptr_t)(ks->r->top - ks->base));
}

static void check_key(struct reader *r, struct keyset *ks, const struct ynode *key, struct ypair *p)
{
    if (key->type == YN_SEQ || key->type == YN_MAP) {
        say(r, key->line, key->col, "invalid map key: a list or mapping cannot be a key");
        p->key = S("?");
        return;
    }
    p->key = key->text;
    const struct ypair *old = key_find(ks, p->key);
    if (!old)
        return;
    char after[64];
    snprintf(after, sizeof after, "\" already defined at line %u", (unsigned)old->key_node->line);
    say_name(r, key, "mapping key \"", p->key, after);
}

static void merge_map(struct reader *r, struct keyset *ks, struct ynode *into,
                      const struct ynode *from)
{
    for (uint32_t i = 0; i < from->n; i++) {
        if (key_find(ks, from->pairs[i].key))
            continue;
        struct ypair p = from->pairs[i];
        p.merged = true;
        push(r, p);
        key_pushed(ks, p.key);
        size_add(into, p.value->size + 1);
    }
}

static void merge_value(struct reader *r, struct keyset *ks, struct ynode *into,
                        const struct ynode *v)
{
    bool ok = v->type == YN_MAP || v->type == YN_SEQ;
    if (v->type == YN_MAP)
        merge_map(r, ks, into, v);
    for (uint32_t i = 0; v->type == YN_SEQ && i < v->n; i++) {
        ok &= v->items[i]->type == YN_MAP;
        if (v->items[i]->type == YN_MAP)
            merge_map(r, ks, into, v->items[i]);
    }
    if (!ok)
        say(r, into->merge_line, into->merge_col,
            "map merge requires a mapping or a list of mappings as the value of `<<`");
}

static const struct ynode *parse_map(struct reader *r, const yaml_event_t *start, unsigned depth,
                                     uint64_t *ret_asize)
{
    struct ynode *n = new_node(r, &start->start_mark);
    if (!n)
        return NULL;
    n->type = YN_MAP;
    struct anchor *an = set_anchor(r, (const char *)start->data.mapping_start.anchor, n);
    if (an)
        an->open = true;
    struct keyset ks = { .r = r, .base = r->top };
    struct ypair merge = { 0 };
    yaml_event_t ev;
    while (next(r, &ev)) {
        if (ev.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&ev);
            break;
        }
        struct ypair p = { 0 };
        uint64_t asize = 0;
        bool key_aliased = false;
        p.key_node = parse_node(r, &ev, depth + 1, &key_aliased, &asize);
        if (!p.key_node || !next(r, &ev))
            break;
        p.value = parse_node(r, &ev, depth + 1, &p.aliased, &asize);
        if (!p.value)
            break;
        *ret_asize += p.aliased ? p.value->size : asize;
        if (is_merge(p.key_node)) {
            if (merge.key_node)
                say_name(r, p.key_node, "mapping key \"", S("<<"), "\" already defined");
            merge = p;
            n->merge_line = p.key_node->line;
            n->merge_col = p.key_node->col;
            continue;
        }
        check_key(r, &ks, p.key_node, &p);
        size_add(n, (uint64_t)p.value->size + 1);
        push(r, p);
        key_pushed(&ks, p.key);
    }
    if (merge.key_node && !r->fatal)
        merge_value(r, &ks, n, merge.value);
    if (an)
        an->open = false;
    size_t len = r->top - ks.base;
    n->pairs = r->fatal ? NULL : arena_try(r->a, len * sizeof *n->pairs);
    if (!r->fatal && !n->pairs)
        no_room(r, n->line, n->col);
    if (n->pairs && len)
        memcpy(n->pairs, r->stack + ks.base, len * sizeof *n->pairs);
    n->n = n->pairs ? (uint32_t)len : 0;
    r->top = ks.base;
    if (ks.hashed)
        map_fini(&ks.map);
    return r->fatal ? NULL : n;
}

/* Takes the event over. NULL only when reading must stop. */
static const struct ynode *parse_node(struct reader *r, yaml_event_t *ev, unsigned depth,
                                      bool *ret_aliased, uint64_t *ret_asize)
{
    const struct ynode *n = NULL;
    *ret_aliased = ev->type == YAML_ALIAS_EVENT;
    if (depth > DEPTH_MAX) {
        say(r, (uint32_t)ev->start_mark.line + 1, (uint32_t)ev->start_mark.column + 1,
            "nested too deeply (more than 200 levels)");
        r->fatal = true;
    } else if (ev->type == YAML_ALIAS_EVENT) {
        n = parse_alias(r, ev);
    } else if (ev->type == YAML_SCALAR_EVENT) {
        n = parse_scalar(r, ev);
    } else if (ev->type == YAML_SEQUENCE_START_EVENT) {
        n = parse_seq(r, ev, depth, ret_asize);
    } else if (ev->type == YAML_MAPPING_START_EVENT) {
        n = parse_map(r, ev, depth, ret_asize);
    } else {
        UNREACHABLE(); /* libyaml keeps its grammar */
    }
    if (n && n->size > SIZE_LIMIT) {
        say(r, n->line, n->col, "document contains excessive aliasing");
        r->fatal = true;
        n = NULL;
    }
    yaml_event_delete(ev);
    return n;
}

/* ---- the document ---- */

static void check_aliasing(struct reader *r, const struct ynode *root, uint64_t asize)
{
    double all = root->size, share = 0.99;
    if (all > 400000)
        share = all >= 4000000 ? 0.10 : 0.99 - 0.89 * ((all - 400000) / 3600000);
    if (all > 100 && asize > 1000 && (double)asize / all > share)
        say(r, root->line, root->col, "document contains excessive aliasing");
}

/* What follows the first document may be another one, but not loose text, which would be lost
 * silently. */
static void check_rest(struct reader *r, bool explicit_end)
{
    yaml_event_t ev;
    if (explicit_end || r->fatal)
        return;
    if (yaml_parser_parse(&r->parser, &ev))
        yaml_event_delete(&ev);
    else if (r->parser.error == YAML_PARSER_ERROR && r->parser.problem &&
             strcmp(r->parser.problem, "did not find expected <document start>") == 0)
        say(r, (uint32_t)r->parser.problem_mark.line + 1,
            (uint32_t)r->parser.problem_mark.column + 1,
            "unexpected text after the end of the document");
}

static const struct ynode *parse_document(struct reader *r)
{
    yaml_event_t ev;
    const struct ynode *root = NULL;
    if (!next(r, &ev))
        return NULL;
    yaml_event_delete(&ev); /* stream start */
    if (!next(r, &ev))
        return NULL;
    if (ev.type == YAML_STREAM_END_EVENT) {
        yaml_event_delete(&ev);
        return NULL;
    }
    const yaml_version_directive_t *v = ev.data.document_start.version_directive;
    if (v && (v->major != 1 || v->minor != 1)) {
        say(r, (uint32_t)ev.start_mark.line + 1, (uint32_t)ev.start_mark.column + 1,
            "found incompatible YAML document: only %YAML 1.1 may be named");
        r->fatal = true;
    }
    yaml_event_delete(&ev);
    bool aliased;
    uint64_t asize = 0;
    if (!next(r, &ev))
        return NULL;
    root = parse_node(r, &ev, 0, &aliased, &asize);
    if (!root)
        return NULL;
    check_aliasing(r, root, asize);
    if (next(r, &ev)) {
        bool explicit_end = !ev.data.document_end.implicit;
        yaml_event_delete(&ev);
        check_rest(r, explicit_end);
    }
    return root;
}

int yaml_tree_parse(struct arena *a, str text, const struct yaml_opts *opts,
                    const struct ynode **ret)
{
    struct reader r = { .a = a, .opts = opts };
    if (!yaml_parser_initialize(&r.parser)) {
        say(&r, 1, 1, "out of memory");
        return ERR_LIMIT;
    }
    map_init(&r.anchors);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.ptr ? text.ptr : ""),
                                 text.len);
    const struct ynode *root = parse_document(&r);
    yaml_parser_delete(&r.parser);
    map_fini(&r.anchors);
    free(r.stack);
    if (r.full)
        return ERR_LIMIT;
    if (r.errors)
        return ERR_SYNTAX;
    *ret = root;
    return 0;
}

const struct ypair *ynode_pair(const struct ynode *map, str key)
{
    if (!map || map->type != YN_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->n; i++)
        if (str_eq(map->pairs[i].key, key))
            return &map->pairs[i];
    return NULL;
}

const struct ynode *ynode_get(const struct ynode *map, str key)
{
    const struct ypair *p = ynode_pair(map, key);
    return p ? p->value : NULL;
}

const char *ynode_type_name(enum ynode_type t)
{
    static const char *const names[] = {
        [YN_NULL] = "null",     [YN_BOOL] = "a boolean", [YN_INT] = "a number",
        [YN_UINT] = "a number", [YN_FLOAT] = "a number", [YN_STR] = "text",
        [YN_TIME] = "a date",   [YN_SEQ] = "a list",     [YN_MAP] = "a mapping",
    };
    return names[t];
}
