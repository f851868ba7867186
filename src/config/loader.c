/* loader.c: messages with places, and memory of the loader; see load.h. */
#include "config/load.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>

#define TEXT_MAX 1000

static size_t path_add(const struct cpath *p, char *out, size_t size)
{
    size_t len = p->up ? path_add(p->up, out, size) : 0;
    int n;
    if (p->index >= 0)
        n = snprintf(out + len, size - len, "[%ld]", p->index);
    else
        n = snprintf(out + len, size - len, "%s%.*s", len ? "." : "",
                     (int)(p->key.len > 100 ? 100 : p->key.len), p->key.len ? p->key.ptr : "");
    if (n < 0)
        return len;
    return len + (size_t)n < size ? len + (size_t)n : size - 1;
}

static str path_text(const struct cpath *p, char *out, size_t size)
{
    size_t len = p ? path_add(p, out, size) : 0;
    return str_n(out, utf8_cut(str_n(out, len), len));
}

str cpath_text(struct loader *l, const struct cpath *path)
{
    char buf[TEXT_MAX];
    str s = arena_try_dup(&l->scratch, path_text(path, buf, sizeof buf));
    return s.ptr ? s : S("");
}

uint32_t load_column(const struct cfile *f, uint32_t line, uint32_t col)
{
    for (size_t i = f->n_shifts; i-- > 0;) {
        const struct shift *s = &f->shifts[i];
        if (s->line == line && s->from <= col)
            return col < s->to ? s->old_from : col - s->to + s->old_to;
    }
    return col;
}

static void add(struct loader *l, bool error, str file, uint32_t line, uint32_t col,
                const struct cpath *path, const char *hint, const char *fmt, va_list ap)
    PRINTF_LIKE(8, 0);
static void add_node(struct loader *l, bool error, const struct ynode *at, const struct cpath *path,
                     const char *hint, const char *fmt, va_list ap) PRINTF_LIKE(6, 0);

static void add(struct loader *l, bool error, str file, uint32_t line, uint32_t col,
                const struct cpath *path, const char *hint, const char *fmt, va_list ap)
{
    char text[TEXT_MAX], key[TEXT_MAX];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    struct config_issue i = {
        .error = error,
        .file = file,
        .line = line,
        .col = col,
        .key = path_text(path, key, sizeof key),
        .text = str_n(text, utf8_cut(str_n(text, len), len)),
        .hint = str_c(hint),
    };
    config_report_add(l->report, &i);
}

static void add_node(struct loader *l, bool error, const struct ynode *at, const struct cpath *path,
                     const char *hint, const char *fmt, va_list ap)
{
    if (!at || at->file >= l->n_files) {
        add(l, error, STR_NONE, 0, 0, path, hint, fmt, ap);
        return;
    }
    const struct cfile *f = &l->files[at->file];
    add(l, error, f->name, at->line, load_column(f, at->line, at->col), path, hint, fmt, ap);
}

void load_error(struct loader *l, const struct ynode *at, const struct cpath *path,
                const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_node(l, true, at, path, hint, fmt, ap);
    va_end(ap);
}

void load_warn(struct loader *l, const struct ynode *at, const struct cpath *path, const char *hint,
               const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_node(l, false, at, path, hint, fmt, ap);
    va_end(ap);
}

void load_error_at(struct loader *l, str file, uint32_t line, uint32_t col, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(l, true, file, line, col, NULL, NULL, fmt, ap);
    va_end(ap);
}

void load_full(struct loader *l)
{
    if (!l->full)
        load_error(l, NULL, NULL,
                   "look for macros that multiply each other, or for very large values",
                   "the configuration is too large once everything is expanded");
    l->full = true;
}

str load_text(struct loader *l, const char *fmt, ...)
{
    char small[512];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    char *out = n < 0 ? NULL : arena_try(&l->scratch, (size_t)n + 1);
    if (out)
        vsnprintf(out, (size_t)n + 1, fmt, again);
    else
        load_full(l);
    va_end(again);
    return out ? str_n(out, (size_t)n) : S("");
}

const char *load_cstr(struct loader *l, str s)
{
    if (str_chr(s, '\0') >= 0)
        return NULL;
    str d = arena_try_dup(&l->scratch, s);
    if (!d.ptr)
        load_full(l);
    return d.ptr;
}

str load_quote(struct loader *l, str s)
{
    size_t n = utf8_cut(s, 80);
    return load_text(l, "\"%.*s%s\"", (int)n, n ? s.ptr : "", n < s.len ? "..." : "");
}

str load_keep(struct loader *l, str s)
{
    str d = arena_try_dup(l->out, s);
    if (!d.ptr)
        load_full(l);
    return d.ptr ? d : S("");
}

void *load_keep_array(struct loader *l, size_t n, size_t size)
{
    size_t total;
    void *p = __builtin_mul_overflow(n, size, &total) ? NULL : arena_try(l->out, total);
    if (!p)
        load_full(l);
    return p;
}
