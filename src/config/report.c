/* report.c: see report.h. */
#include "config/report.h"

#define ENTRIES_MAX 1000
#define TEXT_MAX ((size_t)8 * 1024 * 1024)

void config_report_init(struct config_report *r)
{
    *r = (struct config_report){ 0 };
    arena_init(&r->arena, TEXT_MAX);
}

void config_report_fini(struct config_report *r)
{
    arena_fini(&r->arena);
    free(r->at);
    *r = (struct config_report){ 0 };
}

static bool same(const struct config_issue *a, const struct config_issue *b)
{
    return a->error == b->error && a->line == b->line && a->col == b->col &&
           str_eq(a->text, b->text) && str_eq(a->file, b->file);
}

void config_report_add(struct config_report *r, const struct config_issue *i)
{
    for (size_t k = 0; k < r->len; k++)
        if (same(&r->at[k], i))
            return;
    if (i->error)
        r->errors++;
    else
        r->warnings++;
    if (r->len >= ENTRIES_MAX)
        return;
    struct config_issue copy = *i;
    const str *const from[] = { &i->file, &i->key, &i->text, &i->hint };
    str *const to[] = { &copy.file, &copy.key, &copy.text, &copy.hint };
    for (size_t k = 0; k < ARRAY_LEN(to); k++) {
        *to[k] = arena_try_dup(&r->arena, *from[k]);
        if (!to[k]->ptr)
            return; /* counted is enough */
    }
    if (r->len == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->at = mem_resize(r->at, r->cap, sizeof *r->at);
    }
    r->at[r->len++] = copy;
}

/* Text of a file may hold anything; a message is one line and harmless on a terminal. */
static void add_printable(struct strbuf *out, str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '\n')
            strbuf_add(out, S("\\n"));
        else if (c < 0x20 || c == 0x7f)
            strbuf_addf(out, "\\x%02x", c);
        else
            strbuf_addc(out, (char)c);
    }
}

void config_issue_print(const struct config_issue *i, struct strbuf *out)
{
    if (i->file.len) {
        add_printable(out, i->file);
        if (i->line)
            strbuf_addf(out, ":%u:%u", i->line, i->col);
        strbuf_add(out, S(": "));
    }
    strbuf_add(out, i->error ? S("error: ") : S("warning: "));
    add_printable(out, i->text);
    if (i->key.len) {
        strbuf_add(out, S(" ["));
        add_printable(out, i->key);
        strbuf_addc(out, ']');
    }
    strbuf_addc(out, '\n');
    if (i->hint.len) {
        strbuf_add(out, S("    "));
        add_printable(out, i->hint);
        strbuf_addc(out, '\n');
    }
}

void config_report_print(const struct config_report *r, struct strbuf *out)
{
    for (size_t i = 0; i < r->len; i++)
        config_issue_print(&r->at[i], out);
    if (r->errors + r->warnings > r->len)
        strbuf_addf(out, "(%zu more not shown)\n", r->errors + r->warnings - r->len);
    strbuf_addf(out, "%zu error%s, %zu warning%s\n", r->errors, r->errors == 1 ? "" : "s",
                r->warnings, r->warnings == 1 ? "" : "s");
}
