/* reload.h: a new configuration takes over without losing anybody.
 *
 * What: models that are the same keep slot, process, queue and requests. Those whose process must be another one
 *       finish what they serve (at most reload.drain), stop, and start anew with the new entry for who waits. Removed
 *       ones take nothing new, finish what they serve and go. Everything else of the snapshot holds from the next
 *       request on; a request keeps the snapshot it began with.
 * Order: no process starts on a port that another one may still hold: models whose ports cross are replaced in one
 *       operation, the others one by one. A second reload may come while the first still drains.
 * Not:  reading files and watching them (main), deciding when a process stops (sched, SCHED_RECYCLE).
 */
#ifndef LUASWAP_PROXY_RELOAD_H
#define LUASWAP_PROXY_RELOAD_H

#include "base/error.h"

struct config;
struct server;

/* 0, or an error and nothing has changed. `next` is borrowed and referenced. Not from inside of dispatch. */
int server_reload(struct server *srv, struct config *next, struct error *e);
/* Asks the scheduler for the models of hooks.on_startup.preload, those that are loaded already included. */
void reload_preload(struct server *srv);
/* The end of the program: what was waited for does not come any more. */
void reload_forget(struct server *srv);
/* Removed models that have come to their end are freed, their slots are used again. */
void reload_sweep(struct server *srv);

#endif
