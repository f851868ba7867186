/* tunnel.h: a raw relay between two streams, for upgrades (websockets).
 *
 * What: bytes flow both ways with back-pressure; a side that ends is half-closed on the other, the other way goes
 *       on until it ends too. A failure of one side cuts both.
 * Owns: both streams from the start on. Ends: `done` comes exactly once, later, when both are closed; the
 *       tunnel's memory goes after it.
 * Limits: 16 KiB plus one read per direction.
 */
#ifndef LUASWAP_HTTP_TUNNEL_H
#define LUASWAP_HTTP_TUNNEL_H

#include "io/stream.h"

struct http_tunnel;
struct http_tunnel_stats {
    uint64_t a_to_b, b_to_a; /* bytes */
    bool clean;              /* both sides ended by themselves */
};
typedef void http_tunnel_done_fn(void *ud, const struct http_tunnel_stats *st);

/* from_a, from_b: bytes that were read from a side already and belong to the other. */
struct http_tunnel *http_tunnel_start(struct io_stream *a, str from_a, struct io_stream *b, str from_b,
                                      http_tunnel_done_fn *done, void *ud);
/* Cuts both sides now; `done` still comes. */
void http_tunnel_close(struct http_tunnel *t);

#endif
