/* proc_text.c: see proc_text.h. */
#include "process/proc_text.h"

#include "base/check.h"
#include "base/utf8.h"
#include "io/sigs.h"

#include <inttypes.h>
#include <stdio.h>

int proc_why_code(enum proc_why why)
{
    switch (why) {
    case PROC_WHY_NONE:
        return 0;
    case PROC_WHY_SPAWN:
    case PROC_WHY_EXIT:
    case PROC_WHY_TIMEOUT:
        return ERR_START;
    case PROC_WHY_ABORTED:
        return ERR_CANCELLED;
    case PROC_WHY_CRASH:
    case PROC_WHY_LOST:
        return ERR_CLOSED;
    case PROC_WHY_CLOSED:
        return ERR_SHUTDOWN;
    }
    UNREACHABLE();
}

void proc_duration_text(struct strbuf *b, msec ms)
{
    if (ms < 1000) {
        strbuf_addf(b, "%" PRId64 "ms", ms);
        return;
    }
    msec h = ms / 3600000, m = ms / 60000 % 60, s = ms / 1000 % 60, frac = ms % 1000;
    if (h)
        strbuf_addf(b, "%" PRId64 "h", h);
    if (h || m)
        strbuf_addf(b, "%" PRId64 "m", m);
    strbuf_addf(b, "%" PRId64, s);
    if (frac) {
        char digits[8];
        int n = snprintf(digits, sizeof digits, ".%03d", (int)frac);
        while (digits[n - 1] == '0')
            digits[--n] = '\0';
        strbuf_add(b, str_c(digits));
    }
    strbuf_addc(b, 's');
}

void proc_end_text(struct strbuf *b, int exit_status, int term_signal)
{
    if (term_signal)
        strbuf_addf(b, "upstream command was ended by %s", io_signal_name(term_signal));
    else
        strbuf_addf(b, "upstream command exited with status %d", exit_status);
}

void proc_why_text(struct strbuf *b, enum proc_why why, msec health_ms, int exit_status,
                   int term_signal)
{
    switch (why) {
    case PROC_WHY_NONE:
    case PROC_WHY_SPAWN:
        return;
    case PROC_WHY_EXIT:
        strbuf_add(b, S("upstream command exited prematurely"));
        return;
    case PROC_WHY_TIMEOUT:
        strbuf_add(b, S("health check timed out after "));
        proc_duration_text(b, health_ms);
        return;
    case PROC_WHY_ABORTED:
        strbuf_add(b, S("aborted"));
        return;
    case PROC_WHY_CRASH:
        proc_end_text(b, exit_status, term_signal);
        return;
    case PROC_WHY_LOST:
        strbuf_add(b, S("the supervisor of the upstream command was killed"));
        return;
    case PROC_WHY_CLOSED:
        strbuf_add(b, S("shutting down"));
        return;
    }
    UNREACHABLE();
}

void proc_spawn_text(struct strbuf *b, const str *argv, size_t n)
{
    struct strbuf all = STRBUF(600);
    for (size_t i = 0; i < n && all.len < 200; i++) {
        strbuf_add(&all, i ? S(" ") : S(""));
        strbuf_add(&all, str_sub(argv[i], 0, 150));
    }
    str text = strbuf_str(&all);
    size_t cut = utf8_cut(text, 140);
    strbuf_add(b, S("failed to start command '"));
    strbuf_add(b, str_sub(text, 0, cut));
    strbuf_add(b, cut < text.len ? S("...'") : S("'"));
    strbuf_fini(&all);
}
