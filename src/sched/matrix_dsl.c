/* Parser of set expressions and everything that is checked once (config.md 7.3, in that order). */
#include "base/utf8.h"
#include "sched/matrix_prog.h"

#include <stdio.h>

#define CHAIN_MAX 256 /* references that lead to references */

struct parser {
    struct matrix *m;
    str text, set;
    size_t at;
    unsigned depth;
    struct error *e;
    struct matrix_at *where;
};

/* ---- small things ---- */

static void *index_value(size_t i)
{
    return (void *)(uintptr_t)(i + 1);
}

static uint32_t find(const struct map *map, str key)
{
    uintptr_t v = (uintptr_t)map_get(map, key);
    return v == 0 ? MATRIX_NONE : (uint32_t)(v - 1);
}

static uint32_t find_name(const struct matrix *m, str name)
{
    uint32_t v = find(&m->by_var, name); /* a var hides a model of the same name */
    return v != MATRIX_NONE ? v : find(&m->by_model, name);
}

static uint32_t add_node(struct matrix *m, enum mx_kind kind, uint32_t what, uint32_t first,
                         size_t offset)
{
    if (m->n_nodes == m->cap_nodes) {
        m->cap_nodes = m->cap_nodes ? m->cap_nodes * 2 : 32;
        m->nodes = mem_resize(m->nodes, m->cap_nodes, sizeof(*m->nodes));
    }
    m->nodes[m->n_nodes] = (struct mx_node){
        .kind = kind, .what = what, .first = first, .next = MATRIX_NONE, .offset = offset
    };
    return (uint32_t)m->n_nodes++;
}

/* ---- tokens ---- */

/* Beyond ASCII everything that is plainly no letter is refused; the rest counts as one. */
static bool letter(uint32_t cp)
{
    if (cp < 0xC0)
        return cp == 0xAA || cp == 0xB5 || cp == 0xBA;
    return cp != 0xD7 && cp != 0xF7 && !(cp >= 0x2000 && cp <= 0x2BFF) &&
           !(cp >= 0x3000 && cp <= 0x3004) && !(cp >= 0xE000 && cp <= 0xF8FF) &&
           !(cp >= 0xFE00 && cp <= 0xFE6F) && !(cp >= 0xFF00 && cp <= 0xFF0F) && cp != 0xFEFF &&
           cp < 0x1F000;
}

/* Length of the name at s, 0 if there is none. */
static size_t name_len(str s)
{
    size_t n = 0;
    while (n < s.len) {
        char c = s.ptr[n];
        if (chr_digit(c) || (chr_lower(c) >= 'a' && chr_lower(c) <= 'z') || c == '_' || c == '-' ||
            c == '.') {
            n++;
            continue;
        }
        str rest = str_sub(s, n, s.len);
        size_t len = (unsigned char)c >= 0x80 ? utf8_next(rest) : 0;
        if (len == 0 || !letter(utf8_decode(rest, len)))
            break;
        n += len;
    }
    return n;
}

static str rest_of(const struct parser *p)
{
    return str_sub(p->text, p->at, p->text.len);
}

static int fail_at(struct parser *p, size_t offset, const char *what, str token)
{
    if (p->where)
        p->where->offset = offset;
    if (token.ptr)
        return error_set(p->e, ERR_CONFIG,
                         "matrix: set \"" STR_FMT "\": %s '" STR_FMT "' at position %zu",
                         STR_ARG(p->set), what, STR_ARG(token), offset + 1);
    return error_set(p->e, ERR_CONFIG, "matrix: set \"" STR_FMT "\": %s at position %zu",
                     STR_ARG(p->set), what, offset + 1);
}

/* The next character that means something, 0 at the end. */
static char peek(struct parser *p)
{
    while (p->at < p->text.len && chr_space(p->text.ptr[p->at]))
        p->at++;
    return p->at < p->text.len ? p->text.ptr[p->at] : '\0';
}

static str token_at(const struct parser *p)
{
    str rest = rest_of(p);
    size_t n = name_len(rest);
    if (n == 0)
        n = utf8_next(rest);
    return str_sub(rest, 0, n ? n : rest.len ? 1 : 0);
}

/* What stands here does not fit. */
static int unexpected(struct parser *p)
{
    char c = peek(p);
    if (p->at >= p->text.len)
        return fail_at(p, p->at, "unexpected token: the expression ends too early,", STR_NONE);
    bool known =
        c == '|' || c == '&' || c == '(' || c == ')' || c == '+' || name_len(rest_of(p)) > 0;
    return fail_at(p, p->at, known ? "unexpected token" : "unexpected character", token_at(p));
}

/* ---- grammar ---- */

static int parse_or(struct parser *p, uint32_t *ret);

static int parse_reference(struct parser *p, uint32_t *ret)
{
    size_t from = p->at++;
    size_t n = name_len(rest_of(p));
    if (n == 0)
        return fail_at(p, from, "expected set name after '+'", STR_NONE);
    str name = str_sub(p->text, p->at, n);
    uint32_t set = find(&p->m->by_set, name);
    if (set == MATRIX_NONE)
        return fail_at(p, from, "references undefined set", name);
    p->at += n;
    *ret = add_node(p->m, MX_REF, set, MATRIX_NONE, from);
    return 0;
}

static int parse_atom(struct parser *p, uint32_t *ret)
{
    char c = peek(p);
    size_t from = p->at;
    if (c == '+')
        return parse_reference(p, ret);
    if (c == '(') {
        if (p->depth == MATRIX_DEPTH)
            return fail_at(p, from, "nested too deeply", STR_NONE);
        p->at++;
        p->depth++;
        int rc = parse_or(p, ret);
        p->depth--;
        if (rc)
            return rc;
        char end = peek(p);
        if (end == ')') {
            p->at++;
            return 0;
        }
        return p->at < p->text.len
                   ? unexpected(p)
                   : fail_at(p, from, "missing closing parenthesis for this one", STR_NONE);
    }
    size_t n = name_len(rest_of(p));
    if (n == 0)
        return unexpected(p);
    str name = str_sub(p->text, p->at, n);
    uint32_t model = find_name(p->m, name);
    if (model == MATRIX_NONE)
        return fail_at(p, from, "unknown var or model", name);
    p->at += n;
    *ret = add_node(p->m, MX_LEAF, model, MATRIX_NONE, from);
    return 0;
}

/* atom {sep atom}, one node for all of them; a single one stands for itself. */
static int parse_list(struct parser *p, char sep, uint32_t *ret)
{
    uint32_t first = MATRIX_NONE, last = MATRIX_NONE;
    size_t from = p->at;
    do {
        if (first != MATRIX_NONE)
            p->at++;
        uint32_t one = MATRIX_NONE;
        int rc = sep == '|' ? parse_list(p, '&', &one) : parse_atom(p, &one);
        if (rc)
            return rc;
        if (first == MATRIX_NONE)
            first = one;
        else
            p->m->nodes[last].next = one;
        last = one;
    } while (peek(p) == sep);
    *ret = first == last ? first : add_node(p->m, sep == '|' ? MX_OR : MX_AND, 0, first, from);
    return 0;
}

static int parse_or(struct parser *p, uint32_t *ret)
{
    return parse_list(p, '|', ret);
}

static int parse_set(struct matrix *m, size_t i, struct matrix_at *where, struct error *e)
{
    struct parser p = {
        .m = m, .text = m->sets[i].text, .set = m->sets[i].name, .e = e, .where = where
    };
    if (str_trim(p.text).len == 0)
        return error_set(e, ERR_CONFIG, "matrix: set \"" STR_FMT "\": empty DSL expression",
                         STR_ARG(p.set));
    int rc = parse_or(&p, &m->sets[i].root);
    if (rc)
        return rc;
    peek(&p);
    return p.at < p.text.len ? unexpected(&p) : 0;
}

/* ---- references ---- */

/* Depth first: what a set refers to comes before it. */
static int visit(struct matrix *m, uint32_t set, uint32_t depth, struct matrix_at *where,
                 struct error *e)
{
    struct mx_set *st = &m->sets[set];
    if (st->mark == MX_SEEN)
        return 0;
    where->index = set;
    where->offset = 0;
    if (st->mark == MX_BUSY)
        return error_set(e, ERR_CONFIG,
                         "matrix: circular reference: set \"" STR_FMT "\" leads back to itself",
                         STR_ARG(st->name));
    if (depth > CHAIN_MAX)
        return error_set(e, ERR_CONFIG,
                         "matrix: set \"" STR_FMT "\": references are nested too deeply",
                         STR_ARG(st->name));
    st->mark = MX_BUSY;
    /* The nodes of a set lie between the root of the one parsed before it and its own root. */
    uint32_t from = set == 0 ? 0 : m->sets[set - 1].root + 1;
    for (uint32_t n = from; n <= st->root; n++) {
        if (m->nodes[n].kind != MX_REF)
            continue;
        int rc = visit(m, m->nodes[n].what, depth + 1, where, e);
        if (rc)
            return rc;
        uint32_t below = m->sets[m->nodes[n].what].depth + 1;
        st->depth = below > st->depth ? below : st->depth;
    }
    st->mark = MX_SEEN;
    m->order[m->n_order++] = set;
    if (st->depth > CHAIN_MAX)
        return error_set(e, ERR_CONFIG,
                         "matrix: set \"" STR_FMT "\": references are nested too deeply",
                         STR_ARG(st->name));
    return 0;
}

/* ---- vars and costs ---- */

static int check_var(struct matrix *m, const struct matrix_var *v, struct error *e)
{
    if (v->name.len > 32)
        return error_set(e, ERR_CONFIG, "matrix: var key \"" STR_FMT "\" must be 1-32 characters",
                         STR_ARG(v->name));
    bool good = v->name.len > 0;
    for (size_t i = 0; i < v->name.len; i++) {
        char c = v->name.ptr[i];
        good = good && (chr_digit(c) || (chr_lower(c) >= 'a' && chr_lower(c) <= 'z') || c == '-' ||
                        c == '.');
    }
    if (!good)
        return error_set(e, ERR_CONFIG,
                         "matrix: var key \"" STR_FMT
                         "\" must contain only alphanumeric, '-' or '.' and be 1-32 characters",
                         STR_ARG(v->name));
    if (find(&m->by_model, v->model) == MATRIX_NONE)
        return error_set(e, ERR_CONFIG,
                         "matrix: var \"" STR_FMT "\" references unknown model \"" STR_FMT "\"",
                         STR_ARG(v->name), STR_ARG(v->model));
    return 0;
}

static int set_cost(struct matrix *m, const struct matrix_cost *c, bool *given, struct error *e)
{
    if (c->cost <= 0)
        return error_set(e, ERR_CONFIG,
                         "matrix: evict_costs \"" STR_FMT "\" must be a positive integer",
                         STR_ARG(c->name));
    uint32_t model = find_name(m, c->name);
    if (model == MATRIX_NONE)
        return error_set(e, ERR_CONFIG, "matrix: evict_costs: unknown var or model \"" STR_FMT "\"",
                         STR_ARG(c->name));
    if (given[model])
        return error_set(e, ERR_CONFIG,
                         "matrix: evict_costs: \"" STR_FMT
                         "\" gives a second cost for model \"" STR_FMT "\"",
                         STR_ARG(c->name), STR_ARG(m->models[model]));
    given[model] = true;
    /* Sums of costs must not overflow. */
    int64_t most = INT64_MAX / ((int64_t)m->n_models + 1);
    m->cost[model] = c->cost < most ? c->cost : most;
    return 0;
}

/* ---- compile ---- */

static str keep(char **at, str s)
{
    if (s.len)
        memcpy(*at, s.ptr, s.len);
    str out = str_n(*at, s.len);
    *at += s.len;
    return out;
}

static void copy_names(struct matrix *m, const struct matrix_src *src)
{
    size_t size = 1;
    for (size_t i = 0; i < src->n_models; i++)
        size += src->models[i].len;
    for (size_t i = 0; i < src->n_vars; i++)
        size += src->vars[i].name.len;
    for (size_t i = 0; i < src->n_sets; i++)
        size += src->sets[i].name.len + src->sets[i].text.len;
    char *at = m->names = mem_zalloc(size);
    m->n_models = src->n_models;
    m->models = mem_calloc(src->n_models + 1, sizeof(*m->models));
    m->cost = mem_calloc(src->n_models + 1, sizeof(*m->cost));
    for (size_t i = 0; i < src->n_models; i++) {
        m->models[i] = keep(&at, src->models[i]);
        m->cost[i] = 1;
        map_set(&m->by_model, m->models[i], index_value(i));
    }
    m->n_sets = src->n_sets;
    m->sets = mem_calloc(src->n_sets + 1, sizeof(*m->sets));
    m->order = mem_calloc(src->n_sets + 1, sizeof(*m->order));
    for (size_t i = 0; i < src->n_sets; i++) {
        m->sets[i].name = keep(&at, src->sets[i].name);
        m->sets[i].text = keep(&at, src->sets[i].text);
        map_set(&m->by_set, m->sets[i].name, index_value(i));
    }
    for (size_t i = 0; i < src->n_vars; i++) {
        uint32_t model = find(&m->by_model, src->vars[i].model);
        if (model != MATRIX_NONE)
            map_set(&m->by_var, keep(&at, src->vars[i].name), index_value(model));
    }
}

static int compile(struct matrix *m, const struct matrix_src *src, struct matrix_at *where,
                   struct error *e)
{
    if (src->n_sets == 0)
        return error_set(e, ERR_CONFIG, "matrix: must define at least one set");
    int rc = 0;
    where->what = MATRIX_AT_VAR;
    for (where->index = 0; where->index < src->n_vars && !rc; where->index++)
        rc = check_var(m, &src->vars[where->index], e);
    if (rc) {
        where->index--;
        return rc;
    }
    where->what = MATRIX_AT_COST;
    bool *given = mem_calloc(m->n_models + 1, sizeof(*given));
    for (where->index = 0; where->index < src->n_costs && !rc; where->index++)
        rc = set_cost(m, &src->costs[where->index], given, e);
    free(given);
    if (rc) {
        where->index--;
        return rc;
    }
    where->what = MATRIX_AT_SET;
    for (where->index = 0; where->index < m->n_sets; where->index++) {
        rc = parse_set(m, where->index, where, e);
        if (rc)
            return rc;
    }
    for (uint32_t i = 0; i < m->n_sets && !rc; i++)
        rc = visit(m, i, 0, where, e);
    return rc;
}

int matrix_compile(const struct matrix_src *src, struct matrix **ret, struct matrix_at *ret_at,
                   struct error *e)
{
    struct matrix *m = mem_zalloc(sizeof(*m));
    map_init(&m->by_model);
    map_init(&m->by_var);
    map_init(&m->by_set);
    copy_names(m, src);
    struct matrix_at where = { 0 };
    int rc = compile(m, src, &where, e);
    if (ret_at)
        *ret_at = rc ? where : (struct matrix_at){ 0 };
    if (rc)
        matrix_free(m);
    else
        *ret = m;
    return rc;
}

void matrix_free(struct matrix *m)
{
    if (!m)
        return;
    map_fini(&m->by_model);
    map_fini(&m->by_var);
    map_fini(&m->by_set);
    free(m->nodes);
    free(m->sets);
    free(m->order);
    free(m->models);
    free(m->cost);
    free(m->names);
    free(m);
}

size_t matrix_n_models(const struct matrix *m)
{
    return m->n_models;
}

uint32_t matrix_model(const struct matrix *m, str id)
{
    return find(&m->by_model, id);
}

str matrix_model_id(const struct matrix *m, uint32_t n)
{
    return n < m->n_models ? m->models[n] : STR_NONE;
}
