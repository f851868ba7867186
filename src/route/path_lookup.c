/* path_lookup.c: see path_lookup.h. */
#include "route/path_lookup.h"

/* One character of an escaped path at s[*i]; moves *i behind it. */
static bool next_char(str s, size_t *i, char *ret)
{
    char c = s.ptr[*i];
    if (c != '%') {
        *ret = c;
        (*i)++;
        return true;
    }
    if (s.len - *i < 3)
        return false;
    int high = chr_hex(s.ptr[*i + 1]), low = chr_hex(s.ptr[*i + 2]);
    if (high < 0 || low < 0)
        return false;
    *ret = (char)(high << 4 | low);
    *i += 3;
    return true;
}

static int bad_escape(struct error *e)
{
    return error_set(e, ERR_SYNTAX, "malformed escape in the path");
}

int path_decode(struct arena *a, str s, str *ret, struct error *e)
{
    if (str_chr(s, '%') < 0) {
        *ret = s;
        return 0;
    }
    char *to = arena_try(a, s.len);
    size_t n = 0;
    if (!to)
        return error_set(e, ERR_LIMIT, NULL);
    for (size_t i = 0; i < s.len;)
        if (!next_char(s, &i, &to[n++]))
            return bad_escape(e);
    *ret = str_n(to, n);
    return 0;
}

struct walk {
    const struct path_names *names;
    str tail;
    char *plain, *joined; /* decoded path; segments of it joined, empty ones left out */
    size_t n_plain, n_joined;
    size_t segment; /* where the present one begins in `plain` */
    /* the longest match so far */
    bool found, bare;
    str id;
    size_t name_len, rest_at, forward_at;
};

/* A segment ends at plain[n_plain]; `behind` is where the tail goes on after its slash. */
static void end_segment(struct walk *w, size_t behind, bool last)
{
    size_t len = w->n_plain - w->segment;
    if (len == 0)
        return;
    if (w->n_joined)
        w->joined[w->n_joined++] = '/';
    memcpy(w->joined + w->n_joined, w->plain + w->segment, len);
    w->n_joined += len;
    str id;
    if (w->n_joined > w->names->longest ||
        !w->names->known(w->names->ud, str_n(w->joined, w->n_joined), &id))
        return;
    w->found = true;
    w->bare = last;
    w->id = id;
    w->name_len = w->n_joined;
    w->rest_at = w->n_plain;
    w->forward_at = behind;
}

static bool walk_tail(struct walk *w)
{
    for (size_t i = 0; i < w->tail.len;) {
        char c;
        if (!next_char(w->tail, &i, &c))
            return false;
        if (c == '/')
            end_segment(w, i, false);
        w->plain[w->n_plain++] = c;
        if (c == '/')
            w->segment = w->n_plain;
    }
    end_segment(w, w->tail.len, true);
    return true;
}

/* The part of the tail behind the name, with a slash in front of it. */
static str forward_of(struct arena *a, const struct walk *w)
{
    size_t at = w->forward_at;
    if (at > 0 && w->tail.ptr[at - 1] == '/')
        return str_sub(w->tail, at - 1, SIZE_MAX);
    char *to = arena_try(a, w->tail.len - at + 1);
    if (!to)
        return STR_NONE;
    to[0] = '/';
    memcpy(to + 1, w->tail.ptr + at, w->tail.len - at);
    return str_n(to, w->tail.len - at + 1);
}

int path_lookup(struct arena *a, str tail, const struct path_names *names, struct path_match *ret,
                struct error *e)
{
    struct walk w = { .names = names, .tail = tail };
    w.plain = arena_try(a, tail.len + 1);
    w.joined = arena_try(a, tail.len + 1);
    if (!w.plain || !w.joined)
        return error_set(e, ERR_LIMIT, NULL);
    if (!walk_tail(&w))
        return bad_escape(e);
    if (!w.found)
        return error_set(e, ERR_NOTFOUND, "model not found");
    str rest = str_sub(str_n(w.plain, w.n_plain), w.rest_at, SIZE_MAX);
    *ret = (struct path_match){ .name = str_n(w.joined, w.name_len),
                                .id = w.id,
                                .bare = w.bare,
                                .rest = w.bare ? S("/") : rest,
                                .forward = w.bare ? S("/") : forward_of(a, &w) };
    return ret->forward.ptr ? 0 : error_set(e, ERR_LIMIT, NULL);
}

void path_encode(struct strbuf *out, str name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool plain = chr_digit((char)c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c && strchr("-._~!$&'()*+,;=:@/", c));
        if (plain)
            strbuf_addc(out, (char)c);
        else
            strbuf_addf(out, "%%%02X", c);
    }
}
