/* json_scan.c: see json_scan.h.
 *
 * Long stretches are looked at in blocks of 64 bytes. A block becomes 64-bit masks (quotes, backslashes,
 * opening and closing brackets, one bit per byte); what is inside strings follows from the quotes by a
 * running XOR. The idea is that of Langdale and Lemire, "Parsing Gigabytes of JSON per Second" (2019),
 * cut down to what finding the end of a value needs.
 */
#include "codec/json_scan.h"

#include "base/check.h"
#include "base/utf8.h"
#include "codec/json.h"

#include <math.h>

#if defined(__SSE2__) && !defined(LUASWAP_NO_SIMD)
#define WITH_SSE2 1
#include <emmintrin.h>
#else
#define WITH_SSE2 0
#endif

#define BLOCK 64u

#if WITH_SSE2

struct block {
    __m128i a, b, c, d;
};

static inline __m128i load16(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline struct block load_block(const char *p)
{
    return (struct block){ load16(p), load16(p + 16), load16(p + 32), load16(p + 48) };
}

static inline __m128i hits(__m128i v, char c)
{
    return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}

static inline uint64_t gather(__m128i v)
{
    return (uint64_t)(uint32_t)_mm_movemask_epi8(v);
}

/* Bit i of the result: is byte i this character? */
static inline uint64_t where(struct block v, char c)
{
    return gather(hits(v.a, c)) | gather(hits(v.b, c)) << 16 | gather(hits(v.c, c)) << 32 |
           gather(hits(v.d, c)) << 48;
}

/* '[' becomes '{' and ']' becomes '}': they differ in this bit only. */
static inline struct block fold_brackets(struct block v)
{
    __m128i bit = _mm_set1_epi8(0x20);
    return (struct block){ _mm_or_si128(v.a, bit), _mm_or_si128(v.b, bit), _mm_or_si128(v.c, bit),
                           _mm_or_si128(v.d, bit) };
}

static inline __m128i marks(__m128i v)
{
    return _mm_or_si128(hits(v, '"'), hits(v, '\\'));
}

/* Neither quote nor backslash in it: inside a string nothing happens here. */
static inline bool is_plain(struct block v)
{
    return gather(_mm_or_si128(_mm_or_si128(marks(v.a), marks(v.b)),
                               _mm_or_si128(marks(v.c), marks(v.d)))) == 0;
}

#else

/* Eight bytes at a time in plain registers. */
struct block {
    uint64_t w[8];
};

static inline struct block load_block(const char *p)
{
    struct block v;
    memcpy(v.w, p, sizeof v.w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (unsigned i = 0; i < 8; i++)
        v.w[i] = __builtin_bswap64(v.w[i]);
#endif
    return v;
}

/* Bit 7 of each byte that equals c. */
static inline uint64_t hits(uint64_t w, char c)
{
    const uint64_t low7 = 0x7F7F7F7F7F7F7F7Fu;
    uint64_t x = w ^ (0x0101010101010101u * (unsigned char)c);
    return ~(((x & low7) + low7) | x | low7);
}

static inline uint64_t where(struct block v, char c)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < 8; i++)
        mask |= (((hits(v.w[i], c) >> 7) * 0x0102040810204080u) >> 56) << (8 * i);
    return mask;
}

static inline struct block fold_brackets(struct block v)
{
    for (unsigned i = 0; i < 8; i++)
        v.w[i] |= 0x2020202020202020u;
    return v;
}

static inline bool is_plain(struct block v)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < 8; i++)
        any |= hits(v.w[i], '"') | hits(v.w[i], '\\');
    return any == 0;
}

#endif

/* Which bytes are taken literally because an active backslash stands before them. *carry: the first
 * byte is, from the block before. */
static inline uint64_t escaped_bytes(uint64_t back, bool *carry)
{
    uint64_t escaped = *carry ? 1 : 0;
    back &= ~escaped;
    *carry = false;
    while (back) {
        uint64_t one = back & (0 - back);
        escaped |= one << 1;
        *carry = one >> 63;
        back &= ~(one | one << 1);
    }
    return escaped;
}

/* Bit i of the result: an odd number of bits at or below i. */
static inline uint64_t running_xor(uint64_t x)
{
    for (unsigned by = 1; by < 64; by *= 2)
        x ^= x << by;
    return x;
}

/* The block at s[i]; a last, short one is filled up with blanks. */
static inline struct block block_at(str s, size_t i)
{
    if (s.len - i >= BLOCK)
        return load_block(s.ptr + i);
    char pad[BLOCK];
    memset(pad, ' ', sizeof pad);
    memcpy(pad, s.ptr + i, s.len - i);
    return load_block(pad);
}

/* The quotes of a block that are not escaped. */
static inline uint64_t quotes(struct block v, bool *carry)
{
    uint64_t quote = where(v, '"'), back = where(v, '\\');
    return back || *carry ? quote & ~escaped_bytes(back, carry) : quote;
}

/* s[i] is a quote; returns the offset behind the closing one, 0 if there is none. */
static size_t skip_string(str s, size_t i)
{
    i++;
    /* Keys and short values end here. */
    for (size_t stop = s.len - i < 24 ? s.len : i + 24; i < stop; i++) {
        if (s.ptr[i] == '"')
            return i + 1;
        if (s.ptr[i] == '\\')
            break;
    }
    bool carry = false;
    for (; i < s.len; i += BLOCK) {
        struct block v = block_at(s, i);
        if (!carry && is_plain(v))
            continue;
        uint64_t end = quotes(v, &carry);
        if (end)
            return i + (size_t)__builtin_ctzll(end) + 1;
    }
    return 0;
}

/* Where in a block the depth comes to 0, or BLOCK. */
static unsigned walk_brackets(uint64_t opens, uint64_t closes, uint64_t *depth)
{
    for (uint64_t all = opens | closes; all; all &= all - 1) {
        unsigned at = (unsigned)__builtin_ctzll(all);
        if (opens >> at & 1)
            (*depth)++;
        else if (--*depth == 0)
            return at;
    }
    return BLOCK;
}

/* s[i] is an opening bracket; returns the offset behind its closing one, 0 if there is none. */
static size_t skip_nested(str s, size_t i)
{
    uint64_t depth = 0, in_string = 0;
    bool carry = false;
    for (; i < s.len; i += BLOCK) {
        struct block v = block_at(s, i);
        if (in_string && !carry && is_plain(v))
            continue;
        uint64_t quote = quotes(v, &carry), inside = in_string;
        if (quote)
            inside ^= running_xor(quote);
        else if (in_string)
            continue;
        in_string = 0 - (inside >> 63);
        v = fold_brackets(v);
        uint64_t opens = where(v, '{') & ~inside, closes = where(v, '}') & ~inside;
        if (!(opens | closes))
            continue;
        unsigned at = walk_brackets(opens, closes, &depth);
        if (at < BLOCK)
            return i + at + 1;
    }
    return 0;
}

/* Part of a number or of a bare word. */
static bool is_word(char c)
{
    return chr_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '+' || c == '.';
}

static size_t skip_word(str s, size_t i)
{
    while (i < s.len && is_word(s.ptr[i]))
        i++;
    return i;
}

/* The offset behind the value at s[i], 0 if it is cut off or none. */
static size_t skip_value(str s, size_t i)
{
    if (i >= s.len)
        return 0;
    switch (s.ptr[i]) {
    case '"':
        return skip_string(s, i);
    case '{':
    case '[':
        return skip_nested(s, i);
    default:
        return is_word(s.ptr[i]) ? skip_word(s, i) : 0;
    }
}

size_t json_skip_value(str s)
{
    return skip_value(s, 0);
}

static size_t skip_blank(str s, size_t i)
{
    while (i < s.len &&
           (s.ptr[i] == ' ' || s.ptr[i] == '\n' || s.ptr[i] == '\r' || s.ptr[i] == '\t'))
        i++;
    return i;
}

static int note_member(str body, const struct json_member *m, struct json_want *want, size_t n,
                       struct error *e)
{
    str key = str_sub(body, m->key_at, m->key_len);
    for (size_t i = 0; i < n; i++) {
        struct json_want *w = &want[i];
        if (!json_text_is(key, w->name))
            continue;
        if (w->found && w->unique)
            return error_set(e, ERR_DUPLICATE, "member \"" STR_FMT "\" is given twice",
                             STR_ARG(w->name));
        if (w->found)
            continue;
        w->found = true;
        w->lead_at = m->lead_at;
        w->key_at = m->key_at;
        w->val_at = m->val_at;
        w->val_len = m->val_len;
    }
    return 0;
}

bool json_iter_init(struct json_iter *it, str s, size_t open_at)
{
    *it = (struct json_iter){ .s = s, .open_at = open_at, .at = open_at + 1 };
    return open_at < s.len && (s.ptr[open_at] == '{' || s.ptr[open_at] == '[');
}

/* A member's key and colon at s[i]; returns the offset of what follows, 0 when the text breaks
 * here. */
static size_t read_key(str s, size_t i, struct json_member *m)
{
    if (i >= s.len || s.ptr[i] != '"')
        return 0;
    size_t end = skip_string(s, i);
    if (!end)
        return 0;
    m->key_at = i;
    m->key_len = end - i;
    i = skip_blank(s, end);
    return i < s.len && s.ptr[i] == ':' ? skip_blank(s, i + 1) : 0;
}

bool json_iter_next(struct json_iter *it, struct json_member *ret)
{
    str s = it->s;
    bool object = s.ptr[it->open_at] == '{';
    size_t i = skip_blank(s, it->at);
    if (i < s.len && s.ptr[i] == (object ? '}' : ']')) {
        it->at = i + 1;
        return false;
    }
    *ret = (struct json_member){ .lead_at = it->open_at };
    it->broken = true;
    if (it->started) {
        if (i >= s.len || s.ptr[i] != ',')
            return false;
        ret->lead_at = i;
        i = skip_blank(s, i + 1);
    }
    if (object)
        i = read_key(s, i, ret);
    size_t end = i ? skip_value(s, i) : 0;
    if (!end)
        return false;
    ret->val_at = i;
    ret->val_len = end - i;
    it->at = end;
    it->started = true;
    it->broken = false;
    return true;
}

static int read_members(str body, struct json_top *top, struct json_want *want, size_t n,
                        struct error *e)
{
    struct json_iter it;
    struct json_member m;
    json_iter_init(&it, body, top->open_at);
    while (json_iter_next(&it, &m)) {
        if (top->n >= JSON_TOP_MAX)
            return error_set(e, ERR_LIMIT, "more than %u members", JSON_TOP_MAX);
        if (top->n < JSON_TOP_MEMBERS)
            top->member[top->n] = m;
        top->n++;
        int rc = note_member(body, &m, want, n, e);
        if (rc)
            return rc;
    }
    top->complete = !it.broken;
    top->end = it.broken ? 0 : it.at;
    return 0;
}

int json_scan_top(str body, struct json_want *want, size_t n, struct json_top *ret_top,
                  struct error *e)
{
    struct json_top own, *top = ret_top ? ret_top : &own;
    top->object = top->complete = false;
    top->open_at = top->end = top->n = 0;
    for (size_t k = 0; k < n; k++) {
        want[k].found = false;
        want[k].lead_at = want[k].key_at = want[k].val_at = want[k].val_len = 0;
    }
    size_t i = str_starts(body, S("\xEF\xBB\xBF")) ? 3 : 0;
    i = skip_blank(body, i);
    if (i >= body.len || body.ptr[i] != '{')
        return 0;
    top->object = true;
    top->open_at = i;
    return read_members(body, top, want, n, e);
}

/* ---- texts ---- */

static bool hex4(str s, size_t i, uint32_t *ret)
{
    uint32_t v = 0;
    if (s.len < 4 || i > s.len - 4)
        return false;
    for (size_t k = 0; k < 4; k++) {
        int d = chr_hex(s.ptr[i + k]);
        if (d < 0)
            return false;
        v = v << 4 | (uint32_t)d;
    }
    *ret = v;
    return true;
}

/* s[i] is a backslash. Writes what the escape stands for, returns the offset behind it. */
static size_t read_escape(str s, size_t i, char out[4], size_t *ret_n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t cp, low;
    char c = i + 1 < s.len ? s.ptr[i + 1] : '\0';
    const char *hit = c ? strchr(from, c) : NULL;
    if (hit) {
        out[0] = to[hit - from];
        *ret_n = 1;
        return i + 2;
    }
    size_t end = i + 2 < s.len ? i + 2 : s.len;
    if (c != 'u' || !hex4(s, i + 2, &cp)) {
        cp = 0xFFFD;
    } else {
        end = i + 6;
        bool high = cp >= 0xD800 && cp < 0xDC00;
        if (high && str_starts(str_sub(s, end, 2), S("\\u")) && hex4(s, end + 2, &low) &&
            low >= 0xDC00 && low < 0xE000) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            end += 6;
        } else if (cp >= 0xD800 && cp < 0xE000) {
            cp = 0xFFFD;
        }
    }
    *ret_n = utf8_encode(cp, out);
    return end;
}

/* Without the quotes. */
static str inner(str raw)
{
    return raw.len >= 2 && raw.ptr[0] == '"' ? str_sub(raw, 1, raw.len - 2) : STR_NONE;
}

bool json_text_is(str raw, str name)
{
    str s = inner(raw);
    /* No escape is longer than six bytes for each byte it stands for. */
    if (s.len < name.len || s.len / 6 > name.len)
        return false;
    if (str_chr(s, '\\') < 0)
        return str_eq(s, name);
    size_t at = 0;
    for (size_t i = 0; i < s.len;) {
        char out[4] = { s.ptr[i] };
        size_t n = 1;
        i = s.ptr[i] == '\\' ? read_escape(s, i, out, &n) : i + 1;
        if (!str_starts(str_sub(name, at, n), str_n(out, n)))
            return false;
        at += n;
    }
    return at == name.len;
}

int json_unescape(struct arena *a, str raw, str *ret, struct error *e)
{
    str s = inner(raw);
    if (str_chr(s, '\\') < 0) {
        *ret = s;
        return 0;
    }
    /* An invalid two-byte escape becomes three bytes. */
    char *to = s.len <= SIZE_MAX / 2 ? arena_try(a, s.len + s.len / 2 + 4) : NULL;
    if (!to)
        return error_set(e, ERR_LIMIT, "text too long");
    size_t len = 0;
    for (size_t i = 0; i < s.len;) {
        if (s.ptr[i] != '\\') {
            to[len++] = s.ptr[i++];
            continue;
        }
        char out[4];
        size_t n;
        i = read_escape(s, i, out, &n);
        memcpy(to + len, out, n);
        len += n;
    }
    *ret = str_n(to, len);
    return 0;
}

static bool is_plain_integer(str s)
{
    if (s.len && s.ptr[0] == '-')
        s = str_sub(s, 1, s.len);
    for (size_t i = 0; i < s.len; i++)
        if (!chr_digit(s.ptr[i]))
            return false;
    return s.len > 0;
}

/* A number that is no plain integer: as digits without an exponent. What is no number stays. */
static str number_text(struct arena *a, str raw)
{
    char z[128];
    if (raw.len >= sizeof z || (raw.ptr[0] != '-' && !chr_digit(raw.ptr[0])))
        return raw;
    memcpy(z, raw.ptr, raw.len);
    z[raw.len] = '\0';
    char *end;
    double v = strtod(z, &end);
    char out[JSON_NUM_MAX];
    if (*end || !isfinite(v))
        return raw;
    return arena_try_dup(a, str_n(out, json_num_text(out, v, true)));
}

int json_value_text(struct arena *a, str raw, str *ret, struct error *e)
{
    if (raw.len == 0 || str_eq(raw, S("null"))) {
        *ret = STR_NONE;
        return 0;
    }
    if (raw.ptr[0] == '"')
        return json_unescape(a, raw, ret, e);
    bool as_is = raw.ptr[0] == '{' || raw.ptr[0] == '[' || is_plain_integer(raw);
    str s = as_is ? raw : number_text(a, raw);
    if (!s.ptr)
        return error_set(e, ERR_LIMIT, "text too long");
    *ret = s;
    return 0;
}

bool json_value_true(str raw)
{
    if (raw.len == 0)
        return false;
    if (raw.ptr[0] == '"') {
        str s = inner(raw);
        return str_ieq(s, S("true")) || str_ieq(s, S("t")) || str_eq(s, S("1"));
    }
    if (raw.ptr[0] != '-' && !chr_digit(raw.ptr[0]))
        return str_eq(raw, S("true"));
    for (size_t i = 0; i < raw.len && raw.ptr[i] != 'e' && raw.ptr[i] != 'E'; i++)
        if (raw.ptr[i] >= '1' && raw.ptr[i] <= '9')
            return true;
    return false;
}
