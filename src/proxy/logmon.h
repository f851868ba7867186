/* logmon.h: the log monitors: combined, proxy, upstream, and one per model.
 *
 * What: each keeps the last 100 KiB and feeds live subscribers. Our own lines go to `proxy`, the models' raw
 *       output to the model's monitor and to `upstream`; logToStdout decides which of the two reach `combined`
 *       and stdout. The ring is written first, the descriptor last, so that a stuck stdout loses nothing here.
 * Order: subscribers are called from log_monitor_write, in order of subscription; they must not block and may
 *        unsubscribe themselves.
 */
#ifndef LUASWAP_PROXY_LOGMON_H
#define LUASWAP_PROXY_LOGMON_H

#include "base/list.h"
#include "base/log.h"
#include "base/ring.h"
#include "base/strbuf.h"

#define LOGMON_RING (100u * 1024)

struct log_monitor {
    struct ring ring;
    struct list subs;
    struct log_monitor *up; /* also written */
};

struct log_sub {
    struct list node;
    void (*fn)(void *ud, str bytes);
    void (*over)(void *ud); /* the monitor ends (its model was removed); may be NULL */
    void *ud;
};

enum log_stdout { LOG_STDOUT_PROXY, LOG_STDOUT_UPSTREAM, LOG_STDOUT_BOTH, LOG_STDOUT_NONE };

struct logmon {
    struct log_monitor combined, proxy, upstream;
    struct io_sink *sink;
    struct log_sub sink_sub;
    char time_format[16]; /* lower case name of config.md 9.6, "" = none */
};

void log_monitor_init(struct log_monitor *m, struct log_monitor *up);
void log_monitor_fini(struct log_monitor *m);
void log_monitor_write(struct log_monitor *m, str bytes);
void log_monitor_subscribe(struct log_monitor *m, struct log_sub *sub);
void log_monitor_unsubscribe(struct log_sub *sub); /* harmless when not subscribed */

/* Takes over the process's log sink; sink (may be NULL) gets what `combined` gets. */
void logmon_init(struct logmon *lm, enum log_stdout mode, struct io_sink *sink);
void logmon_fini(struct logmon *lm);
void logmon_set_time_format(struct logmon *lm, str name);
/* Appends the stamp for `name` (any case) and a space; nothing for an unknown name. Local time. */
void logmon_stamp(struct strbuf *out, const char *name, int64_t sec, int32_t nsec);

#endif
