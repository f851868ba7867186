/* extract.c: see extract.h. */
#include "route/extract.h"

#include "base/check.h"

/* ---- urlencoded texts ---- */

/* Decodes into `to`, which has room for s.len bytes. */
static bool form_decode(str s, char *to, size_t *ret_len)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < s.len ? chr_hex(s.ptr[i + 1]) : -1;
            int low = i + 2 < s.len ? chr_hex(s.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        to[n++] = c;
    }
    *ret_len = n;
    return true;
}

static bool needs_decoding(str s)
{
    return str_chr(s, '%') >= 0 || str_chr(s, '+') >= 0;
}

/* Is the escaped key the text `name`? False also for a bad escape; *bad says so. */
static bool key_is(str key, str name, bool *bad)
{
    if (!needs_decoding(key))
        return str_eq(key, name);
    char room[64];
    size_t len;
    if (key.len > sizeof room) {
        /* Too long for any name that is looked for, only its escapes matter. */
        for (size_t i = 0; i < key.len; i++)
            if (key.ptr[i] == '%' &&
                (i + 2 >= key.len || chr_hex(key.ptr[i + 1]) < 0 || chr_hex(key.ptr[i + 2]) < 0))
                *bad = true;
        return false;
    }
    if (!form_decode(key, room, &len)) {
        *bad = true;
        return false;
    }
    return str_eq(str_n(room, len), name);
}

static bool escapes_ok(str s)
{
    for (ptrdiff_t at; (at = str_chr(s, '%')) >= 0;) {
        s = str_sub(s, (size_t)at, SIZE_MAX);
        if (s.len < 3 || chr_hex(s.ptr[1]) < 0 || chr_hex(s.ptr[2]) < 0)
            return false;
        s = str_sub(s, 3, SIZE_MAX);
    }
    return true;
}

bool extract_form_value(struct arena *a, str text, str name, str *ret, bool *ret_bad)
{
    bool found = false;
    str pair, key, value;
    ASSERT(name.len <= 20);
    *ret_bad = false;
    for (bool more = text.len > 0; more;) {
        more = str_cut(text, '&', &pair, &text);
        bool bad = str_chr(pair, ';') >= 0;
        str_cut(pair, '=', &key, &value);
        bool hit = !bad && pair.len && key_is(key, name, &bad);
        bad |= !escapes_ok(value);
        *ret_bad |= bad;
        if (found || bad || !hit)
            continue;
        found = true;
        *ret = value.ptr ? value : S("");
        if (needs_decoding(value)) {
            char *to = arena_try(a, value.len);
            found = to != NULL;
            if (to && form_decode(value, to, &ret->len))
                ret->ptr = to;
        }
    }
    return found;
}

static void add_escaped(struct strbuf *out, str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = chr_digit((char)c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c && strchr("-._~", c));
        if (plain)
            strbuf_addc(out, (char)c);
        else
            strbuf_addf(out, "%%%02X", c);
    }
}

void extract_form_set(struct strbuf *out, str text, str name, str value)
{
    bool found = false, some = false;
    str pair, key, old;
    for (bool more = text.len > 0; more;) {
        bool bad = false;
        more = str_cut(text, '&', &pair, &text);
        str_cut(pair, '=', &key, &old);
        bool hit = pair.len && str_chr(pair, ';') < 0 && key_is(key, name, &bad);
        if (hit && found)
            continue;
        if (some)
            strbuf_addc(out, '&');
        some = true;
        strbuf_add(out, hit ? key : pair);
        if (hit) {
            strbuf_addc(out, '=');
            add_escaped(out, value);
            found = true;
        }
    }
    if (found)
        return;
    if (some)
        strbuf_addc(out, '&');
    strbuf_add(out, name);
    strbuf_addc(out, '=');
    add_escaped(out, value);
}

/* ---- the places ---- */

static bool is_form_type(str content_type)
{
    str type, rest;
    str_cut(content_type, ';', &type, &rest);
    return str_ieq(str_trim(type), S("application/x-www-form-urlencoded"));
}

enum extract_place extract_place(str method, str content_type)
{
    if (str_eq(method, S("GET")))
        return EXTRACT_QUERY;
    if (str_find(content_type, S("application/json")) >= 0)
        return EXTRACT_JSON;
    if (str_find(content_type, S("multipart/form-data")) >= 0)
        return EXTRACT_MULTIPART;
    bool takes_form =
        str_eq(method, S("POST")) || str_eq(method, S("PUT")) || str_eq(method, S("PATCH"));
    return takes_form && is_form_type(content_type) ? EXTRACT_FORM : EXTRACT_QUERY;
}

static int from_json(struct arena *a, str body, struct extract *ret, struct error *e)
{
    struct json_want want[2] = { { .name = S("model"), .unique = true }, { .name = S("stream") } };
    int rc = json_scan_top(body, want, 2, &ret->json_top, e);
    if (rc)
        return rc;
    ret->json_model = want[0];
    ret->where = EXTRACT_JSON;
    if (want[0].found && json_value_text(a, json_want_value(body, &want[0]), &ret->model, e))
        ret->model = STR_NONE; /* too long to be the name of anything */
    ret->stream = ret->model.len && json_value_true(json_want_value(body, &want[1]));
    return 0;
}

/* The first of two texts that has the name decides; `strict`: a malformed pair in either spoils
 * everything. */
static void from_texts(struct arena *a, str first, enum extract_place first_is, str second,
                       bool strict, struct extract *ret)
{
    bool bad_first, bad_second;
    str model = STR_NONE, stream = STR_NONE;
    bool in_second = extract_form_value(a, second, S("model"), &model, &bad_second);
    bool in_first = extract_form_value(a, first, S("model"), &model, &bad_first);
    if (!extract_form_value(a, first, S("stream"), &stream, &bad_first))
        extract_form_value(a, second, S("stream"), &stream, &bad_second);
    ret->where = in_second && !in_first ? EXTRACT_QUERY : first_is;
    if (!strict || (!bad_first && !bad_second))
        ret->model = model;
    ret->stream = ret->model.len && str_eq(stream, S("true"));
}

int extract_model(struct arena *a, str method, str content_type, str query, str body,
                  struct extract *ret, struct error *e)
{
    enum extract_place place = extract_place(method, content_type);
    *ret = (struct extract){ .where = place };
    switch (place) {
    case EXTRACT_JSON:
        return from_json(a, body, ret, e);
    case EXTRACT_FORM:
        if (body.len <= EXTRACT_FORM_MAX)
            from_texts(a, body, EXTRACT_FORM, query, true, ret);
        return 0;
    case EXTRACT_MULTIPART: {
        struct extract_stream x;
        extract_stream_init(&x, content_type);
        extract_stream_feed(&x, body);
        int rc = extract_stream_end(&x, a, query, ret, e);
        extract_stream_fini(&x);
        return rc;
    }
    default:
        from_texts(a, query, EXTRACT_QUERY, STR_NONE, !str_eq(method, S("GET")), ret);
        return 0;
    }
}

/* ---- multipart in pieces ---- */

void extract_stream_init(struct extract_stream *x, str content_type)
{
    char boundary[MULTIPART_BOUNDARY_MAX];
    size_t len = 0;
    multipart_boundary(content_type, boundary, &len);
    x->broken =
        multipart_fields_init(&x->fields, str_n(boundary, len), S("model"), S("stream"), NULL) != 0;
}

void extract_stream_fini(struct extract_stream *x)
{
    multipart_fields_fini(&x->fields);
}

bool extract_stream_feed(struct extract_stream *x, str bytes)
{
    if (!x->broken)
        x->broken = multipart_fields_feed(&x->fields, bytes, NULL) != 0;
    return !x->broken;
}

bool extract_stream_early(const struct extract_stream *x, struct arena *a, str query, struct extract *ret)
{
    const struct multipart_fields *f = &x->fields;
    str stream = STR_NONE;
    bool bad[2];
    *ret = (struct extract){ .where = EXTRACT_MULTIPART };
    if (x->broken)
        return false;
    if (extract_form_value(a, query, S("model"), &ret->model, &bad[0]))
        ret->where = EXTRACT_QUERY;
    else if (f->found[0] && f->taking != 0)
        ret->model = arena_try_dup(a, strbuf_str(&f->value[0]));
    if (bad[0] || ret->model.len == 0)
        return false;
    if (!extract_form_value(a, query, S("stream"), &stream, &bad[1]) && f->found[1] && f->taking != 1)
        stream = strbuf_str(&f->value[1]);
    ret->stream = str_eq(stream, S("true"));
    return !bad[1];
}

int extract_stream_end(struct extract_stream *x, struct arena *a, str query, struct extract *ret,
                       struct error *e)
{
    const struct multipart_fields *f = &x->fields;
    *ret = (struct extract){ .where = EXTRACT_MULTIPART };
    if (x->broken || multipart_fields_done(&x->fields, NULL)) {
        x->broken = true;
        return 0;
    }
    bool bad[2];
    str stream = STR_NONE;
    if (extract_form_value(a, query, S("model"), &ret->model, &bad[0]))
        ret->where = EXTRACT_QUERY;
    else if (f->found[0])
        ret->model = arena_try_dup(a, strbuf_str(&f->value[0]));
    if (!extract_form_value(a, query, S("stream"), &stream, &bad[1]) && f->found[1])
        stream = strbuf_str(&f->value[1]);
    if (bad[0] || bad[1])
        ret->model = STR_NONE;
    if (f->found[0] && ret->where == EXTRACT_MULTIPART && !ret->model.ptr && !bad[0])
        return error_set(e, ERR_LIMIT, NULL);
    ret->stream = ret->model.len && str_eq(stream, S("true"));
    return 0;
}
