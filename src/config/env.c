/* env.c: `${env.NAME}` in configuration text (config.md 4.5), see load.h.
 *
 * The first pass works on the text of each file, so that values take their YAML type; the second on
 * the merged tree, for references that a value of the first pass brought in.
 */
#include "config/load.h"

#include "base/utf8.h"

#define VALUE_MAX ((size_t)1 << 20)
#define TEXT_MAX ((size_t)32 << 20)

static bool name_chr(char c, bool first)
{
    char d = chr_lower(c);
    return (d >= 'a' && d <= 'z') || c == '_' || (!first && chr_digit(c));
}

bool env_next(str s, size_t *at, size_t *ret_end, str *ret_name)
{
    for (size_t i = *at; i < s.len; i++) {
        ptrdiff_t found = str_find(str_sub(s, i, s.len), S("${env."));
        if (found < 0)
            return false;
        i += (size_t)found;
        size_t from = i + 6, to = from;
        while (to < s.len && name_chr(s.ptr[to], to == from))
            to++;
        if (to > from && to < s.len && s.ptr[to] == '}') {
            *at = i;
            *ret_end = to + 1;
            *ret_name = str_sub(s, from, to - from);
            return true;
        }
    }
    return false;
}

/* ---- values ---- */

enum lookup { ENV_FINE, ENV_UNSET, ENV_NEWLINE, ENV_LONG };

static enum lookup lookup(struct loader *l, str name, str *ret)
{
    const char *z = load_cstr(l, name);
    const char *v = z && l->src && l->src->getenv ? l->src->getenv(l->src->ud, z) : NULL;
    if (!v)
        return ENV_UNSET;
    *ret = str_c(v);
    if (str_chr(*ret, '\n') >= 0 || str_chr(*ret, '\r') >= 0)
        return ENV_NEWLINE;
    return ret->len > VALUE_MAX ? ENV_LONG : ENV_FINE;
}

static const char *complaint(enum lookup r)
{
    return r == ENV_UNSET     ? "is not set"
           : r == ENV_NEWLINE ? "contains newlines, which cannot be put into YAML"
                              : "is longer than 1 MiB";
}

/* As it must stand inside double quotes. */
static void add_escaped(struct strbuf *out, str v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '\\' || v.ptr[i] == '"')
            strbuf_addc(out, '\\');
        strbuf_addc(out, v.ptr[i]);
    }
}

/* ---- first pass ---- */

/* Names that stand in the document itself (not in comments), with a node each. */
struct names {
    struct map where; /* name -> const struct ynode * */
};

static void collect_scalar(struct names *ns, const struct ynode *n)
{
    size_t at = 0, end;
    str name;
    for (; env_next(n->text, &at, &end, &name); at = end)
        if (!map_has(&ns->where, name))
            map_set(&ns->where, name, (void *)(uintptr_t)n);
}

static void collect(struct names *ns, const struct ynode *n)
{
    if (n->type == YN_SEQ) {
        for (uint32_t i = 0; i < n->n; i++)
            collect(ns, n->items[i]);
    } else if (n->type == YN_MAP) {
        for (uint32_t i = 0; i < n->n; i++) {
            if (n->pairs[i].merged)
                continue;
            collect(ns, n->pairs[i].key_node);
            if (!n->pairs[i].aliased)
                collect(ns, n->pairs[i].value);
        }
    } else {
        collect_scalar(ns, n);
    }
}

static uint32_t chars(str s)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

/* Line and column of a byte of the text, counted on from an earlier one. */
struct cursor {
    size_t at, line_start;
    uint32_t line;
};

static void cursor_to(struct cursor *c, str text, size_t at)
{
    for (; c->at < at; c->at++)
        if (text.ptr[c->at] == '\n') {
            c->line++;
            c->line_start = c->at + 1;
        }
}

static void add_shift(struct cfile *f, const struct cursor *c, str text, size_t at, size_t end,
                      str value, int64_t *delta, uint32_t *delta_line)
{
    if (*delta_line != c->line)
        *delta = 0;
    *delta_line = c->line;
    uint32_t old_from = chars(str_sub(text, c->line_start, at - c->line_start)) + 1;
    uint32_t old_len = (uint32_t)(end - at), new_len = chars(value);
    uint32_t from = (uint32_t)(old_from + *delta);
    if (f->n_shifts == f->cap_shifts) {
        f->cap_shifts = f->cap_shifts ? f->cap_shifts * 2 : 16;
        f->shifts = mem_resize(f->shifts, f->cap_shifts, sizeof *f->shifts);
    }
    f->shifts[f->n_shifts++] =
        (struct shift){ c->line, from, from + new_len, old_from, old_from + old_len };
    *delta += (int64_t)new_len - old_len;
}

static bool substitute(struct loader *l, struct cfile *f, const struct names *required)
{
    struct strbuf out = STRBUF(TEXT_MAX), value = STRBUF(VALUE_MAX * 2);
    struct cursor c = { 0, 0, 1 };
    struct map said;
    map_init(&said);
    size_t from = 0, at = 0, end;
    int64_t delta = 0;
    uint32_t delta_line = 0;
    str name, v = STR_NONE;
    bool ok = true;
    for (; env_next(f->text, &at, &end, &name); at = end) {
        const struct ynode *n = required ? map_get(&required->where, name) : NULL;
        if (required && !n)
            continue; /* in comments only */
        cursor_to(&c, f->text, at);
        enum lookup r = lookup(l, name, &v);
        if (r != ENV_FINE) {
            ok = false;
            uint32_t col = chars(str_sub(f->text, c.line_start, at - c.line_start)) + 1;
            if (map_set(&said, name, l))
                load_error_at(l, f->name, n ? n->line : c.line, n ? n->col : col,
                              "config %.*s: environment variable '%.*s' %s", STR_ARG(f->name),
                              STR_ARG(name), complaint(r));
            continue;
        }
        strbuf_clear(&value);
        add_escaped(&value, v);
        strbuf_add(&out, str_sub(f->text, from, at - from));
        strbuf_add(&out, strbuf_str(&value));
        add_shift(f, &c, f->text, at, end, strbuf_str(&value), &delta, &delta_line);
        from = end;
    }
    strbuf_add(&out, str_sub(f->text, from, f->text.len));
    str text = arena_try_dup(&l->scratch, strbuf_str(&out));
    if (out.full || !text.ptr) {
        load_full(l);
        ok = false;
    }
    f->text = text;
    strbuf_fini(&out);
    strbuf_fini(&value);
    map_fini(&said);
    return ok;
}

bool env_text(struct loader *l, size_t file)
{
    struct cfile *f = &l->files[file];
    size_t at = 0, end;
    str name;
    if (!env_next(f->text, &at, &end, &name))
        return true;
    struct arena a;
    arena_init(&a, l->scratch.max);
    const struct ynode *root = NULL;
    struct yaml_opts quiet = { 0 };
    /* What does not parse before the values are in gives no way to tell comments: all names count
     * then. */
    bool parsed = yaml_tree_parse(&a, f->text, &quiet, &root) == 0;
    struct names ns;
    map_init(&ns.where);
    if (parsed && root)
        collect(&ns, root);
    bool ok = substitute(l, f, parsed ? &ns : NULL);
    map_fini(&ns.where);
    arena_fini(&a);
    l->env_failed |= !ok;
    return ok || parsed;
}

/* ---- second pass ---- */

/* `n` with the references of its text replaced; n itself when there are none. */
static const struct ynode *replace(struct loader *l, const struct ynode *n)
{
    size_t at = 0, end, from = 0;
    str name, v = STR_NONE;
    if ((n->type != YN_STR) || !env_next(n->text, &at, &end, &name))
        return n;
    struct strbuf out = STRBUF(TEXT_MAX);
    bool any = false, failed = false;
    for (; env_next(n->text, &at, &end, &name); at = end) {
        enum lookup r = lookup(l, name, &v);
        if (r != ENV_FINE) {
            if (!l->env_failed)
                load_error(l, n, NULL, NULL, "environment variable '%.*s' %s", STR_ARG(name),
                           complaint(r));
            failed = true;
            continue;
        }
        strbuf_add(&out, str_sub(n->text, from, at - from));
        if (n->style == YS_DOUBLE)
            strbuf_add(&out, v);
        else
            add_escaped(&out, v);
        from = end;
        any = true;
    }
    strbuf_add(&out, str_sub(n->text, from, n->text.len));
    str text = arena_try_dup(&l->scratch, strbuf_str(&out));
    if (out.full || !text.ptr)
        load_full(l);
    strbuf_fini(&out);
    l->env_failed |= failed;
    if (!any || !text.ptr)
        return n;
    struct ynode *c = (struct ynode *)(uintptr_t)tree_text(l, n, text); /* fresh copy */
    if (c != n && c->style == YS_PLAIN && !c->tagged) {
        c->text = str_trim(text);
        ynode_resolve(&l->scratch, c);
    }
    return c;
}

static const struct ynode *pass_scalar(struct loader *l, const struct ynode *n, void *ud)
{
    (void)ud;
    return replace(l, n);
}

/* Keys as well, which tree_map leaves alone. */
static void keys_too(struct loader *l, const struct ynode *n)
{
    if (n->type == YN_SEQ)
        for (uint32_t i = 0; i < n->n; i++)
            keys_too(l, n->items[i]);
    if (n->type != YN_MAP)
        return;
    for (uint32_t i = 0; i < n->n; i++) {
        struct ypair *p = &n->pairs[i];
        const struct ynode *k = replace(l, p->key_node);
        if (k != p->key_node) {
            if (ynode_pair(n, k->text))
                load_error(l, k, NULL, NULL, "mapping key \"%.*s\" already defined",
                           STR_ARG(k->text));
            p->key = k->text;
            p->key_node = k;
        }
        if (!p->merged && !p->aliased)
            keys_too(l, p->value);
    }
}

const struct ynode *env_tree(struct loader *l, const struct ynode *root)
{
    bool any = false;
    for (size_t i = 0; i < l->n_files; i++)
        any |=
            str_find(l->files[i].text, S("env.")) >= 0 || str_find(l->files[i].text, S("\\")) >= 0;
    if (!any)
        return root;
    keys_too(l, root);
    return tree_map(l, root, false, pass_scalar, NULL);
}
