/* error.c: see error.h. */
#include "base/error.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    int code;
    int status;
    const char *name;
    const char *text;
} table[] = {
#define ERR(name, num, status, text) { -(num), status, "ERR_" #name, text },
#include "base/errors.def"
#undef ERR
};

static int find(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].code == code)
            return (int)i;
    return -1;
}

const char *err_name(int code)
{
    int i = find(code);
    return code == 0 ? "ERR_OK" : i < 0 ? "ERR_?" : table[i].name;
}

const char *err_text(int code)
{
    int i = find(code);
    return i < 0 ? "unknown error" : table[i].text;
}

int err_status(int code)
{
    int i = find(code);
    return i < 0 ? 500 : table[i].status;
}

static void cut(struct error *e)
{
    e->msg[utf8_cut(str_c(e->msg), sizeof e->msg - 1)] = '\0';
}

/* Appends ": text" at n, as much of it as fits. */
static void append(struct error *e, int n, const char *text)
{
    if (n < 0 || (size_t)n + 3 > sizeof e->msg)
        return;
    size_t at = (size_t)n, len = strlen(text), room = sizeof e->msg - at - 3;
    memcpy(e->msg + at, ": ", 2);
    memcpy(e->msg + at + 2, text, len < room ? len : room);
    e->msg[at + 2 + (len < room ? len : room)] = '\0';
}

int error_set(struct error *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    e->code = code;
    e->sys = 0;
    if (!fmt) {
        snprintf(e->msg, sizeof e->msg, "%s", err_text(code));
        return code;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    cut(e);
    return code;
}

int error_sys(struct error *e, int code, int errnum, const char *fmt, ...)
{
    if (!e)
        return code;
    e->code = code;
    e->sys = errnum;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    append(e, n, strerror(errnum < 0 ? -errnum : errnum));
    cut(e);
    return code;
}

int error_wrap(struct error *e, const char *fmt, ...)
{
    if (!e)
        return ERR_INTERNAL;
    char old[sizeof e->msg];
    memcpy(old, e->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    append(e, n, old);
    cut(e);
    return e->code;
}
