/* logmon.c: see logmon.h. */
#include "proxy/logmon.h"

#include "base/clock.h"
#include "io/sink.h"

#include <stdio.h>
#include <time.h>

void log_monitor_init(struct log_monitor *m, struct log_monitor *up)
{
    ring_init(&m->ring, LOGMON_RING);
    list_init(&m->subs);
    m->up = up;
}

void log_monitor_fini(struct log_monitor *m)
{
    LIST_FOREACH(it, &m->subs) {
        struct log_sub *sub = LIST_ENTRY(it, struct log_sub, node);
        list_remove(it);
        if (sub->over)
            sub->over(sub->ud);
    }
    ring_fini(&m->ring);
}

void log_monitor_write(struct log_monitor *m, str bytes)
{
    for (; m; m = m->up) {
        ring_write(&m->ring, bytes);
        LIST_FOREACH(it, &m->subs) {
            struct log_sub *sub = LIST_ENTRY(it, struct log_sub, node);
            sub->fn(sub->ud, bytes);
        }
    }
}

void log_monitor_subscribe(struct log_monitor *m, struct log_sub *sub)
{
    list_push_back(&m->subs, &sub->node);
}

void log_monitor_unsubscribe(struct log_sub *sub)
{
    list_remove(&sub->node);
}

/* strftime shapes of the names in config.md 9.6; %N is replaced by `frac` digits, trimmed for rfc3339nano. */
static const struct {
    const char *name, *shape;
    int frac;
    bool colon_zone;
} shapes[] = {
    { "ansic", "%a %b %e %H:%M:%S %Y", 0, false },
    { "unixdate", "%a %b %e %H:%M:%S %Z %Y", 0, false },
    { "rubydate", "%a %b %d %H:%M:%S %z %Y", 0, false },
    { "rfc822", "%d %b %y %H:%M %Z", 0, false },
    { "rfc822z", "%d %b %y %H:%M %z", 0, false },
    { "rfc850", "%A, %d-%b-%y %H:%M:%S %Z", 0, false },
    { "rfc1123", "%a, %d %b %Y %H:%M:%S %Z", 0, false },
    { "rfc1123z", "%a, %d %b %Y %H:%M:%S %z", 0, false },
    { "rfc3339", "%Y-%m-%dT%H:%M:%S", 0, true },
    { "rfc3339nano", "%Y-%m-%dT%H:%M:%S", -9, true },
    { "kitchen", "%I:%M%p", 0, false },
    { "stamp", "%b %e %H:%M:%S", 0, false },
    { "stampmilli", "%b %e %H:%M:%S", 3, false },
    { "stampmicro", "%b %e %H:%M:%S", 6, false },
    { "stampnano", "%b %e %H:%M:%S", 9, false },
};

static void add_fraction(struct strbuf *out, int digits, int32_t nsec)
{
    char frac[16];
    snprintf(frac, sizeof frac, "%09d", (int)nsec);
    size_t n = (size_t)(digits < 0 ? -digits : digits);
    if (digits < 0) {
        while (n > 0 && frac[n - 1] == '0')
            n--;
    }
    if (n > 0) {
        strbuf_addc(out, '.');
        strbuf_add(out, str_n(frac, n));
    }
}

void logmon_stamp(struct strbuf *out, const char *name, int64_t sec, int32_t nsec)
{
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        if (!str_ieq(str_c(name), str_c(shapes[i].name)))
            continue;
        struct tm tm;
        time_t t = (time_t)sec;
        if (!localtime_r(&t, &tm))
            return;
        char text[80];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* from the table above */
        size_t n = strftime(text, sizeof text, shapes[i].shape, &tm);
#pragma GCC diagnostic pop
        str shown = str_n(text, n);
        if (str_ieq(str_c(name), S("kitchen")) && shown.len && shown.ptr[0] == '0')
            shown = str_sub(shown, 1, shown.len);
        strbuf_add(out, shown);
        if (shapes[i].frac)
            add_fraction(out, shapes[i].frac, nsec);
        if (shapes[i].colon_zone) {
            long off = tm.tm_gmtoff;
            if (off == 0)
                strbuf_addc(out, 'Z');
            else
                strbuf_addf(out, "%c%02ld:%02ld", off < 0 ? '-' : '+', labs(off) / 3600, labs(off) % 3600 / 60);
        }
        strbuf_addc(out, ' ');
        return;
    }
}

static void on_line(void *ud, enum log_level level, str scope, str text)
{
    struct logmon *lm = ud;
    struct strbuf b = STRBUF(8192);
    if (lm->time_format[0]) {
        struct wall w = clock_wall();
        logmon_stamp(&b, lm->time_format, w.sec, w.nsec);
    }
    strbuf_addf(&b, "[%s] ", log_level_name(level));
    if (scope.len)
        strbuf_addf(&b, STR_FMT ": ", STR_ARG(scope));
    strbuf_add(&b, text);
    strbuf_addc(&b, '\n');
    log_monitor_write(&lm->proxy, strbuf_str(&b));
    strbuf_fini(&b);
}

static void to_sink(void *ud, str bytes)
{
    io_sink_write(ud, bytes);
}

void logmon_init(struct logmon *lm, enum log_stdout mode, struct io_sink *sink)
{
    log_monitor_init(&lm->combined, NULL);
    log_monitor_init(&lm->proxy, mode == LOG_STDOUT_PROXY || mode == LOG_STDOUT_BOTH ? &lm->combined : NULL);
    log_monitor_init(&lm->upstream, mode == LOG_STDOUT_UPSTREAM || mode == LOG_STDOUT_BOTH ? &lm->combined : NULL);
    lm->sink = sink;
    lm->time_format[0] = '\0';
    if (sink) {
        lm->sink_sub = (struct log_sub){ .fn = to_sink, .ud = sink };
        log_monitor_subscribe(&lm->combined, &lm->sink_sub);
    }
    log_set_sink(on_line, lm);
}

void logmon_fini(struct logmon *lm)
{
    log_set_sink(NULL, NULL);
    log_monitor_fini(&lm->upstream);
    log_monitor_fini(&lm->proxy);
    log_monitor_fini(&lm->combined);
}

void logmon_set_time_format(struct logmon *lm, str name)
{
    name = str_trim(name);
    lm->time_format[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        if (str_ieq(name, str_c(shapes[i].name)))
            snprintf(lm->time_format, sizeof lm->time_format, "%s", shapes[i].name);
}
