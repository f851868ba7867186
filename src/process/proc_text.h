/* proc_text.h: what people are told about the life of a process. The texts of runtime.md 1.5, byte for byte. */
#ifndef LUASWAP_PROCESS_PROC_TEXT_H
#define LUASWAP_PROCESS_PROC_TEXT_H

#include "base/strbuf.h"
#include "process/proc_fsm.h"

/* The error code that goes with a reason; 0 for PROC_WHY_NONE. */
int proc_why_code(enum proc_why why);
/* The reason as a sentence; empty for PROC_WHY_NONE and PROC_WHY_SPAWN (see proc_spawn_text). */
void proc_why_text(struct strbuf *b, enum proc_why why, msec health_ms, int exit_status,
                   int term_signal);
/* "failed to start command 'a b c'", of a bounded length. */
void proc_spawn_text(struct strbuf *b, const str *argv, size_t n);
/* "upstream command exited with status 3" */
void proc_end_text(struct strbuf *b, int exit_status, int term_signal);
/* 15s, 1m30s, 2m0s, 1.5s, 20ms */
void proc_duration_text(struct strbuf *b, msec ms);

#endif
