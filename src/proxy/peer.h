/* peer.h: one peer server as the running program sees it: config entry and connection pool. */
#ifndef LUASWAP_PROXY_PEER_H
#define LUASWAP_PROXY_PEER_H

#include "config/config.h"
#include "http/client.h"

struct server;

struct peer {
    const struct config_peer *conf;
    struct config *cfg; /* keeps conf alive */
    struct http_pool *pool;
    struct strbuf host; /* value of the Host header */
};

/* Peers of one snapshot, and the reservations of its selectors; counted, because requests outlive a reload. */
struct peers {
    unsigned refs;
    struct config *cfg;
    struct peer *at;
    size_t n;
    struct resolve_slots *slots;
};

struct peers *peers_new(struct io_loop *loop, struct config *cfg);
struct peers *peers_ref(struct peers *p);
void peers_unref(struct peers *p);

#endif
