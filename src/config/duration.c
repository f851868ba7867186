/* duration.c: see duration.h. */
#include "config/duration.h"

static int unit_of(str *s, int64_t *ret_ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {
        { "ns", 1 },       { "us", 1000 },        { "\xC2\xB5s", 1000 },  { "\xCE\xBCs", 1000 },
        { "ms", 1000000 }, { "s", 1000000000LL }, { "m", 60000000000LL }, { "h", 3600000000000LL },
    };
    size_t n = 0;
    while (n < s->len && s->ptr[n] != '.' && !chr_digit(s->ptr[n]))
        n++;
    str name = str_sub(*s, 0, n);
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (str_eq(name, str_c(units[i].name))) {
            *s = str_sub(*s, n, s->len);
            *ret_ns = units[i].ns;
            return 0;
        }
    return ERR_SYNTAX;
}

/* "12.5m": adds to *sum. */
static int take_part(str *s, int64_t *sum)
{
    size_t whole = 0, frac = 0;
    while (whole < s->len && chr_digit(s->ptr[whole]))
        whole++;
    str digits = str_sub(*s, 0, whole), more = STR_NONE;
    *s = str_sub(*s, whole, s->len);
    if (s->len && s->ptr[0] == '.') {
        while (1 + frac < s->len && chr_digit(s->ptr[1 + frac]))
            frac++;
        more = str_sub(*s, 1, frac);
        *s = str_sub(*s, 1 + frac, s->len);
    }
    uint64_t v = 0;
    int64_t unit, part;
    if (whole + frac == 0 || (whole && !str_to_u64(digits, &v)) || v > INT64_MAX ||
        unit_of(s, &unit) != 0)
        return ERR_SYNTAX;
    if (__builtin_mul_overflow((int64_t)v, unit, &part))
        return ERR_SYNTAX;
    double f = 0, scale = 1;
    for (size_t i = 0; i < more.len && i < 18; i++) {
        f = f * 10 + (more.ptr[i] - '0');
        scale *= 10;
    }
    if (__builtin_add_overflow(part, (int64_t)(f / scale * (double)unit), &part) ||
        __builtin_add_overflow(*sum, part, sum))
        return ERR_SYNTAX;
    return 0;
}

int duration_parse(str s, int64_t *ret_ns)
{
    bool neg = s.len && s.ptr[0] == '-';
    int64_t sum = 0;
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'))
        s = str_sub(s, 1, s.len);
    if (str_eq(s, S("0"))) {
        *ret_ns = 0;
        return 0;
    }
    if (s.len == 0)
        return ERR_SYNTAX;
    while (s.len) {
        int r = take_part(&s, &sum);
        if (r)
            return r;
    }
    *ret_ns = neg ? -sum : sum;
    return 0;
}

bool duration_text(int64_t ns, struct strbuf *out)
{
    const int64_t second = 1000000000;
    int64_t h = ns / (3600 * second), m = ns / (60 * second) % 60, s = ns % (60 * second);
    bool ok = true;
    if (h)
        ok &= strbuf_addf(out, "%lldh", (long long)h);
    if (h || m)
        ok &= strbuf_addf(out, "%lldm", (long long)m);
    ok &= strbuf_addf(out, "%lld", (long long)(s / second));
    if (s % second) {
        char frac[16];
        int len = 0;
        for (int64_t rest = s % second, unit = second / 10; rest; rest %= unit, unit /= 10)
            frac[len++] = (char)('0' + rest / unit);
        ok &= strbuf_addc(out, '.') && strbuf_add(out, str_n(frac, (size_t)len));
    }
    return ok && strbuf_addc(out, 's');
}
