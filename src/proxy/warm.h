/* warm.h: selectors with the strategy `warm`, looked at again while their requests wait (decisions.md).
 *
 * What: a request that came in by such a selector was given the target that was warmest when it arrived. Whenever a
 *       process has begun or ended to start, become ready or gone, those that still stand in the line are asked again;
 *       who is better off with another target is moved there by the scheduler and keeps his place.
 * Order: between two events of the scheduler, never inside of one. The body is edited for the new name at the grant.
 */
#ifndef LUASWAP_PROXY_WARM_H
#define LUASWAP_PROXY_WARM_H

#include "sched/sched.h"

struct request;
struct server;
struct model;

/* Calls move(ud, ticket, model) for each one that would go elsewhere; move may end requests. */
void warm_look(struct server *srv, void (*move)(void *ud, ticket_id t, model_id m), void *ud);

#endif
