/* Lua patterns with a meter: every comparison is counted against the budget of the running hook, so that a pattern
 * that backtracks for hours is stopped like an endless loop. Same language as string.find of Lua 5.4 (reference
 * manual 6.4.1). */
#include "policy/priv.h"

#define STEPS_PER_LOOK 64
#define DEPTH_MAX 180 /* C stack, as MAXCCALLS of the reference */

static void step(struct pattern *m)
{
    if (++m->steps % STEPS_PER_LOOK == 0)
        gate_charge(m->L, STEPS_PER_LOOK);
}

/* The first byte behind the set that begins at p ('['). */
static const char *set_end(struct pattern *m, const char *p)
{
    p++;
    if (p < m->pat_end && *p == '^')
        p++;
    bool first = true; /* a ']' there is a member */
    for (;;) {
        if (p >= m->pat_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        char c = *p++;
        if (c == ']' && !first)
            return p;
        first = false;
        if (c != '%')
            continue;
        if (p >= m->pat_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        p++;
    }
}

/* The first byte behind one item (a character, a class, a set), without its repetition. */
static const char *item_end(struct pattern *m, const char *p)
{
    if (*p == '[')
        return set_end(m, p);
    if (*p != '%')
        return p + 1;
    if (p + 1 >= m->pat_end)
        luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 2;
}

static bool is_lower(int c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_upper(int c)
{
    return c >= 'A' && c <= 'Z';
}
static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}
static bool is_graph(int c)
{
    return c > 32 && c < 127;
}

/* %x for the character x; a class in upper case is its complement, another character stands for itself. */
static bool class_hit(int c, int cl)
{
    bool hit;
    switch (cl | 0x20) {
    case 'a': hit = is_lower(c) || is_upper(c); break;
    case 'c': hit = c < 32 || c == 127; break;
    case 'd': hit = is_digit(c); break;
    case 'g': hit = is_graph(c); break;
    case 'l': hit = is_lower(c); break;
    case 'p': hit = is_graph(c) && !is_lower(c) && !is_upper(c) && !is_digit(c); break;
    case 's': hit = c == ' ' || (c >= 9 && c <= 13); break;
    case 'u': hit = is_upper(c); break;
    case 'w': hit = is_lower(c) || is_upper(c) || is_digit(c); break;
    case 'x': hit = is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); break;
    case 'z': hit = c == 0; break; /* old spelling of \0 */
    default: return cl == c;
    }
    if (!is_lower(cl) && !is_upper(cl))
        return cl == c;
    return is_upper(cl) ? !hit : hit;
}

/* [p, end) with its brackets. */
static bool set_hit(int c, const char *p, const char *end)
{
    bool wanted = true;
    p++;
    if (*p == '^') {
        wanted = false;
        p++;
    }
    end--; /* the ']' */
    while (p < end) {
        int x = (unsigned char)*p++;
        if (x == '%' && p < end) {
            if (class_hit(c, (unsigned char)*p++))
                return wanted;
        } else if (end - p >= 2 && *p == '-') {
            if (x <= c && c <= (unsigned char)p[1])
                return wanted;
            p += 2;
        } else if (x == c) {
            return wanted;
        }
    }
    return !wanted;
}

static bool item_hit(struct pattern *m, const char *s, const char *p, const char *end)
{
    step(m);
    if (s >= m->src_end)
        return false;
    int c = (unsigned char)*s;
    switch (*p) {
    case '.': return true;
    case '%': return class_hit(c, (unsigned char)p[1]);
    case '[': return set_hit(c, p, end);
    default: return (unsigned char)*p == c;
    }
}

static const char *go(struct pattern *m, const char *s, const char *p);

/* As many as there are, then fewer until the rest fits. */
static const char *greedy(struct pattern *m, const char *s, const char *p, const char *end, ptrdiff_t least)
{
    ptrdiff_t n = 0;
    while (item_hit(m, s + n, p, end))
        n++;
    for (; n >= least; n--) {
        const char *r = go(m, s + n, end + 1);
        if (r)
            return r;
    }
    return NULL;
}

static const char *lazy(struct pattern *m, const char *s, const char *p, const char *end)
{
    for (;;) {
        const char *r = go(m, s, end + 1);
        if (r)
            return r;
        if (!item_hit(m, s, p, end))
            return NULL;
        s++;
    }
}

static const char *balance(struct pattern *m, const char *s, const char *p)
{
    if (p + 1 >= m->pat_end)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->src_end || *s != p[0])
        return NULL;
    size_t open = 1;
    for (s++; s < m->src_end; s++) {
        step(m);
        if (*s == p[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

static const char *open_capture(struct pattern *m, const char *s, const char *p, ptrdiff_t what)
{
    if (m->n_caps >= PATTERN_CAPTURES)
        luaL_error(m->L, "too many captures");
    m->caps[m->n_caps].at = s;
    m->caps[m->n_caps++].len = what;
    const char *r = go(m, s, p);
    if (!r)
        m->n_caps--;
    return r;
}

static const char *close_capture(struct pattern *m, const char *s, const char *p)
{
    int i = m->n_caps - 1;
    while (i >= 0 && m->caps[i].len != -1)
        i--;
    if (i < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->caps[i].len = s - m->caps[i].at;
    const char *r = go(m, s, p);
    if (!r)
        m->caps[i].len = -1;
    return r;
}

/* %1 ... %9 */
static const char *again(struct pattern *m, const char *s, int digit)
{
    int i = digit - '1';
    if (i < 0 || i >= m->n_caps || m->caps[i].len == -1)
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    size_t len = m->caps[i].len < 0 ? 0 : (size_t)m->caps[i].len;
    gate_charge(m->L, len / 16 + 1);
    if ((size_t)(m->src_end - s) < len || memcmp(m->caps[i].at, s, len) != 0)
        return NULL;
    return s + len;
}

/* %f[set]: the border where the set begins to fit. */
static bool frontier(struct pattern *m, const char *s, const char *p, const char *end)
{
    int before = s == m->src ? 0 : (unsigned char)s[-1];
    int here = s < m->src_end ? (unsigned char)*s : 0;
    return !set_hit(before, p, end) && set_hit(here, p, end);
}

static const char *single(struct pattern *m, const char *s, const char *p, const char **next)
{
    const char *end = item_end(m, p);
    char rep = end < m->pat_end ? *end : '\0';
    const char *r;
    switch (rep) {
    case '?':
        if (item_hit(m, s, p, end) && (r = go(m, s + 1, end + 1)))
            return r;
        *next = end + 1;
        return s;
    case '*': return greedy(m, s, p, end, 0);
    case '+': return greedy(m, s, p, end, 1);
    case '-': return lazy(m, s, p, end);
    default:
        if (!item_hit(m, s, p, end))
            return NULL;
        *next = end;
        return s + 1;
    }
}

static const char *walk(struct pattern *m, const char *s, const char *p)
{
    while (p < m->pat_end) {
        const char *next = NULL;
        step(m);
        if (*p == '(') {
            bool here = p + 1 < m->pat_end && p[1] == ')';
            return open_capture(m, s, p + (here ? 2 : 1), here ? -2 : -1);
        }
        if (*p == ')')
            return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pat_end)
            return s == m->src_end ? s : NULL;
        if (*p == '%' && p + 1 < m->pat_end && p[1] == 'b') {
            if (!(s = balance(m, s, p + 2)))
                return NULL;
            p += 4;
            continue;
        }
        if (*p == '%' && p + 1 < m->pat_end && p[1] == 'f') {
            p += 2;
            if (p >= m->pat_end || *p != '[')
                luaL_error(m->L, "missing '[' after '%%f' in pattern");
            const char *end = set_end(m, p);
            if (!frontier(m, s, p, end))
                return NULL;
            p = end;
            continue;
        }
        if (*p == '%' && p + 1 < m->pat_end && is_digit((unsigned char)p[1])) {
            if (!(s = again(m, s, p[1])))
                return NULL;
            p += 2;
            continue;
        }
        s = single(m, s, p, &next);
        if (!s || !next)
            return s;
        p = next;
    }
    return s;
}

static const char *go(struct pattern *m, const char *s, const char *p)
{
    if (m->depth >= DEPTH_MAX)
        luaL_error(m->L, "pattern too complex");
    m->depth++;
    const char *r = walk(m, s, p);
    m->depth--;
    return r;
}

const char *pattern_match(struct pattern *m, const char *s, const char *p)
{
    m->depth = 0;
    m->n_caps = 0;
    return go(m, s, p);
}
