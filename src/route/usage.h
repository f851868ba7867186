/* usage.h: how many tokens an answer says it cost, from its beginning and its end.
 *
 * What: keeps the first and the last bytes of an answer as it passes, and finds the numbers in them when it is over:
 *       the `usage` object of OpenAI, Responses and Anthropic answers (in a stream: that of the last event that has
 *       one), else llama-server's `timings`.
 * Not:  a JSON parser; a usage object in the middle of a long answer is not seen. An answer that is compressed has none.
 * Owns: one buffer of USAGE_HEAD + USAGE_TAIL bytes, usage_fini.
 */
#ifndef LUASWAP_ROUTE_USAGE_H
#define LUASWAP_ROUTE_USAGE_H

#include "base/str.h"

#define USAGE_HEAD 2048u
#define USAGE_TAIL 6144u

struct usage {
    char *at; /* NULL: nothing is kept; else head, then the tail as a ring */
    size_t head;
    uint64_t tail; /* bytes that went to the ring so far */
};
struct usage_tokens {
    int64_t in, out; /* -1 unknown */
};

void usage_init(struct usage *u); /* from here on bytes are kept */
void usage_add(struct usage *u, str bytes);
struct usage_tokens usage_end(const struct usage *u);
void usage_fini(struct usage *u);
/* The numbers in a text: a later usage object counts more than an earlier one, member by member. */
struct usage_tokens usage_scan(str text);

#endif
