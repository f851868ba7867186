/* log.h: leveled messages with a scope.
 *
 * What: one process-wide sink, set by the program (the specs set their own). Without a sink messages go
 *       to stderr. A scope names what the message is about: "proc llama-8b", "http", "config".
 * Not:  files, rings and subscribers (proxy/logmon.h is the sink of the program).
 * Who:  the pure layers (codec, sched, route, config) never log; they return errors.
 */
#ifndef LUASWAP_BASE_LOG_H
#define LUASWAP_BASE_LOG_H

#include "base/mem.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* `text` is one line without newline, valid only during the call; control characters are already
 * escaped (peers choose parts of it). */
typedef void log_sink(void *ud, enum log_level level, str scope, str text);

void log_set_sink(log_sink *sink, void *ud); /* NULL: stderr again */
void log_set_level(enum log_level least);
bool log_enabled(enum log_level level);
const char *log_level_name(enum log_level level); /* "DEBUG" "INFO" "WARN" "ERROR" */

void log_write(enum log_level level, const char *scope, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define log_debug(scope, ...)                                                                      \
    (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, scope, __VA_ARGS__) : (void)0)
#define log_info(scope, ...) log_write(LOG_INFO, scope, __VA_ARGS__)
#define log_warn(scope, ...) log_write(LOG_WARN, scope, __VA_ARGS__)
#define log_error(scope, ...) log_write(LOG_ERROR, scope, __VA_ARGS__)

#endif
