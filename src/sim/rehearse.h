/* rehearse.h: a policy file on canned and on recorded traffic before it may decide: real dispatcher, virtual time.
 *
 * Errors, spent budgets, answers that break a rule and stalls are found here instead of by users.
 * Thread: rehearse_file() and rehearse_run() may run in any, on files and traffic that nobody else changes meanwhile.
 */
#ifndef LUASWAP_SIM_REHEARSE_H
#define LUASWAP_SIM_REHEARSE_H

#include "sim/trace_file.h"

#define REHEARSE_WORLDS 3
#define REHEARSE_INSTRUCTIONS 20000000 /* of all hooks in one run: a fraction of a second */

struct rehearsal {
    struct replay_result result;
    char first_error[300];
};
/* One world (0..2) with the keys of tables in the given order; its effect log goes to `log` if not NULL. */
int rehearse_world(const struct config_policy *f, unsigned world, enum policy_pairs pairs, struct rehearsal *ret,
                   struct strbuf *log, struct error *e);
/* For policy_host.rehearse: 0, or ERR_CONFIG and why the file should not decide. */
int rehearse_file(void *unused, const struct config_policy *f, struct error *e);

/* Recorded traffic (the text of a trace) as it can be rehearsed on; NULL: there is none in it. */
void *rehearse_traffic(str trace);
void rehearse_traffic_free(void *traffic);
/* The canned worlds, then the traffic if not NULL. A file of that very hash (policies_hash) is known and not rehearsed
 * again; 0: nothing is known. */
int rehearse_run(void *traffic, const struct config_policy *f, uint64_t known, struct error *e);

#endif
