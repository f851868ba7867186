/* fuzz_proc_fsm.c: bytes become a life of a process (events and the time between them); the promises of
 * runtime.md 1.2 are the oracle. The same bytes are read as lines of the supervisor's protocol and as a
 * /proc/PID/stat, which must be survived. */
#include "process/proc_fsm.h"

#include "base/check.h"
#include "process/tree.h"
#include "process/wire.h"

static bool legal(enum proc_state from, enum proc_state to)
{
    switch (from) {
    case PROC_STOPPED:
        return to == PROC_STARTING || to == PROC_SHUTDOWN;
    case PROC_STARTING:
        return to == PROC_READY || to == PROC_STOPPED || to == PROC_SHUTDOWN;
    case PROC_READY:
        return to == PROC_STOPPING || to == PROC_STOPPED || to == PROC_SHUTDOWN;
    case PROC_STOPPING:
        return to == PROC_STOPPED || to == PROC_SHUTDOWN;
    default:
        return false;
    }
}

static void live(const uint8_t *data, size_t size)
{
    struct proc_fsm f;
    msec now = 0;
    if (size == 0)
        return;
    proc_fsm_init(&f, data[0] & 1, data[0] & 2, 15000);
    bool held = false; /* a supervisor is */
    for (size_t i = 1; i + 1 < size; i += 2) {
        enum proc_fsm_event ev = (enum proc_fsm_event)(data[i] % PROC_EV_COUNT);
        enum proc_state from = proc_fsm_state(&f);
        now += data[i + 1] * 50;
        unsigned acts = proc_fsm_step(&f, ev, now, (msec)data[i + 1] * 100);
        enum proc_state to = proc_fsm_state(&f);
        ASSERT(from == to || legal(from, to));
        if (acts & PROC_ACT_SPAWN)
            held = true;
        ASSERT(held ||
               !(acts & (PROC_ACT_TERM | PROC_ACT_KILL | PROC_ACT_STOPPER | PROC_ACT_RELEASE)));
        if (acts & PROC_ACT_RELEASE)
            held = false;
        /* nothing runs in peace but a ready one, and nothing is held for ever without a deadline */
        ASSERT(held == (to != PROC_STOPPED && f.phase != PHASE_CLOSED));
        bool may_last = !held || f.phase == PHASE_READY || f.phase == PHASE_ABORT_STUCK ||
                        f.phase == PHASE_STOP_STUCK;
        ASSERT(may_last == (f.deadline == MSEC_NEVER));
        ASSERT(f.deadline == MSEC_NEVER || f.deadline <= now + 15000 + 25500);
    }
}

static void speak(str all)
{
    str line, word;
    size_t used;
    struct strbuf text = STRBUF(1u << 20), again = STRBUF(1u << 20);
    while (wire_line(all, &line, &used)) {
        all = str_sub(all, used, all.len);
        while (wire_word(&line, &word)) {
            strbuf_clear(&text);
            strbuf_clear(&again);
            int n;
            (void)wire_int(word, &n);
            if (!wire_text(&text, word))
                continue;
            wire_add(&again, strbuf_str(&text));
            struct strbuf back = STRBUF(1u << 20);
            ASSERT(wire_text(&back, strbuf_str(&again)) &&
                   str_eq(strbuf_str(&back), strbuf_str(&text)));
            strbuf_fini(&back);
        }
    }
    strbuf_fini(&text);
    strbuf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str all = str_n((const char *)data, size);
    struct tree_proc p;
    live(data, size);
    speak(all);
    (void)tree_parse_stat(all, &p);
    return 0;
}
