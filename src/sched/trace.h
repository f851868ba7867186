/* trace.h: events and actions as lines of text, both ways, and a ring of the last ones.
 *
 * A line is `KIND key=value ...`, text last and quoted as in JSON: `ARRIVE now=12 ticket=7 model=2`. The ring
 * holds compact copies and is formatted when somebody looks; a bug report with it is a test.
 */
#ifndef LUASWAP_SCHED_TRACE_H
#define LUASWAP_SCHED_TRACE_H

#include "base/strbuf.h"
#include "sched/sched.h"

#define TRACE_EVENTS 1024 /* events kept, each with what it led to */

/* Appends one line with its newline; false when b is full. */
bool trace_event_line(struct strbuf *b, const struct sched_event *ev);
bool trace_action_line(struct strbuf *b, const struct sched_action *a);

/* A parsed line. The texts live in `text`, the models of an UNLOAD in `models`. */
struct trace_line {
    bool is_event;
    struct sched_event ev;
    struct sched_action act;
    char text[200];
    model_id models[256];
};
/* 0, or ERR_SYNTAX. An empty line and one that starts with # is ERR_NOTFOUND. */
MUSTCHECK int trace_parse(str line, struct trace_line *ret, struct error *e);

struct sched_ring;
struct sched_ring *trace_ring_new(void);
void trace_ring_free(struct sched_ring *r);
void trace_ring_event(struct sched_ring *r, const struct sched_event *ev);
void trace_ring_action(struct sched_ring *r, const struct sched_action *a);
/* Oldest first; actions are indented by two blanks under their event. */
void trace_ring_dump(const struct sched_ring *r, struct strbuf *b);

#endif
