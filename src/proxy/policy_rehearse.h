/* policy_rehearse.h: changed policies run on canned and recorded traffic before they may decide (policy.md 2.10).
 *
 * What: takes the last recorded minutes, and rehearses in a worker thread what is new in a configuration, or one policy
 *       of the one in force whose file may have changed. The loop goes on meanwhile.
 * Not:  the exchange itself (policy_glue.h).
 * Ends: done comes exactly once, on the loop. rc 0: fine; else `why` says what is wrong.
 */
#ifndef LUASWAP_PROXY_POLICY_REHEARSE_H
#define LUASWAP_PROXY_POLICY_REHEARSE_H

#include "base/error.h"
#include "config/config.h"

struct server;

/* The simulator, which stands above this folder (sim/rehearse.h); any may be NULL: then nothing is rehearsed. */
struct rehearser {
    void *(*traffic)(str trace); /* on the loop */
    void (*traffic_free)(void *traffic);
    int (*run)(void *traffic, const struct config_policy *f, uint64_t known, struct error *e); /* in a worker */
};

/* The files of cfg; those that run already and have not changed are left out. False: nothing to rehearse, done is not
 * called. */
bool policy_rehearse_config(struct server *srv, struct config *cfg, void (*done)(void *ud, int rc, const char *why), void *ud);
/* The policy of that name; `changed`: only if its file has changed since it was loaded. False as above. */
bool policy_rehearse_one(struct server *srv, str name, bool changed, void (*done)(void *ud, int rc, const char *why), void *ud);

#endif
