/* health.h: asks a starting server whether it is ready, often at first and then more gently.
 *
 * What: while nobody listens, a look at the port (io/knock.h); then GET of the check path on the proxy's address, directly (never through a proxy of the environment);
 *       exactly 200 is ready. Each probe ends after min(what is left, 5 s). The gap between two probes depends
 *       on how long the start takes already and on what the last answer was (health_gap).
 * Not:  the deadline of the start, the life of the process (proc.c).
 * Owns: one connection pool, one exchange or dial, two timers. Borrows: ud until health_free().
 * Order: `ok` is called from the loop, once per health_start(); probing pauses then.
 */
#ifndef LUASWAP_PROCESS_HEALTH_H
#define LUASWAP_PROCESS_HEALTH_H

#include "io/loop.h"

struct health;

#define HEALTH_PROBE_MS 5000
#define HEALTH_FOREIGN_MS 250

/* proxy: base URL; endpoint: path and query, or an URL of which only those count. ERR_START with a text when
 * one of them cannot be used. connect_ms 0 = only bounded by the probe. */
struct health *health_new(struct io_loop *l, str proxy, str endpoint, msec connect_ms,
                          void (*ok)(void *ud), void *ud, struct error *e);
/* Before the command is started: does somebody listen at the address already? Then an early 200 says nothing
 * about our command, which may be about to fail for that very reason: it counts only HEALTH_FOREIGN_MS after
 * health_start(). */
void health_peek(struct health *h);
bool health_foreign(const struct health *h);
/* Begins now; `deadline` on the loop's clock bounds the probes. */
void health_start(struct health *h, msec deadline);
void health_stop(struct health *h);
void health_free(struct health *h); /* NULL is accepted */
unsigned health_probes(const struct health *h);
/* What the last probe said, for people: "connection refused", "status 503"; "" before the first. */
const char *health_last(const struct health *h);

/* How long to wait after a probe that came back `elapsed` after the start: 1 ms at first, 3 ms later on, so that a swap
 * loses less than that by waiting for a probe, whenever the model becomes ready. A look at a port where nobody listens
 * costs some microseconds, an answered probe less than a hundred: 1 to 2 % of a processor while a model loads. After
 * three minutes: 50 ms, or 250 ms for a server that answers "not yet" (it may log each question). */
msec health_gap(msec elapsed, bool answered);

/* Appends host-relative target and host of the probe; for health_new and its specs. */
struct strbuf;
bool health_target(struct strbuf *out, str base_path, str endpoint);

#endif
