/* resolve.h: from the name in a request to the thing that serves it (http.md 2.2, 2.4; config.md 6).
 *
 * Order: pin of the active profile, selector, local id or alias, peer. Names compare exactly.
 * What: pure; states of models come through a callback. Spillover reservations are counted in
 *       struct resolve_slots, one per server; a target with a reservation is given back exactly once.
 * Owns: resolve_slots its counters. It is made for one configuration; a reload makes another one, and
 *       the old one stays until its last reservation is back.
 */
#ifndef LUASWAP_ROUTE_RESOLVE_H
#define LUASWAP_ROUTE_RESOLVE_H

#include "base/error.h"
#include "config/config.h"
#include "route/path_lookup.h"

/* Same order and meaning as the states on the wire. */
enum resolve_state {
    RESOLVE_STOPPED,
    RESOLVE_STARTING,
    RESOLVE_READY,
    RESOLVE_STOPPING,
    RESOLVE_SHUTDOWN,
};
typedef enum resolve_state resolve_state_of(void *ud, size_t model);

enum resolve_kind { RESOLVE_LOCAL, RESOLVE_PEER };

struct resolve_slots; /* counters of spillover selectors */
struct resolve_slots *resolve_slots_new(const struct config *cfg);
/* NULL is fine. With reservations out the memory goes with the last of them. */
void resolve_slots_free(struct resolve_slots *s);

struct resolve_target {
    enum resolve_kind kind;
    str name;                    /* after profile and selector; what filters are looked up by */
    size_t model;                /* LOCAL: index */
    struct config_peer_ref peer; /* PEER */
    size_t selector;             /* index of the selector that chose it, or CONFIG_NONE */
    struct resolve_slots *slots; /* where a reservation is held, NULL = none */
    size_t slot;                 /* ... for this target of the selector */
};

struct resolve_ctx {
    const struct config *cfg;
    size_t profile;              /* active one, or CONFIG_NONE */
    struct resolve_slots *slots; /* NULL: spillover does not count (listings) */
    resolve_state_of *state;
    void *ud;
};

/* 0; ERR_NOMODEL (404: a pin disables the name, or it is empty); ERR_UNKNOWN_MODEL (404, ret->name
 * and ret->selector are filled in); ERR_AGAIN (503: no usable target of a spillover selector). */
MUSTCHECK int resolve(const struct resolve_ctx *ctx, str name, struct resolve_target *ret,
                      struct error *e);
/* `warm` again for a request that waited: the target that fits now. No change for other strategies.
 */
void resolve_again(const struct resolve_ctx *ctx, struct resolve_target *t);
/* Gives a reservation back; harmless without one and the second time. Every target must come here
 * once its request has ended (a websocket that is ignored: at once). */
void resolve_release(struct resolve_target *t);

/* What the peer calls the model. */
str resolve_peer_model(const struct config *cfg, const struct resolve_target *t);
/* "peer/model" of a peer target, in the arena. */
str resolve_peer_fqn(const struct config *cfg, const struct resolve_target *t, struct arena *a);

/* The model of a path behind "/upstream/": longest pin of the active profile that is whole segments
 * of it, then the longest base name. Selectors do not count. Errors of path_lookup. */
MUSTCHECK int resolve_path(const struct resolve_ctx *ctx, struct arena *a, str tail,
                           struct resolve_target *ret, struct path_match *ret_match,
                           struct error *e);
/* The same for paths that know local models only (unload, log streams), without profiles. */
MUSTCHECK int resolve_path_local(const struct config *cfg, struct arena *a, str tail,
                                 size_t *ret_model, struct path_match *ret_match, struct error *e);

#endif
