/* rehearse.h: a policy file on canned traffic before it may decide: three worlds, real dispatcher, virtual time.
 *
 * Errors, spent budgets, answers that break a rule and stalls are found here instead of by users.
 */
#ifndef LUASWAP_SIM_REHEARSE_H
#define LUASWAP_SIM_REHEARSE_H

#include "sim/replay.h"

#define REHEARSE_WORLDS 3

struct rehearsal {
    struct replay_result result;
    char first_error[300];
};
/* One world (0..2) with the keys of tables in the given order; its effect log goes to `log` if not NULL. */
int rehearse_world(const struct config_policy *f, unsigned world, enum policy_pairs pairs, struct rehearsal *ret,
                   struct strbuf *log, struct error *e);
/* For policy_host.rehearse: 0, or ERR_CONFIG and why the file should not decide. */
int rehearse_file(void *unused, const struct config_policy *f, struct error *e);

#endif
