/* re2.c: see re2.h. */
#include "config/re2.h"

#include "base/utf8.h"

#define DEPTH_MAX 200
#define REPEAT_MAX 1000
#define NAMES_MAX 64

struct re {
    str s;
    size_t at;
    unsigned depth;
    str names[NAMES_MAX];
    size_t n_names;
    struct error *e;
    bool failed;
};

/* What an operand may still be multiplied by: nested counts may not pass 1000 together. */
struct atom {
    bool is_operand; /* something a repetition can apply to */
    uint64_t copies;
};

static bool fail(struct re *r, const char *why)
{
    if (!r->failed)
        error_set(r->e, ERR_SYNTAX, "%s at byte %zu", why, r->at + 1);
    r->failed = true;
    return false;
}

static bool end(const struct re *r)
{
    return r->at >= r->s.len;
}

static char peek(const struct re *r, size_t ahead)
{
    return r->at + ahead < r->s.len ? r->s.ptr[r->at + ahead] : '\0';
}

static bool eat(struct re *r, const char *z)
{
    if (!str_starts(str_sub(r->s, r->at, r->s.len), str_c(z)))
        return false;
    r->at += strlen(z);
    return true;
}

static bool word_chr(char c)
{
    return chr_digit(c) || c == '_' || (chr_lower(c) >= 'a' && chr_lower(c) <= 'z');
}

/* ---- escapes ---- */

/* Unicode 15 general categories and scripts, each between spaces. */
static const char unicode_names[] =
    " Any C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm "
    "So Z Zl Zp Zs "
    "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak "
    "Bengali "
    "Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian "
    "Caucasian_Albanian Chakma "
    "Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret "
    "Devanagari "
    "Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic "
    "Gothic "
    "Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran "
    "Hebrew Hiragana "
    "Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi "
    "Kannada "
    "Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha "
    "Limbu "
    "Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen "
    "Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs "
    "Miao Modi "
    "Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu "
    "Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic "
    "Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya "
    "Pahawh_Hmong "
    "Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra "
    "Sharada "
    "Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri "
    "Syriac "
    "Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai "
    "Tibetan "
    "Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square ";

/* After "\p" or "\P". */
static bool unicode_class(struct re *r)
{
    str name;
    char spaced[48];
    if (peek(r, 0) == '{') {
        ptrdiff_t close = str_chr(str_sub(r->s, r->at, r->s.len), '}');
        if (close < 0)
            return fail(r, "invalid character class range");
        name = str_sub(r->s, r->at + 1, (size_t)close - 1);
        r->at += (size_t)close + 1;
        if (name.len && name.ptr[0] == '^')
            name = str_sub(name, 1, name.len);
    } else {
        name = str_sub(r->s, r->at, 1);
        r->at += name.len;
    }
    if (name.len == 0 || name.len + 2 > sizeof spaced)
        return fail(r, "invalid character class range");
    spaced[0] = spaced[name.len + 1] = ' ';
    memcpy(spaced + 1, name.ptr, name.len);
    for (size_t i = 0; i < name.len; i++)
        if (!word_chr(name.ptr[i]))
            return fail(r, "invalid character class range");
    if (str_find(str_c(unicode_names), str_n(spaced, name.len + 2)) < 0)
        return fail(r, "unknown Unicode class");
    return true;
}

/* One character written with a backslash, which is eaten already; its code in *ret. */
static bool escaped_char(struct re *r, uint32_t *ret)
{
    static const char letters[] = "afnrtv";
    static const char codes[] = "\a\f\n\r\t\v";
    if (end(r))
        return fail(r, "trailing backslash at end of expression");
    char c = peek(r, 0);
    r->at++;
    if (c >= '0' && c <= '7') {
        if (c != '0' && (peek(r, 0) < '0' || peek(r, 0) > '7'))
            return fail(r, "invalid escape sequence (back-references are not supported)");
        uint32_t v = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && peek(r, 0) >= '0' && peek(r, 0) <= '7'; i++, r->at++)
            v = v * 8 + (uint32_t)(peek(r, 0) - '0');
        *ret = v;
        return true;
    }
    if (c == 'x') {
        bool braces = eat(r, "{");
        uint32_t v = 0;
        size_t n = 0;
        for (; chr_hex(peek(r, 0)) >= 0 && (braces || n < 2); n++, r->at++) {
            v = v * 16 + (uint32_t)chr_hex(peek(r, 0));
            if (v > 0x10FFFF)
                return fail(r, "invalid escape sequence");
        }
        *ret = v;
        if (n == 0 || (!braces && n != 2) || (braces && !eat(r, "}")))
            return fail(r, "invalid escape sequence");
        return true;
    }
    const char *at = c ? strchr(letters, c) : NULL;
    *ret = at ? (uint32_t)codes[at - letters] : (uint32_t)(unsigned char)c;
    if (!at && ((unsigned char)c >= 0x80 || word_chr(c)) && c != '_')
        return fail(r, "invalid escape sequence");
    return true;
}

static bool perl_class(struct re *r)
{
    if (peek(r, 0) != '\\' || r->at + 1 >= r->s.len)
        return false;
    char c = peek(r, 1);
    if (c != 'd' && c != 'D' && c != 's' && c != 'S' && c != 'w' && c != 'W' && c != 'p' &&
        c != 'P')
        return false;
    r->at += 2;
    return c == 'p' || c == 'P' ? unicode_class(r) || true : true;
}

/* ---- [...] ---- */

static bool posix_class(struct re *r)
{
    static const char names[] =
        " alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit ";
    char spaced[16];
    str rest = str_sub(r->s, r->at + 2, r->s.len);
    ptrdiff_t close = str_find(rest, S(":]"));
    if (close < 0)
        return false;
    str name = str_sub(rest, 0, (size_t)close);
    size_t len = name.len;
    if (name.len && name.ptr[0] == '^')
        name = str_sub(name, 1, name.len);
    spaced[0] = ' ';
    if (name.len && name.len + 2 <= sizeof spaced) {
        memcpy(spaced + 1, name.ptr, name.len);
        spaced[name.len + 1] = ' ';
        if (str_find(str_c(names), str_n(spaced, name.len + 2)) >= 0) {
            r->at += 2 + len + 2;
            return true;
        }
    }
    return !fail(r, "invalid character class range");
}

static bool class_char(struct re *r, uint32_t *ret)
{
    if (end(r))
        return fail(r, "missing closing ]");
    if (eat(r, "\\"))
        return escaped_char(r, ret);
    size_t n = utf8_next(str_sub(r->s, r->at, 4));
    if (n == 0)
        return fail(r, "invalid UTF-8");
    *ret = utf8_decode(str_sub(r->s, r->at, n), n);
    r->at += n;
    return true;
}

/* After "[". */
static bool bracket(struct re *r)
{
    bool first = true;
    eat(r, "^");
    for (;; first = false) {
        if (end(r))
            return fail(r, "missing closing ]");
        if (peek(r, 0) == ']' && !first) {
            r->at++;
            return true;
        }
        if (peek(r, 0) == '[' && peek(r, 1) == ':' && posix_class(r)) {
            if (r->failed)
                return false;
            continue;
        }
        if (perl_class(r)) {
            if (r->failed)
                return false;
            continue;
        }
        uint32_t lo, hi;
        if (!class_char(r, &lo))
            return false;
        if (peek(r, 0) == '-' && r->at + 1 < r->s.len && peek(r, 1) != ']') {
            r->at++;
            if (!class_char(r, &hi))
                return false;
            if (hi < lo)
                return fail(r, "invalid character class range");
        }
    }
}

/* ---- groups ---- */

static bool group_name(struct re *r)
{
    ptrdiff_t close = str_chr(str_sub(r->s, r->at, r->s.len), '>');
    str name = str_sub(r->s, r->at, close < 0 ? 0 : (size_t)close);
    if (name.len == 0)
        return fail(r, "invalid named capture");
    for (size_t i = 0; i < name.len; i++)
        if (!word_chr(name.ptr[i]))
            return fail(r, "invalid named capture");
    for (size_t i = 0; i < r->n_names; i++)
        if (str_eq(r->names[i], name))
            return fail(r, "duplicate capture group name");
    if (r->n_names == NAMES_MAX)
        return fail(r, "too many named groups");
    r->names[r->n_names++] = name;
    r->at += name.len + 1;
    return true;
}

/* After "(?"; *ret_group is false for "(?flags)", which is no group. */
static bool group_kind(struct re *r, bool *ret_group)
{
    *ret_group = true;
    if (eat(r, "P<") ||
        (peek(r, 0) == '<' && peek(r, 1) != '=' && peek(r, 1) != '!' && eat(r, "<")))
        return group_name(r);
    bool minus = false, any = false;
    for (;; r->at++) {
        char c = peek(r, 0);
        if (c && strchr("imsU", c)) {
            any = true;
        } else if (c == '-' && !minus) {
            minus = true;
            any = false;
        } else if ((c == ':' || c == ')') && (!minus || any)) {
            *ret_group = c == ':';
            r->at++;
            return true;
        } else {
            return fail(r, "invalid or unsupported Perl syntax (look-around is not supported)");
        }
    }
}

static bool alternatives(struct re *r, uint64_t *ret_copies);

/* After "(". */
static bool group(struct re *r, struct atom *a)
{
    bool is_group = true;
    if (eat(r, "?") && !group_kind(r, &is_group))
        return false;
    a->is_operand = is_group;
    if (!is_group)
        return true;
    if (++r->depth > DEPTH_MAX)
        return fail(r, "expression nests too deeply");
    if (!alternatives(r, &a->copies))
        return false;
    r->depth--;
    return eat(r, ")") || fail(r, "missing closing )");
}

/* ---- repetition ---- */

static bool number(struct re *r, uint64_t *ret)
{
    size_t from = r->at;
    uint64_t v = 0;
    while (chr_digit(peek(r, 0))) {
        v = v > 100000 ? v : v * 10 + (uint64_t)(peek(r, 0) - '0');
        r->at++;
    }
    *ret = v;
    /* "01" is no count */
    return r->at > from && (r->at == from + 1 || r->s.ptr[from] != '0');
}

/* "{n}", "{n,}", "{n,m}"; anything else is literal text and nothing is eaten. */
static bool counted(struct re *r, uint64_t *lo, uint64_t *hi)
{
    size_t from = r->at;
    bool ok = eat(r, "{") && number(r, lo);
    *hi = *lo;
    if (ok && eat(r, ",")) {
        *hi = UINT64_MAX;
        if (peek(r, 0) != '}')
            ok = number(r, hi);
    }
    if (ok && eat(r, "}"))
        return true;
    r->at = from;
    return false;
}

/* Repetition operators behind an operand. */
static bool repeats(struct re *r, struct atom *a)
{
    bool before = false;
    for (;;) {
        uint64_t lo = 0, hi = 0;
        bool star = peek(r, 0) && strchr("*+?", peek(r, 0)) != NULL;
        if (!star && !(peek(r, 0) == '{' && counted(r, &lo, &hi)))
            return true;
        if (star)
            r->at++;
        if (!a->is_operand)
            return fail(r, "missing argument to repetition operator");
        if (before)
            return fail(r, "invalid nested repetition operator");
        before = true;
        eat(r, "?");
        if (star)
            continue;
        uint64_t n = hi == UINT64_MAX ? lo : hi;
        if (n > REPEAT_MAX || lo > hi)
            return fail(r, "invalid repeat count");
        if (n > 1)
            a->copies *= n;
        if (a->copies > REPEAT_MAX)
            return fail(r, "invalid repeat count");
    }
}

static bool escape(struct re *r)
{
    uint32_t c;
    if (perl_class(r))
        return !r->failed;
    r->at++;
    if (peek(r, 0) && strchr("AbBz", peek(r, 0))) {
        r->at++;
        return true;
    }
    if (eat(r, "Q")) {
        ptrdiff_t close = str_find(str_sub(r->s, r->at, r->s.len), S("\\E"));
        r->at = close < 0 ? r->s.len : r->at + (size_t)close + 2;
        return true;
    }
    return escaped_char(r, &c);
}

static bool atom(struct re *r, struct atom *a)
{
    *a = (struct atom){ true, 1 };
    char c = peek(r, 0);
    if (c == '(') {
        r->at++;
        return group(r, a);
    }
    if (c == '[') {
        r->at++;
        return bracket(r);
    }
    if (c == '\\')
        return escape(r);
    if (c == '*' || c == '+' || c == '?') {
        a->is_operand = false; /* repeats() says what is missing */
        return true;
    }
    size_t n = utf8_next(str_sub(r->s, r->at, 4));
    if (n == 0)
        return fail(r, "invalid UTF-8");
    uint64_t lo, hi;
    if (c == '{' && counted(r, &lo, &hi))
        return fail(r, "missing argument to repetition operator");
    r->at += n;
    return true;
}

/* Up to ")" or the end; *ret_copies is the largest count inside. */
static bool alternatives(struct re *r, uint64_t *ret_copies)
{
    *ret_copies = 1;
    while (!end(r) && peek(r, 0) != ')') {
        if (eat(r, "|"))
            continue;
        struct atom a;
        if (!atom(r, &a) || !repeats(r, &a))
            return false;
        if (a.copies > *ret_copies)
            *ret_copies = a.copies;
    }
    return true;
}

int re2_check(str pattern, struct error *e)
{
    struct re r = { .s = pattern, .e = e };
    uint64_t copies;
    if (alternatives(&r, &copies) && !end(&r))
        fail(&r, "unexpected )");
    return r.failed ? ERR_SYNTAX : 0;
}
