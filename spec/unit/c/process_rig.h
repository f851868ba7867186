/* process_rig.h: what the tests with real children share: a loop that runs until something is true, a process
 * whose events are written down, and a look from outside at which processes are alive.
 */
#ifndef LUASWAP_SPEC_PROCESS_RIG_H
#define LUASWAP_SPEC_PROCESS_RIG_H

#include "base/strbuf.h"
#include "io/loop.h"
#include "io/timer.h"
#include "process/proc.h"

struct rig {
    struct io_loop *loop;
    struct io_timer *limit;
    struct proc *p;
    char tag[64]; /* "SPEC_TAG=..." in the environment of everything this rig has started */
    struct strbuf
        lives;         /* "stopped>starting starting>ready(1) ..." with tags and names of errors */
    struct strbuf out; /* what the command has written */
    uint64_t out_bytes;
    struct proc_event last;
    char last_text[240];
    bool closed, late;
};

/* cmd is split like one of a config; check_endpoint "none" unless changed in `conf` before rig_open. */
void rig_conf(struct rig *g, struct proc_conf *conf, const char *cmd);
void rig_open(struct rig *g, const struct proc_conf *conf);
/* Both in one. */
void rig_start(struct rig *g, const char *cmd);
/* Turns the loop until done(g) or 10 s have passed; a miss of the test then. */
void rig_until(struct rig *g, bool (*done)(struct rig *g), const char *what);
/* Until the life so far ends in this text. */
void rig_until_life(struct rig *g, const char *end);
void rig_until_output(struct rig *g, const char *part);
void rig_turns(struct rig *g, msec ms);
/* Closes, checks that no process with the tag is left and that no handle is open. */
void rig_end(struct rig *g);

/* What has been logged since rig_open. */
str rig_log(void);
/* Live processes (no zombies) that carry the tag. */
size_t rig_alive(const struct rig *g);
/* Waits until that many are alive; a miss of the test if they never are. */
void rig_wait_alive(const struct rig *g, size_t at_least);
bool rig_gone_within(const struct rig *g, msec ms);

#endif
