/* cmdline.c: see cmdline.h. */
#include "config/cmdline.h"

#include "base/utf8.h"

/* White space as Unicode has it (property White_Space). */
static bool wide_space(uint32_t c)
{
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static size_t space_at_start(str s)
{
    if (s.len && chr_space(s.ptr[0]))
        return 1;
    size_t n = utf8_next(str_sub(s, 0, 4));
    return n > 1 && wide_space(utf8_decode(s, n)) ? n : 0;
}

static size_t space_at_end(str s)
{
    if (s.len && chr_space(s.ptr[s.len - 1]))
        return 1;
    for (size_t n = 2; n <= 3 && n <= s.len; n++) {
        str tail = str_sub(s, s.len - n, n);
        if (utf8_next(tail) == n)
            return wide_space(utf8_decode(tail, n)) ? n : 0;
    }
    return 0;
}

static str trim_wide(str s)
{
    size_t n;
    while ((n = space_at_start(s)) > 0)
        s = str_sub(s, n, s.len);
    while ((n = space_at_end(s)) > 0)
        s = str_sub(s, 0, s.len - n);
    return s;
}

/* Next line without its LF; false after the last one ("a\n" has two lines). */
static bool next_line(str *rest, bool *more, str *line)
{
    if (!*more)
        return false;
    *more = str_cut(*rest, '\n', line, rest);
    return true;
}

str cmdline_strip_comments(struct arena *a, str text)
{
    str rest = text, line;
    bool more = true, found = false;
    while (next_line(&rest, &more, &line))
        found |= str_starts(trim_wide(line), S("#"));
    if (!found)
        return text;
    char *out = arena_try(a, text.len + 1);
    size_t len = 0;
    bool first = true;
    rest = text;
    more = true;
    while (out && next_line(&rest, &more, &line)) {
        if (str_starts(trim_wide(line), S("#")))
            continue;
        if (!first)
            out[len++] = '\n';
        first = false;
        if (line.len)
            memcpy(out + len, line.ptr, line.len);
        len += line.len;
    }
    return str_n(out, out ? len : 0);
}

/* Comment lines dropped, continuation lines opened; `out` has room for the text. */
static str join_lines(str text, char *out)
{
    size_t len = 0;
    bool more = true, first = true;
    str line;
    while (next_line(&text, &more, &line)) {
        str t = trim_wide(line);
        if (str_starts(t, S("#")))
            continue;
        bool goes_on = str_ends(t, S("\\"));
        if (goes_on)
            line = t;
        if (!first)
            out[len++] = '\n';
        first = false;
        if (line.len)
            memcpy(out + len, line.ptr, line.len);
        len += line.len;
        if (goes_on)
            out[len - 1] = ' ';
    }
    return str_n(out, len);
}

struct splitter {
    str in;
    size_t at;
    char *out; /* words are written here, NUL-ended; never longer than the input plus one */
    size_t len;
    bool in_word;
};

static void put(struct splitter *s, char c)
{
    s->out[s->len++] = c;
    s->in_word = true;
}

/* After the opening quote; stops behind the closing one or at the end. */
static void quoted(struct splitter *s, char quote)
{
    s->in_word = true;
    while (s->at < s->in.len) {
        char c = s->in.ptr[s->at++];
        if (c == quote)
            return;
        if (quote == '"' && c == '\\' && s->at < s->in.len) {
            char n = s->in.ptr[s->at];
            if (n == '$' || n == '`' || n == '"' || n == '\\' || n == '\n') {
                s->at++;
                if (n != '\n')
                    put(s, n);
                continue;
            }
        }
        put(s, c);
    }
}

/* One word into out; false at the end of the text. */
static bool next_word(struct splitter *s)
{
    s->in_word = false;
    while (s->at < s->in.len) {
        char c = s->in.ptr[s->at++];
        if (c == ' ' || c == '\t' || c == '\n') {
            if (s->in_word)
                return true;
        } else if (c == '\'' || c == '"') {
            quoted(s, c);
        } else if (c == '\\') {
            if (s->at == s->in.len)
                break;
            c = s->in.ptr[s->at++];
            if (c != '\n')
                put(s, c);
        } else {
            put(s, c);
        }
    }
    return s->in_word;
}

int cmdline_split(struct arena *a, str cmd, str **ret_argv, size_t *ret_n, struct error *e)
{
    /* n bytes hold at most (n + 1) / 2 words, or n / 2 empty ones */
    size_t words_max = cmd.len / 2 + 1, n = 0;
    if (str_chr(cmd, '\0') >= 0)
        return error_set(e, ERR_SYNTAX, "the command holds a NUL byte");
    char *joined = arena_try(a, cmd.len + 1);
    char *out = arena_try(a, cmd.len + words_max + 1);
    if (!joined || !out)
        return error_set(e, ERR_LIMIT, "command too long");
    struct splitter s = { .in = join_lines(cmd, joined), .out = out };
    size_t start = 0;
    while (next_word(&s)) {
        n++;
        s.out[s.len++] = '\0';
    }
    if (n == 0)
        return error_set(e, ERR_SYNTAX, "empty command");
    str *argv = arena_try(a, n * sizeof *argv);
    if (!argv)
        return error_set(e, ERR_LIMIT, "command too long");
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(out + start);
        argv[i] = str_n(out + start, len);
        start += len + 1;
    }
    *ret_argv = argv;
    *ret_n = n;
    return 0;
}
