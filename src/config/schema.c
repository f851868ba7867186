/* schema.c: schema.def as data; see schema.h. */
#include "config/schema.h"

#include "base/check.h"

#define NOMIN INT64_MIN
#define NOMAX INT64_MAX
#define LIVE SCHEMA_LIVE
#define START SCHEMA_START
#define HARD SCHEMA_HARD
#define SOFT SCHEMA_SOFT
#define OWN SCHEMA_OWN

/* the C struct of each section */
#define SECTION(id, type, path) typedef type base_##id;
#define INT(...)
#define SECS(...)
#define SIZE(...)
#define BOOL(...)
#define STR(...)
#define STRS(...)
#define ENUM(...)
#define PARAMS(...)
#define SUB(...)
#define SUBF(...)
#define MAPOF(...)
#define CUSTOM(...)
#include "config/schema.def"
#include "config/schema_undef.h"

#define OFF(sec, field) .section = SEC_##sec, .off = offsetof(base_##sec, field)
/* a field of another type than its row says would be written out of bounds */
/* clang-format off */
#define TYPED(sec, field, type) \
    + 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((base_##sec *)0)->field), type) ? 1 : -1])

static const struct schema_key keys[] = {
#define SECTION(id, type, path)
#define INT(sec, key_, field, dflt_, lo_, hi_, when_, doc_)                                        \
    { OFF(sec, field) TYPED(sec, field, int64_t), .kind = SCHEMA_INT, .key = (key_), .dflt = (dflt_), .lo = (lo_), .hi = (hi_), .when = (when_), .doc = (doc_) },
#define SECS(sec, key_, field, dflt_, lo_, hi_, when_, doc_)                                       \
    { OFF(sec, field) TYPED(sec, field, msec), .kind = SCHEMA_SECS, .key = (key_), .dflt = (dflt_), .lo = (lo_), .hi = (hi_), .when = (when_), .doc = (doc_) },
#define SIZE(sec, key_, field, dflt_, lo_, hi_, when_, doc_)                                       \
    { OFF(sec, field) TYPED(sec, field, int64_t), .kind = SCHEMA_SIZE, .key = (key_), .dflt = (dflt_), .lo = (lo_), .hi = (hi_), .when = (when_), .doc = (doc_) },
#define BOOL(sec, key_, field, dflt_, when_, doc_)                                                 \
    { OFF(sec, field) TYPED(sec, field, bool), .kind = SCHEMA_BOOL, .key = (key_), .dflt = (dflt_), .when = (when_), .doc = (doc_) },
#define STR(sec, key_, field, dflt_, when_, doc_)                                                  \
    { OFF(sec, field) TYPED(sec, field, str), .kind = SCHEMA_STR, .key = (key_), .dflt_text = (dflt_), .when = (when_), .doc = (doc_) },
#define STRS(sec, key_, field, n_field, when_, doc_)                                               \
    { OFF(sec, field) TYPED(sec, field, const str *), .off_n = offsetof(base_##sec, n_field), .kind = SCHEMA_STRS, .key = (key_), .when = (when_), .doc = (doc_) },
#define ENUM(sec, key_, field, dflt_, words_, what_, when_, doc_)                                  \
    { OFF(sec, field) + 0 * sizeof(char[sizeof(((base_##sec *)0)->field) == sizeof(int) ? 1 : -1]), .kind = SCHEMA_ENUM, .key = (key_), .dflt = (dflt_), .words = (words_), .what = (what_), .when = (when_), .doc = (doc_) },
#define PARAMS(sec, key_, field, when_, doc_)                                                      \
    { OFF(sec, field) TYPED(sec, field, struct config_params), .kind = SCHEMA_PARAMS, .key = (key_), .when = (when_), .doc = (doc_) },
#define SUB(sec, key_, sub_, when_, doc_)                                                          \
    { .section = SEC_##sec, .kind = SCHEMA_SUB, .key = (key_), .sub = SEC_##sub_, .when = (when_), .doc = (doc_) },
#define SUBF(sec, key_, field, sub_, when_, doc_)                                                  \
    { OFF(sec, field) TYPED(sec, field, base_##sub_), .kind = SCHEMA_SUB, .key = (key_), .sub = SEC_##sub_, .when = (when_), .doc = (doc_) },
#define MAPOF(sec, key_, dump_, sub_, what_, when_, doc_)                                          \
    { .section = SEC_##sec, .kind = SCHEMA_MAPOF, .key = (key_), .sub = SEC_##sub_, .what = (what_), .dump = (dump_), .when = (when_), .doc = (doc_) },
#define CUSTOM(sec, key_, decode_, dump_, schema_, dflt_, when_, doc_)                             \
    { .section = SEC_##sec, .kind = SCHEMA_CUSTOM, .key = (key_), .decode = (decode_), .dump = (dump_), .words = (schema_), .dflt_text = (dflt_), .when = (when_), .doc = (doc_) },
#include "config/schema.def"
#include "config/schema_undef.h"
};
/* clang-format on */

const struct schema_section_info schema_sections[SEC_COUNT] = {
#define SECTION(id, type, path_) { #id, path_ },
#define INT(...)
#define SECS(...)
#define SIZE(...)
#define BOOL(...)
#define STR(...)
#define STRS(...)
#define ENUM(...)
#define PARAMS(...)
#define SUB(...)
#define SUBF(...)
#define MAPOF(...)
#define CUSTOM(...)
#include "config/schema.def"
#include "config/schema_undef.h"
};

const struct schema_key *schema_first(enum schema_section sec)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i].section == sec)
            return &keys[i];
    UNREACHABLE();
}

const struct schema_key *schema_next(const struct schema_key *k)
{
    return k + 1 < keys + ARRAY_LEN(keys) && k[1].section == k->section ? k + 1 : NULL;
}

const struct schema_key *schema_find(enum schema_section sec, str key)
{
    SCHEMA_EACH(k, sec)
    if (str_eq(key, str_c(k->key)))
        return k;
    return NULL;
}

str schema_word(const char *words, size_t n)
{
    str rest = str_c(words), item = STR_NONE;
    for (size_t i = 0; i <= n; i++)
        if (!str_item(&rest, ',', &item))
            return STR_NONE;
    return item;
}

/* ---- defaults ---- */

static void *field(void *base, const struct schema_key *k)
{
    return (char *)base + k->off;
}

void schema_defaults(enum schema_section sec, void *base)
{
    SCHEMA_EACH(k, sec)
    {
        switch (k->kind) {
        case SCHEMA_INT:
        case SCHEMA_SIZE:
            *(int64_t *)field(base, k) = k->dflt;
            break;
        case SCHEMA_SECS:
            *(msec *)field(base, k) = k->dflt * 1000;
            break;
        case SCHEMA_BOOL:
            *(bool *)field(base, k) = k->dflt != 0;
            break;
        case SCHEMA_STR:
            *(str *)field(base, k) = str_c(k->dflt_text);
            break;
        case SCHEMA_ENUM:
            memcpy(field(base, k), &(int){ (int)k->dflt }, sizeof(int));
            break;
        case SCHEMA_SUB:
            schema_defaults(k->sub, field(base, k));
            break;
        case SCHEMA_STRS: /* empty */
        case SCHEMA_PARAMS:
        case SCHEMA_MAPOF:
        case SCHEMA_CUSTOM:
            break;
        }
    }
}

/* ---- reading ---- */

static void warn_unknown(struct loader *l, enum schema_section sec, const struct ypair *p,
                         const struct cpath *path)
{
    str known[64];
    size_t n = 0;
    SCHEMA_EACH(k, sec)
    if (n < ARRAY_LEN(known))
        known[n++] = str_c(k->key);
    const char *hint = suggest(l, p->key, known, n, "`", "`");
    SCHEMA_EACH(k, sec)
    {
        if (k->kind != SCHEMA_SUB)
            continue;
        SCHEMA_EACH(inner, k->sub)
        if (same_word(p->key, str_c(inner->key)))
            hint = load_text(l, "`%s` belongs into `%s`", inner->key, k->key).ptr;
    }
    load_warn(l, p->key_node, CPATH(path, p->key), hint, "unknown key %.*s is ignored",
              STR_ARG(load_quote(l, p->key)));
}

static void read_enum(struct loader *l, const struct schema_key *k, void *to, const struct ynode *n,
                      const struct cpath *path)
{
    str s = STR_NONE;
    if (!decode_text(l, n, path, &s))
        return;
    /* an empty word is the default, except where the contract lists it as wrong */
    if (s.len == 0 && k->section != SEC_ROOT)
        return;
    for (int i = 0; schema_word(k->words, (size_t)i).ptr; i++)
        if (str_eq(s, schema_word(k->words, (size_t)i))) {
            memcpy(to, &i, sizeof i);
            return;
        }
    load_error(l, n, path, NULL, "%.*s must be one of %s: unknown %s %.*s",
               STR_ARG(cpath_text(l, path)), k->words, k->what, STR_ARG(load_quote(l, s)));
}

static void check_bounds(struct loader *l, const struct schema_key *k, const struct ynode *n,
                         int64_t v, const struct cpath *path)
{
    if (k->when & SCHEMA_OWN)
        return;
    if (v < k->lo)
        load_error(l, n, path, NULL, "%.*s must be >= %lld", STR_ARG(cpath_text(l, path)),
                   (long long)k->lo);
    else if (v > k->hi)
        load_error(l, n, path, NULL, "%.*s must be <= %lld", STR_ARG(cpath_text(l, path)),
                   (long long)k->hi);
}

/* "64 KiB", "1GiB", "512" */
static bool size_text(str s, int64_t *ret)
{
    static const char *const units[] = { "", "B", "KiB", "MiB", "GiB", "TiB" };
    static const unsigned shifts[] = { 0, 0, 10, 20, 30, 40 };
    size_t n = 0;
    uint64_t v;
    s = str_trim(s);
    while (n < s.len && chr_digit(s.ptr[n]))
        n++;
    str unit = str_trim(str_sub(s, n, s.len));
    if (!str_to_u64(str_sub(s, 0, n), &v))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (str_ieq(unit, str_c(units[i])) && v <= (uint64_t)INT64_MAX >> shifts[i]) {
            *ret = (int64_t)(v << shifts[i]);
            return true;
        }
    return false;
}

bool schema_fractions(const struct schema_key *k)
{
    return k->kind == SCHEMA_SECS && (k->section == SEC_POLICY_LIMITS || k->section == SEC_LIMITS || k->section == SEC_RELOAD ||
                                      k->section == SEC_SERIAL || k->section == SEC_FIFO);
}

static void read_number(struct loader *l, const struct schema_key *k, int64_t *to,
                        const struct ynode *n, const struct cpath *path)
{
    int64_t v = 0;
    if (n->type == YN_FLOAT && schema_fractions(k) && n->f > -1e15 && n->f < 1e15) {
        v = (int64_t)n->f; /* for the bounds: away from them, were they overstepped by a fraction */
        v += (n->f > (double)v && v >= k->hi) - (n->f < (double)v);
        check_bounds(l, k, n, v, path);
        *to = (int64_t)(n->f * 1000 + (n->f < 0 ? -0.5 : 0.5));
        return;
    }
    if (k->kind == SCHEMA_SIZE && n->type == YN_STR) {
        if (!size_text(n->text, &v)) {
            decode_wrong_type(l, n, path, "a size such as 65536 or \"64 KiB\"");
            return;
        }
    } else if (!decode_int(l, n, path, &v)) {
        return;
    }
    check_bounds(l, k, n, v, path);
    if (k->kind == SCHEMA_SECS) /* 31 million years are as good as for ever */
        v = v > 1000000000000000    ? 1000000000000000000
            : v < -1000000000000000 ? -1000000000000000000
                                    : v * 1000;
    *to = v;
}

static void read_key(struct loader *l, const struct schema_key *k, void *base,
                     const struct ynode *n, const struct cpath *path)
{
    void *to = field(base, k);
    if (k->kind == SCHEMA_CUSTOM) {
        if (k->decode)
            k->decode(l, base, n, path);
        return;
    }
    if (k->kind == SCHEMA_STRS) {
        decode_texts(l, n, path, to, (size_t *)(void *)((char *)base + k->off_n));
        return;
    }
    if (k->kind == SCHEMA_PARAMS) {
        decode_params(l, n, path, to);
        return;
    }
    if (k->kind == SCHEMA_MAPOF || n->type == YN_NULL)
        return;
    switch (k->kind) {
    case SCHEMA_INT:
    case SCHEMA_SIZE:
    case SCHEMA_SECS:
        read_number(l, k, to, n, path);
        break;
    case SCHEMA_BOOL:
        decode_bool(l, n, path, to);
        break;
    case SCHEMA_STR:
        decode_text(l, n, path, to);
        break;
    case SCHEMA_ENUM:
        read_enum(l, k, to, n, path);
        break;
    case SCHEMA_SUB:
        schema_read(l, k->sub, to, n, path);
        break;
    default:
        UNREACHABLE();
    }
}

void schema_read(struct loader *l, enum schema_section sec, void *base, const struct ynode *n,
                 const struct cpath *path)
{
    if (!n || !decode_is_map(l, n, path))
        return;
    for (uint32_t i = 0; i < n->n; i++) {
        const struct ypair *p = &n->pairs[i];
        const struct schema_key *k = schema_find(sec, p->key);
        if (k)
            read_key(l, k, base, p->value, CPATH(path, p->key));
        else
            warn_unknown(l, sec, p, path);
    }
}

/* ---- showing ---- */

static bool add_text(struct strbuf *out, str s)
{
    return strbuf_addc(out, '"') && strbuf_add_json(out, s) && strbuf_addc(out, '"');
}

/* The part of s up to a URL's password, and what follows it: "http://user:" and "@host". */
static bool cut_password(str s, str *before, str *after)
{
    ptrdiff_t at = str_find(s, S("://"));
    if (at < 0)
        return false;
    size_t from = (size_t)at + 3, colon = 0, i = from;
    for (; i < s.len && s.ptr[i] != '/' && s.ptr[i] != '@' && !chr_space(s.ptr[i]); i++)
        if (s.ptr[i] == ':' && !colon)
            colon = i;
    bool found = colon && i < s.len && s.ptr[i] == '@';
    *before = str_sub(s, 0, found ? colon + 1 : i);
    *after = str_sub(s, i, s.len);
    return true;
}

bool schema_show_text(const struct dumper *d, str s, struct strbuf *out)
{
    str before, after;
    bool ok = strbuf_addc(out, '"');
    while (ok && !d->secrets && cut_password(s, &before, &after)) {
        ok = strbuf_add_json(out, before);
        if (before.len + after.len < s.len)
            ok = ok && strbuf_add(out, S("***"));
        s = after;
    }
    return ok && strbuf_add_json(out, s) && strbuf_addc(out, '"');
}

static bool show_texts(const str *at, size_t n, struct strbuf *out)
{
    bool ok = strbuf_addc(out, '[');
    for (size_t i = 0; ok && i < n; i++)
        ok = (i == 0 || strbuf_addc(out, ',')) && add_text(out, at[i]);
    return ok && strbuf_addc(out, ']');
}

bool schema_show_params(const struct config_params *p, struct strbuf *out)
{
    bool ok = strbuf_addc(out, '{');
    for (size_t i = 0; ok && i < p->len; i++)
        ok = (i == 0 || strbuf_addc(out, ',')) && add_text(out, p->at[i].name) &&
             strbuf_addc(out, ':') && strbuf_add(out, p->at[i].json);
    return ok && strbuf_addc(out, '}');
}

bool schema_show_key(const struct dumper *d, const struct schema_key *k, const void *base,
                     struct strbuf *out)
{
    const void *at = (const char *)base + k->off;
    int word;
    switch (k->kind) {
    case SCHEMA_INT:
    case SCHEMA_SIZE:
        return strbuf_addf(out, "%lld", (long long)*(const int64_t *)at);
    case SCHEMA_SECS:
        return *(const msec *)at > 0 && *(const msec *)at % 1000
                   ? strbuf_addf(out, "%.10g", (double)*(const msec *)at / 1000)
                   : strbuf_addf(out, "%lld", (long long)(*(const msec *)at / 1000));
    case SCHEMA_BOOL:
        return strbuf_add(out, *(const bool *)at ? S("true") : S("false"));
    case SCHEMA_STR:
        return schema_show_text(d, *(const str *)at, out);
    case SCHEMA_STRS:
        return show_texts(*(const str *const *)at,
                          *(const size_t *)(const void *)((const char *)base + k->off_n), out);
    case SCHEMA_ENUM:
        memcpy(&word, at, sizeof word);
        return add_text(out, schema_word(k->words, (size_t)word));
    case SCHEMA_PARAMS:
        return schema_show_params(at, out);
    case SCHEMA_SUB:
        return schema_show(d, k->sub, at, out);
    case SCHEMA_MAPOF:
    case SCHEMA_CUSTOM:
        return k->dump && k->dump(d, base, out);
    }
    UNREACHABLE();
}

bool schema_show(const struct dumper *d, enum schema_section sec, const void *base,
                 struct strbuf *out)
{
    bool first = true, ok = strbuf_addc(out, '{');
    SCHEMA_EACH(k, sec)
    {
        if ((k->kind == SCHEMA_MAPOF || k->kind == SCHEMA_CUSTOM) && !k->dump)
            continue;
        ok = ok && (first || strbuf_addc(out, ',')) && add_text(out, str_c(k->key)) &&
             strbuf_addc(out, ':') && schema_show_key(d, k, base, out);
        first = false;
    }
    return ok && strbuf_addc(out, '}');
}
