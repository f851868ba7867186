/* json_path.c: see json_path.h. */
#include "codec/json_path.h"

static int bad_path(struct error *e, str path, const char *why)
{
    return error_set(e, ERR_CONFIG, "parameter \"" STR_FMT "\": %s", STR_ARG(path), why);
}

/* Copies s[0..end) without its backslashes; what follows one is taken as it is. */
static str unescape(char *to, str s, size_t end)
{
    size_t len = 0;
    for (size_t i = 0; i < end; i++) {
        if (s.ptr[i] == '\\' && ++i >= end)
            break;
        to[len++] = s.ptr[i];
    }
    return str_n(to, len);
}

/* Takes one part from *rest; `spare` is room for it without its escapes. Returns whether another
 * follows. */
static bool next_part(str *rest, char *spare, struct json_path *path)
{
    struct json_part *p = &path->part[path->n++];
    p->force = str_starts(*rest, S(":"));
    str s = p->force ? str_sub(*rest, 1, rest->len) : *rest;
    bool escapes = false;
    size_t i = 0;
    for (; i < s.len && s.ptr[i] != '.' && s.ptr[i] != '|'; i++) {
        if (s.ptr[i] == '#' || s.ptr[i] == '@') {
            path->must_exist = true;
            path->nowhere |= i == 0;
        } else if (s.ptr[i] == '\\') {
            escapes = true;
            i += i + 1 < s.len;
        }
    }
    bool more = i < s.len;
    path->must_exist |= more && s.ptr[i] == '|';
    p->name = escapes ? unescape(spare, s, i) : str_sub(s, 0, i);
    *rest = str_sub(s, i + 1, s.len);
    return more;
}

static size_t count_parts(str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == '.' || text.ptr[i] == '|';
    return n;
}

int json_path_parse(struct arena *a, str text, bool for_delete, struct json_path *ret,
                    struct error *e)
{
    *ret = (struct json_path){ .n = 0 };
    size_t most = count_parts(text);
    if (text.len == 0)
        return bad_path(e, text, "the name is empty");
    if (most > JSON_PATH_PARTS)
        return bad_path(e, text, "too many levels");
    ret->part = arena_try(a, most * sizeof *ret->part);
    char *spare = str_chr(text, '\\') < 0 ? NULL : arena_try(a, text.len);
    if (!ret->part || (!spare && str_chr(text, '\\') >= 0))
        return error_set(e, ERR_LIMIT, NULL);
    str rest = text;
    bool more = true;
    while (more) {
        /* A part is never longer than its text, so its place there is free in `spare`. */
        more = next_part(&rest, spare ? spare + (text.len - rest.len) : NULL, ret);
    }
    if (for_delete && ret->must_exist)
        return bad_path(e, text, "a name to strip cannot have a bare #, @ or |");
    return 0;
}

int json_path_check(str text, bool for_delete, struct error *e)
{
    struct arena a;
    struct json_path p;
    arena_init(&a, SIZE_MAX / 2);
    int rc = json_path_parse(&a, text, for_delete, &p, e);
    arena_fini(&a);
    return rc;
}

bool json_part_index(const struct json_part *p, uint64_t *ret)
{
    return str_to_u64(p->name, ret);
}

bool json_part_appends(const struct json_part *p)
{
    return !p->force && str_eq(p->name, S("-1"));
}

bool json_part_makes_array(const struct json_part *p, uint64_t *ret_index)
{
    *ret_index = 0;
    if (p->force)
        return false;
    return json_part_appends(p) || p->name.len == 0 || json_part_index(p, ret_index);
}

void json_path_add_key(struct strbuf *b, str name)
{
    strbuf_addc(b, '"');
    strbuf_add_json(b, name);
    strbuf_add(b, S("\":"));
}

void json_path_add_nulls(struct strbuf *b, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        strbuf_add(b, S("null,"));
}

bool json_path_add_levels(struct strbuf *b, const struct json_part *part, size_t n, str value)
{
    char close[JSON_PATH_PARTS];
    for (size_t i = 0; i < n; i++) {
        uint64_t index;
        bool array = json_part_makes_array(&part[i], &index);
        if (index > JSON_PATH_INDEX)
            return false;
        close[i] = array ? ']' : '}';
        strbuf_addc(b, array ? '[' : '{');
        if (array)
            json_path_add_nulls(b, index);
        else
            json_path_add_key(b, part[i].name);
    }
    strbuf_add(b, value);
    while (n--)
        strbuf_addc(b, close[n]);
    return true;
}
