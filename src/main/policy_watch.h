/* policy_watch.h: with -watch-config the files of `policies:` are watched, too.
 *
 * Owns: one watch per file, also of a configuration that was refused: the repair of a policy that does not load is what
 *       its author waits for.
 * Ends: policy_watch_clear(); a zeroed one is empty.
 */
#ifndef LUASWAP_MAIN_POLICY_WATCH_H
#define LUASWAP_MAIN_POLICY_WATCH_H

#include "config/config.h"
#include "io/watch.h"

struct policy_watch {
    struct policy_watched *at;
    size_t len;
};

/* Watches the files of both (the one in force, the one that is about to be tried; either may be NULL) and no others. A
 * file that was watched already stays so, without a gap. To be called before the files are read. */
void policy_watch_set(struct policy_watch *w, struct io_loop *l, const struct config *now, const struct config *next,
                      void (*fn)(void *ud), void *ud);
void policy_watch_clear(struct policy_watch *w);

#endif
