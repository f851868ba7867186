/* json.c: see json.h. */
#include "codec/json.h"

#include "base/check.h"
#include "base/utf8.h"

#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdio.h>

#define WHOLE_MAX 9007199254740992.0 /* 2^53 */

const struct json_caps json_caps_small = { .bytes = 1u << 20, .values = 50000, .depth = 64 };

/* ---- reading ---- */

/* What a text would cost, without building it. */
struct survey {
    size_t values, depth_max;
    bool has_nul; /* an escaped one; cJSON would end the string there */
    bool broken;  /* what cJSON lets pass: \u without hex digits, bare control characters */
};

static size_t survey_string(str s, size_t i, struct survey *v)
{
    for (i++; i < s.len && s.ptr[i] != '"'; i++) {
        v->broken |= (unsigned char)s.ptr[i] < ' ';
        if (s.ptr[i] != '\\')
            continue;
        str escape = str_sub(s, i, 6);
        v->has_nul |= str_eq(escape, S("\\u0000"));
        if (str_starts(escape, S("\\u")))
            for (size_t k = 2; k < 6; k++)
                v->broken |= k >= escape.len || chr_hex(escape.ptr[k]) < 0;
        i++;
    }
    return i + 1;
}

static struct survey survey(str s)
{
    struct survey v = { .values = 1 };
    size_t depth = 0;
    for (size_t i = 0; i < s.len;) {
        char c = s.ptr[i];
        if (c == '"') {
            i = survey_string(s, i, &v);
            continue;
        }
        if (c == '{' || c == '[') {
            v.values++;
            if (++depth > v.depth_max)
                v.depth_max = depth;
        } else if (c == ',') {
            v.values++;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        } else if ((unsigned char)c < ' ') {
            v.broken |= c != '\n' && c != '\r' && c != '\t';
        }
        i++;
    }
    return v;
}

/* A copy in which \u0000 reads \ufffd, same length. */
static str without_nuls(struct arena *a, str s)
{
    char *copy = arena_try(a, s.len);
    if (!copy)
        return STR_NONE;
    memcpy(copy, s.ptr, s.len);
    for (size_t i = 0; i + 6 <= s.len; i++) {
        if (copy[i] != '\\')
            continue;
        if (memcmp(copy + i, "\\u0000", 6) == 0)
            memcpy(copy + i, "\\ufffd", 6);
        i++;
    }
    return str_n(copy, s.len);
}

static void drop_tree(void *root)
{
    cJSON_Delete(root);
}

int json_parse(struct arena *a, str text, const struct json_caps *caps, json *ret, struct error *e)
{
    ASSERT(caps->depth <= 500);
    if (text.len > caps->bytes)
        return error_set(e, ERR_LIMIT, "JSON of more than %zu bytes", caps->bytes);
    if (!utf8_valid(text))
        return error_set(e, ERR_UTF8, NULL);
    struct survey v = survey(text);
    if (v.depth_max > caps->depth)
        return error_set(e, ERR_LIMIT, "JSON nested deeper than %u", caps->depth);
    if (v.values > caps->values)
        return error_set(e, ERR_LIMIT, "JSON with more than %zu values", caps->values);
    if (v.broken)
        return error_set(e, ERR_SYNTAX, "malformed escape or bare control character in the JSON");
    if (v.has_nul) {
        text = without_nuls(a, text);
        if (!text.ptr)
            return error_set(e, ERR_LIMIT, NULL);
    }
    const char *end = NULL;
    cJSON *root = text.len ? cJSON_ParseWithLengthOpts(text.ptr, text.len, &end, 0) : NULL;
    if (!root) {
        size_t at = end ? (size_t)(end - text.ptr) : 0;
        return error_set(e, ERR_SYNTAX, "not valid JSON near byte %zu", at);
    }
    arena_on_end(a, drop_tree, root);
    size_t used = (size_t)(end - text.ptr);
    if (str_trim(str_sub(text, used, text.len)).len)
        return error_set(e, ERR_SYNTAX, "text behind the JSON at byte %zu", used);
    *ret = (json){ root };
    return 0;
}

enum json_kind json_kind(json v)
{
    if (!v.node)
        return JSON_NONE;
    switch (v.node->type & 0xFF) {
    case cJSON_False:
    case cJSON_True:
        return JSON_BOOL;
    case cJSON_Number:
        return JSON_NUMBER;
    case cJSON_String:
        return JSON_STRING;
    case cJSON_Array:
        return JSON_ARRAY;
    case cJSON_Object:
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

static bool is_container(json v)
{
    enum json_kind k = json_kind(v);
    return k == JSON_ARRAY || k == JSON_OBJECT;
}

json json_first(json v)
{
    return (json){ is_container(v) ? v.node->child : NULL };
}

json json_next(json child)
{
    return (json){ child.node ? child.node->next : NULL };
}

str json_name(json child)
{
    return str_c(child.node ? child.node->string : NULL);
}

json json_get(json object, str name)
{
    if (json_kind(object) == JSON_OBJECT)
        for (json c = json_first(object); c.node; c = json_next(c))
            if (str_eq(json_name(c), name))
                return c;
    return (json){ NULL };
}

json json_at(json array, size_t i)
{
    if (json_kind(array) != JSON_ARRAY)
        return (json){ NULL };
    json c = json_first(array);
    while (c.node && i--)
        c = json_next(c);
    return c;
}

json json_dig(json object, const char *path)
{
    str rest = str_c(path), name;
    bool more = true;
    while (more && object.node) {
        more = str_cut(rest, '.', &name, &rest);
        object = json_get(object, name);
    }
    return object;
}

size_t json_len(json v)
{
    size_t n = 0;
    for (json c = json_first(v); c.node; c = json_next(c))
        n++;
    return n;
}

str json_str(json v)
{
    return json_kind(v) == JSON_STRING ? str_c(v.node->valuestring) : S("");
}

bool json_is(json v, const char *text)
{
    return json_kind(v) == JSON_STRING && str_eq(json_str(v), str_c(text));
}

bool json_bool(json v, bool otherwise)
{
    return json_kind(v) == JSON_BOOL ? (v.node->type & 0xFF) == cJSON_True : otherwise;
}

double json_num(json v, double otherwise)
{
    return json_kind(v) == JSON_NUMBER ? v.node->valuedouble : otherwise;
}

bool json_int(json v, int64_t *ret)
{
    double d = json_num(v, NAN);
    if (!(d >= -WHOLE_MAX && d <= WHOLE_MAX) || (double)(int64_t)d != d)
        return false;
    *ret = (int64_t)d;
    return true;
}

/* ---- writing ---- */

void json_out_init(struct json_out *o, struct strbuf *b)
{
    *o = (struct json_out){ .b = b };
}

/* Before each value and each key. */
static void separate(struct json_out *o)
{
    if (o->after_key) {
        o->after_key = false;
        return;
    }
    uint64_t bit = (uint64_t)1 << o->depth;
    if (o->some & bit)
        strbuf_addc(o->b, ',');
    o->some |= bit;
}

static void enter(struct json_out *o, char c)
{
    separate(o);
    ASSERT(o->depth + 1 < JSON_OUT_DEPTH);
    o->depth++;
    o->some &= ~((uint64_t)1 << o->depth);
    strbuf_addc(o->b, c);
}

void json_out_object(struct json_out *o)
{
    enter(o, '{');
}

void json_out_array(struct json_out *o)
{
    enter(o, '[');
}

void json_out_end(struct json_out *o, char close)
{
    ASSERT(o->depth > 0 && !o->after_key && (close == '}' || close == ']'));
    o->depth--;
    strbuf_addc(o->b, close);
}

static void quoted(struct strbuf *b, str s)
{
    strbuf_addc(b, '"');
    strbuf_add_json(b, s);
    strbuf_addc(b, '"');
}

void json_out_key(struct json_out *o, str name)
{
    ASSERT(!o->after_key);
    separate(o);
    quoted(o->b, name);
    strbuf_addc(o->b, ':');
    o->after_key = true;
}

void json_out_str(struct json_out *o, str s)
{
    separate(o);
    quoted(o->b, s);
}

void json_out_uint(struct json_out *o, uint64_t v)
{
    separate(o);
    strbuf_addu(o->b, v);
}

void json_out_int(struct json_out *o, int64_t v)
{
    separate(o);
    if (v < 0)
        strbuf_addc(o->b, '-');
    strbuf_addu(o->b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void json_out_num(struct json_out *o, double v)
{
    char out[JSON_NUM_MAX];
    separate(o);
    strbuf_add(o->b, isfinite(v) ? str_n(out, json_num_text(out, v, false)) : S("null"));
}

void json_out_bool(struct json_out *o, bool v)
{
    separate(o);
    strbuf_add(o->b, v ? S("true") : S("false"));
}

void json_out_null(struct json_out *o)
{
    separate(o);
    strbuf_add(o->b, S("null"));
}

void json_out_raw(struct json_out *o, str text)
{
    separate(o);
    strbuf_add(o->b, text);
}

void json_out_kstr(struct json_out *o, const char *key, str s)
{
    json_out_key(o, str_c(key));
    json_out_str(o, s);
}

void json_out_kint(struct json_out *o, const char *key, int64_t v)
{
    json_out_key(o, str_c(key));
    json_out_int(o, v);
}

void json_out_knum(struct json_out *o, const char *key, double v)
{
    json_out_key(o, str_c(key));
    json_out_num(o, v);
}

void json_out_kbool(struct json_out *o, const char *key, bool v)
{
    json_out_key(o, str_c(key));
    json_out_bool(o, v);
}

void json_out_knull(struct json_out *o, const char *key)
{
    json_out_key(o, str_c(key));
    json_out_null(o);
}

void json_out_kraw(struct json_out *o, const char *key, str text)
{
    json_out_key(o, str_c(key));
    json_out_raw(o, text);
}

/* ---- numbers ---- */

/* The shortest decimal that reads back as v > 0: its digits without trailing zeros, and the power
 * of ten of the first one. 17 digits always suffice, and 15 are always kept apart, save by
 * subnormals (IEEE 754). */
static size_t shortest(double v, char digits[20], int *ret_exp)
{
    char z[40];
    for (int p = v < DBL_MIN ? 1 : 15; p <= 17; p++) {
        snprintf(z, sizeof z, "%.*e", p - 1, v);
        if (strtod(z, NULL) >= v && strtod(z, NULL) <= v)
            break;
    }
    size_t n = 0;
    const char *at = z;
    for (; *at && *at != 'e'; at++)
        if (chr_digit(*at))
            digits[n++] = *at;
    *ret_exp = (int)strtol(at + 1, NULL, 10);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

static size_t put_plain(char *out, const char *digits, size_t n, int exp)
{
    size_t len = 0, k = 0;
    if (exp < 0)
        out[len++] = '0';
    for (int i = 0; i <= exp; i++)
        out[len++] = k < n ? digits[k++] : '0';
    if (k == n)
        return len;
    out[len++] = '.';
    for (int i = -1; i > exp; i--)
        out[len++] = '0';
    while (k < n)
        out[len++] = digits[k++];
    return len;
}

static size_t put_exp(char *out, const char *digits, size_t n, int exp)
{
    size_t len = 0;
    out[len++] = digits[0];
    if (n > 1) {
        out[len++] = '.';
        memcpy(out + len, digits + 1, n - 1);
        len += n - 1;
    }
    return len + (size_t)snprintf(out + len, 8, "e%+d", exp);
}

size_t json_num_text(char out[JSON_NUM_MAX], double v, bool plain)
{
    ASSERT(isfinite(v));
    size_t len = 0;
    if (signbit(v)) {
        out[len++] = '-';
        v = -v;
    }
    if (v <= 0) {
        out[len++] = '0';
        return len;
    }
    char digits[20] = "0";
    int exp;
    size_t n = shortest(v, digits, &exp);
    bool far = exp < -6 || exp >= 21;
    return len + (far && !plain ? put_exp : put_plain)(out + len, digits, n, exp);
}
