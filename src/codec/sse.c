/* sse.c: see sse.h. */
#include "codec/sse.h"

#define NAME_MAX_LEN 255

void sse_init(struct sse *s, size_t max)
{
    *s = (struct sse){ .max = max };
    /* One line is a field name and a colon longer than its data. */
    s->line = STRBUF(max + 64);
    s->data = STRBUF(max);
    s->name = STRBUF(NAME_MAX_LEN);
    s->id = STRBUF(NAME_MAX_LEN);
}

void sse_fini(struct sse *s)
{
    strbuf_fini(&s->line);
    strbuf_fini(&s->data);
    strbuf_fini(&s->name);
    strbuf_fini(&s->id);
}

static void set_short(struct strbuf *b, str v)
{
    strbuf_clear(b);
    strbuf_add(b, str_sub(v, 0, NAME_MAX_LEN));
}

static void field(struct sse *s, str name, str value)
{
    if (str_eq(name, S("data"))) {
        if (s->any && !strbuf_addc(&s->data, '\n'))
            s->over = true;
        s->any = true;
        if (!strbuf_add(&s->data, value))
            s->over = true;
    } else if (str_eq(name, S("event"))) {
        set_short(&s->name, value);
    } else if (str_eq(name, S("id")) && str_chr(value, '\0') < 0) {
        set_short(&s->id, value);
    }
}

/* An empty line ends the event. */
static bool dispatch(struct sse *s, sse_fn *fn, void *ud)
{
    bool more = true;
    if (s->over) {
        s->dropped++;
    } else if (s->any) {
        struct sse_event ev = { strbuf_str(&s->name), strbuf_str(&s->data), strbuf_str(&s->id) };
        s->events++;
        more = fn(ud, &ev);
    }
    strbuf_clear(&s->data);
    strbuf_clear(&s->name);
    s->any = s->over = false;
    return more;
}

static bool end_line(struct sse *s, str line, sse_fn *fn, void *ud)
{
    bool first = !s->started;
    s->started = true;
    if (first && str_starts(line, S("\xef\xbb\xbf")))
        line = str_sub(line, 3, line.len);
    if (s->line.full)
        s->over = true;
    else if (line.len == 0)
        return dispatch(s, fn, ud);
    str name, value;
    str_cut(line, ':', &name, &value);
    if (value.len && value.ptr[0] == ' ')
        value = str_sub(value, 1, value.len);
    if (name.len && !s->line.full)
        field(s, name, value);
    return true;
}

static size_t line_len(str s)
{
    size_t i = 0;
    while (i < s.len && s.ptr[i] != '\n' && s.ptr[i] != '\r')
        i++;
    return i;
}

size_t sse_feed(struct sse *s, str bytes, sse_fn *fn, void *ud)
{
    size_t at = 0;
    while (at < bytes.len) {
        if (s->cr && bytes.ptr[at] == '\n') {
            s->cr = false;
            at++;
            continue;
        }
        s->cr = false;
        str rest = str_sub(bytes, at, bytes.len);
        size_t n = line_len(rest);
        if (n == rest.len) {
            if (!s->line.full)
                strbuf_add(&s->line, rest); /* too long: marked full, dropped at its end */
            return bytes.len;
        }
        s->cr = rest.ptr[n] == '\r';
        at += n + 1;
        str line = str_sub(rest, 0, n);
        if (s->line.len || s->line.full || n > s->line.max) {
            if (!s->line.full)
                strbuf_add(&s->line, line);
            line = strbuf_str(&s->line);
        }
        bool more = end_line(s, line, fn, ud);
        strbuf_clear(&s->line);
        if (!more)
            return at;
    }
    return at;
}

bool sse_write(struct strbuf *out, str name, str data)
{
    bool ok = true;
    if (name.len && line_len(name) == name.len)
        ok = strbuf_add(out, S("event: ")) && strbuf_add(out, name) && strbuf_addc(out, '\n');
    for (;;) {
        size_t n = line_len(data);
        ok = ok && strbuf_add(out, S("data: ")) && strbuf_add(out, str_sub(data, 0, n)) && strbuf_addc(out, '\n');
        if (n == data.len)
            break;
        bool crlf = data.ptr[n] == '\r' && n + 1 < data.len && data.ptr[n + 1] == '\n';
        data = str_sub(data, n + (crlf ? 2 : 1), data.len);
    }
    return ok && strbuf_addc(out, '\n');
}
