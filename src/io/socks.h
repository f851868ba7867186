/* socks.h: the client's side of SOCKS 5 (RFC 1928), with user name and password (RFC 1929) or without.
 *
 * What: the bytes to send and what to make of the answers. The proxy is given the name of the target, not its address:
 *       it looks it up (socks5h in other programs; Go's make no difference either).
 * Not:  connections (dial.h).
 * Limits: 255 bytes of a name, of a user name and of a password; no answer is longer than 262 bytes.
 */
#ifndef LUASWAP_IO_SOCKS_H
#define LUASWAP_IO_SOCKS_H

#include "base/error.h"
#include "base/strbuf.h"

#define SOCKS_AUTH_MAX 513u
/* What is sent at once never needs more. */
#define SOCKS_OUT_MAX 1024u

struct socks {
    int state;
    int port;
    char host[256];
    unsigned char auth[SOCKS_AUTH_MAX];
    size_t auth_len;
};

/* The message that proves who we are, for socks_begin. False when one of them is too long, or the name is empty. */
bool socks_auth(struct strbuf *out, str user, str password);
/* host: name or address without brackets; auth: from socks_auth, may be empty. Appends the greeting to out. ERR_LIMIT
 * when the name is too long. */
MUSTCHECK int socks_begin(struct socks *s, str host, int port, str auth, struct strbuf *out, struct error *e);
/* One step: takes an answer from the front of `in` (*ret_used bytes of it) and appends what comes next to out. 1: the
 * way is open. 0: go on, with more bytes if *ret_used is 0. ERR_PROTOCOL with the reason. */
MUSTCHECK int socks_feed(struct socks *s, str in, size_t *ret_used, struct strbuf *out, struct error *e);

#endif
