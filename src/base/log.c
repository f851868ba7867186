/* log.c: see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#define LINE_MAX_BYTES 4096

static log_sink *the_sink;
static void *the_ud;
static enum log_level least = LOG_INFO;

void log_set_sink(log_sink *sink, void *ud)
{
    the_sink = sink;
    the_ud = ud;
}

void log_set_level(enum log_level level)
{
    least = level;
}

bool log_enabled(enum log_level level)
{
    return level >= least;
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = { "DEBUG", "INFO", "WARN", "ERROR" };
    return names[level];
}

/* Control characters become \xNN so that a peer cannot forge lines or move the cursor, those of Latin 1 in UTF-8 (C2 80 to
 * C2 9F) among them. */
static size_t escape(char *out, size_t max, const char *in, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    size_t w = 0;
    unsigned char last = 0;
    for (size_t i = 0; i < n && w + 4 < max; last = (unsigned char)in[i++]) {
        unsigned char c = (unsigned char)in[i];
        if (c >= 0x20 && c != 0x7F && !(last == 0xC2 && c >= 0x80 && c < 0xA0)) {
            out[w++] = (char)c;
        } else {
            out[w++] = '\\';
            out[w++] = 'x';
            out[w++] = hex[c >> 4];
            out[w++] = hex[c & 15];
        }
    }
    return w;
}

void log_write(enum log_level level, const char *scope, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    char raw[LINE_MAX_BYTES], text[LINE_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1;
    str line = str_n(text, escape(text, sizeof text, raw, len));
    if (the_sink) {
        the_sink(the_ud, level, str_c(scope), line);
        return;
    }
    fprintf(stderr, "[%s] %s: " STR_FMT "\n", log_level_name(level), scope, STR_ARG(line));
}
