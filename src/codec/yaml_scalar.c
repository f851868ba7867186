/* yaml_scalar.c: the type and the text of YAML scalars, see yaml.h and config.md 10.3.
 *
 * The rules are those of the reference's YAML library: YAML 1.2 core words, 1.1 octals and
 * underscores, dates, and no base 60.
 */
#include "codec/yaml_scalar.h"

#include "base/check.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NUMBER_MAX 400 /* longer digit strings are text */

/* ---- words ---- */

static bool in_words(str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(s, str_c(words[i])))
            return true;
    return false;
}

static bool resolve_word(struct ynode *n)
{
    static const char *const yes[] = { "true", "True", "TRUE" },
                             *const no[] = { "false", "False", "FALSE" },
                             *const null[] = { "", "~", "null", "Null", "NULL" },
                             *const nan[] = { ".nan", ".NaN", ".NAN" },
                             *const inf[] = { ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF" },
                             *const minus[] = { "-.inf", "-.Inf", "-.INF" };
    str s = n->text;
    if (s.len > 5)
        return false;
    if (in_words(s, null, ARRAY_LEN(null))) {
        n->type = YN_NULL;
    } else if (in_words(s, yes, ARRAY_LEN(yes)) || in_words(s, no, ARRAY_LEN(no))) {
        n->type = YN_BOOL;
        n->b = s.ptr[0] == 't' || s.ptr[0] == 'T';
    } else if (in_words(s, nan, ARRAY_LEN(nan))) {
        n->type = YN_FLOAT;
        n->f = NAN;
    } else if (in_words(s, inf, ARRAY_LEN(inf)) || in_words(s, minus, ARRAY_LEN(minus))) {
        n->type = YN_FLOAT;
        n->f = s.ptr[0] == '-' ? -INFINITY : INFINITY;
    } else {
        return false;
    }
    return true;
}

/* ---- numbers ---- */

static int digit_of(char c)
{
    if (chr_digit(c))
        return c - '0';
    c = chr_lower(c);
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* Digits with an optional base prefix; no sign. False for anything else and for overflow. */
static bool parse_uint(str s, uint64_t *ret)
{
    unsigned base = 10;
    if (s.len == 0)
        return false;
    if (s.ptr[0] == '0') {
        char p = s.len >= 3 ? chr_lower(s.ptr[1]) : '\0';
        base = p == 'b' ? 2 : p == 'x' ? 16 : 8;
        s = str_sub(s, p == 'b' || p == 'o' || p == 'x' ? 2 : 1, s.len);
    }
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        int d = digit_of(s.ptr[i]);
        if (d >= (int)base || __builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v))
            return false;
    }
    *ret = v;
    return true;
}

static bool resolve_int(struct ynode *n, str plain)
{
    bool neg = plain.len > 0 && plain.ptr[0] == '-';
    bool sign = neg || (plain.len > 0 && plain.ptr[0] == '+');
    uint64_t v;
    if (!parse_uint(sign ? str_sub(plain, 1, plain.len) : plain, &v))
        return false;
    if (neg && v <= (uint64_t)INT64_MAX + 1) {
        n->type = YN_INT;
        n->i = v == (uint64_t)INT64_MAX + 1 ? INT64_MIN : -(int64_t)v;
    } else if (!neg && v <= INT64_MAX) {
        n->type = YN_INT;
        n->i = (int64_t)v;
    } else if (!sign) {
        n->type = YN_UINT;
        n->u = v;
    } else {
        return false;
    }
    return true;
}

static size_t digits(str s, size_t at)
{
    size_t n = 0;
    while (at + n < s.len && chr_digit(s.ptr[at + n]))
        n++;
    return n;
}

/* [-+]? ( .d+ | d+ (. d*)? ) ([eE] [-+]? d+)? */
static bool float_shape(str s)
{
    size_t i = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    size_t whole = digits(s, i);
    i += whole;
    if (i < s.len && s.ptr[i] == '.') {
        size_t frac = digits(s, i + 1);
        if (whole + frac == 0)
            return false;
        i += 1 + frac;
    } else if (whole == 0) {
        return false;
    }
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        i++;
        i += i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+');
        size_t exp = digits(s, i);
        if (exp == 0)
            return false;
        i += exp;
    }
    return i == s.len;
}

static bool resolve_float(struct ynode *n, str s)
{
    char buf[NUMBER_MAX + 1];
    if (s.len > NUMBER_MAX || !float_shape(s))
        return false;
    memcpy(buf, s.ptr, s.len);
    buf[s.len] = '\0';
    double f = strtod(buf, NULL);
    if (isinf(f))
        return false;
    n->type = YN_FLOAT;
    n->f = f;
    return true;
}

/* ---- dates ---- */

/* One or two digits (min..max digits for years and fractions). */
static bool take_num(str *s, size_t min, size_t max, unsigned *ret)
{
    size_t n = digits(*s, 0);
    if (n > max)
        n = max;
    if (n < min)
        return false;
    unsigned v = 0;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (unsigned)(s->ptr[i] - '0');
    *ret = v;
    *s = str_sub(*s, n, s->len);
    return true;
}

static bool take_chr(str *s, char c)
{
    if (s->len == 0 || s->ptr[0] != c)
        return false;
    *s = str_sub(*s, 1, s->len);
    return true;
}

static unsigned month_days(unsigned year, unsigned month)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

struct date {
    unsigned year, month, day, hour, min, sec, nsec;
    unsigned zone_h, zone_m;
    char zone; /* 'Z', '+', '-' */
};

static bool take_clock(str *s, struct date *d, bool *ret_ok)
{
    *ret_ok = take_num(s, 1, 2, &d->hour) && take_chr(s, ':') && take_num(s, 1, 2, &d->min) &&
              take_chr(s, ':') && take_num(s, 1, 2, &d->sec) && d->hour < 24 && d->min < 60 &&
              d->sec < 60;
    if (*ret_ok && s->len >= 2 && (s->ptr[0] == '.' || s->ptr[0] == ',') && chr_digit(s->ptr[1])) {
        size_t n = digits(*s, 1);
        unsigned scale = 100000000;
        for (size_t i = 0; i < n && i < 9; i++, scale /= 10)
            d->nsec += (unsigned)(s->ptr[1 + i] - '0') * scale;
        *s = str_sub(*s, 1 + n, s->len);
    }
    return *ret_ok;
}

static bool take_zone(str *s, struct date *d)
{
    if (take_chr(s, 'Z'))
        return true;
    if (s->len != 6 || (s->ptr[0] != '+' && s->ptr[0] != '-'))
        return false;
    d->zone = s->ptr[0];
    *s = str_sub(*s, 1, s->len);
    return take_num(s, 2, 2, &d->zone_h) && take_chr(s, ':') && take_num(s, 2, 2, &d->zone_m) &&
           d->zone_h <= 24 && d->zone_m < 60;
}

static bool parse_date(str s, struct date *d)
{
    *d = (struct date){ .zone = 'Z' };
    if (digits(s, 0) != 4 || !take_num(&s, 4, 4, &d->year) || !take_chr(&s, '-') ||
        !take_num(&s, 1, 2, &d->month) || !take_chr(&s, '-') || !take_num(&s, 1, 2, &d->day))
        return false;
    if (d->month < 1 || d->month > 12 || d->day < 1 || d->day > month_days(d->year, d->month))
        return false;
    bool ok = true;
    if (s.len == 0)
        return true;
    if (take_chr(&s, 'T') || take_chr(&s, 't'))
        return take_clock(&s, d, &ok) && take_zone(&s, d) && s.len == 0;
    return take_chr(&s, ' ') && take_clock(&s, d, &ok) && s.len == 0;
}

static bool resolve_date(struct arena *a, struct ynode *n)
{
    struct date d;
    char frac[16] = "", zone[8] = "Z", out[64];
    if (n->text.len < 8 || n->text.len > 64 || !parse_date(n->text, &d))
        return false;
    if (d.nsec) {
        int len = snprintf(frac, sizeof frac, ".%09u", d.nsec);
        while (len > 0 && frac[len - 1] == '0')
            frac[--len] = '\0';
    }
    if (d.zone != 'Z' && d.zone_h + d.zone_m > 0)
        snprintf(zone, sizeof zone, "%c%02u:%02u", d.zone, d.zone_h, d.zone_m);
    int len = snprintf(out, sizeof out, "%04u-%02u-%02uT%02u:%02u:%02u%s%s", d.year, d.month, d.day,
                       d.hour, d.min, d.sec, frac, zone);
    str text = arena_try_dup(a, str_n(out, (size_t)len));
    if (!text.ptr)
        return false;
    n->type = YN_TIME;
    n->text = text;
    return true;
}

/* ---- putting it together ---- */

static void resolve(struct arena *a, struct ynode *n, bool dates)
{
    str s = n->text;
    n->type = YN_STR;
    if (resolve_word(n))
        return;
    char c = s.len ? s.ptr[0] : '\0';
    if (c == '.') {
        resolve_float(n, s);
        return;
    }
    if (!chr_digit(c) && c != '+' && c != '-')
        return;
    if (dates && resolve_date(a, n))
        return;
    char buf[NUMBER_MAX];
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '_')
            continue;
        if (len == sizeof buf)
            return;
        buf[len++] = s.ptr[i];
    }
    str plain = str_n(buf, len);
    if (!resolve_int(n, plain))
        resolve_float(n, plain);
}

void ynode_resolve(struct arena *a, struct ynode *n)
{
    resolve(a, n, true);
}

static const char *decode_binary(struct arena *a, struct ynode *n)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = arena_try(a, n->text.len + 1);
    size_t len = 0, quads = 0, pad = 0;
    uint32_t acc = 0;
    if (!out)
        return "` as !!binary: too large";
    for (size_t i = 0; i < n->text.len; i++) {
        char c = n->text.ptr[i];
        const char *at = c ? strchr(alphabet, c) : NULL;
        if (c == '\n' || c == '\r')
            continue;
        if (c == '=' && quads % 4 >= 2)
            pad++;
        else if (!at || pad)
            return "` as !!binary: it is no base64";
        acc = acc << 6 | (at ? (uint32_t)(at - alphabet) : 0);
        if (++quads % 4 == 0) {
            for (unsigned b = 0; b < 3 - pad; b++)
                out[len++] = (char)(acc >> (16 - 8 * b) & 0xff);
            acc = 0;
        }
    }
    if (quads % 4 != 0 || pad > 2)
        return "` as !!binary: it is no base64";
    n->type = YN_STR;
    n->text = str_n(out, len);
    return NULL;
}

const char *yaml_scalar_tagged(struct arena *a, struct ynode *n, str tag)
{
    const str core = S("tag:yaml.org,2002:");
    n->type = YN_STR;
    if (!str_starts(tag, core))
        return NULL; /* somebody's own tag: text */
    str t = str_sub(tag, core.len, tag.len);
    if (str_eq(t, S("binary")))
        return decode_binary(a, n);
    bool is_int = str_eq(t, S("int")), is_float = str_eq(t, S("float")),
         is_bool = str_eq(t, S("bool")), is_null = str_eq(t, S("null")),
         is_time = str_eq(t, S("timestamp"));
    if (!is_int && !is_float && !is_bool && !is_null && !is_time)
        return NULL;
    resolve(a, n, is_time);
    if (is_float && (n->type == YN_INT || n->type == YN_UINT)) {
        n->f = n->type == YN_INT ? (double)n->i : (double)n->u;
        n->type = YN_FLOAT;
    }
    if (is_int && n->type != YN_INT && n->type != YN_UINT)
        return "` as !!int";
    if (is_float && n->type != YN_FLOAT)
        return "` as !!float";
    if (is_bool && n->type != YN_BOOL)
        return "` as !!bool";
    if (is_null && n->type != YN_NULL)
        return "` as !!null";
    if (is_time && n->type != YN_TIME)
        return "` as !!timestamp";
    return NULL;
}

/* ---- the way back to text ---- */

/* The fewest significant digits that read back as f: "d.ddde+XX" in buf. */
static void shortest(double f, char buf[40])
{
    for (int prec = 0; prec <= 17; prec++) {
        snprintf(buf, 40, "%.*e", prec, f);
        if (strtod(buf, NULL) == f)
            return;
    }
}

/* Digits without point (and without trailing zeros) and decimal exponent. */
static size_t split(double f, char digit[24], int *ret_exp)
{
    char buf[40];
    size_t n = 0;
    shortest(f, buf);
    const char *p = buf + (buf[0] == '-');
    for (; *p && *p != 'e'; p++)
        if (*p != '.')
            digit[n++] = *p;
    *ret_exp = (int)strtol(p + 1, NULL, 10);
    while (n > 1 && digit[n - 1] == '0')
        n--;
    return n;
}

static size_t plain_form(char *out, const char *digit, size_t n, int exp)
{
    size_t len = 0;
    if (exp < 0) {
        out[len++] = '0';
        out[len++] = '.';
        for (int i = -1; i > exp; i--)
            out[len++] = '0';
        for (size_t i = 0; i < n; i++)
            out[len++] = digit[i];
        return len;
    }
    for (size_t i = 0; i <= (size_t)exp || i < n; i++) {
        if (i == (size_t)exp + 1)
            out[len++] = '.';
        out[len++] = i < n ? digit[i] : '0';
    }
    return len;
}

/* out has room for 40 bytes. */
static size_t float_form(double f, int low, int high, bool two_digit_exp, char *out)
{
    char digit[24];
    int exp;
    size_t len = 0, n = split(f, digit, &exp);
    if (signbit(f))
        out[len++] = '-';
    if (exp >= low && exp < high)
        return len + plain_form(out + len, digit, n, exp);
    out[len++] = digit[0];
    if (n > 1)
        out[len++] = '.';
    for (size_t i = 1; i < n; i++)
        out[len++] = digit[i];
    return len + (size_t)snprintf(out + len, 8, two_digit_exp ? "e%c%02d" : "e%c%d",
                                  exp < 0 ? '-' : '+', abs(exp));
}

size_t yaml_float_text(double f, char out[YAML_FLOAT_MAX])
{
    const char *word = isnan(f) ? "NaN" : isinf(f) ? (f < 0 ? "-Inf" : "+Inf") : NULL;
    if (word) {
        memcpy(out, word, strlen(word));
        return strlen(word);
    }
    return float_form(f, -4, 6, true, out);
}

bool yaml_float_json(double f, struct strbuf *out)
{
    char buf[48];
    if (!isfinite(f))
        return strbuf_add(out, S("null"));
    return strbuf_add(out, str_n(buf, float_form(f, -6, 21, false, buf)));
}

static str keep(struct arena *a, const char *buf, size_t len)
{
    str s = arena_try_dup(a, str_n(buf, len));
    return s.ptr ? s : S("");
}

str ynode_scalar_text(struct arena *a, const struct ynode *n)
{
    char buf[YAML_FLOAT_MAX];
    switch (n->type) {
    case YN_BOOL:
        return n->b ? S("true") : S("false");
    case YN_INT:
        return keep(a, buf, (size_t)snprintf(buf, sizeof buf, "%lld", (long long)n->i));
    case YN_UINT:
        return keep(a, buf, (size_t)snprintf(buf, sizeof buf, "%llu", (unsigned long long)n->u));
    case YN_FLOAT:
        if (isnan(n->f))
            return S(".nan");
        if (isinf(n->f))
            return n->f < 0 ? S("-.inf") : S(".inf");
        return keep(a, buf, yaml_float_text(n->f, buf));
    case YN_NULL:
        return S("");
    default:
        return n->text;
    }
}
