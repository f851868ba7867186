/* rand.h: seedable generator (xorshift64*, Vigna 2016) for ids, jitter and simulators; never for secrets. */
#ifndef LUASWAP_BASE_RAND_H
#define LUASWAP_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand_state {
    uint64_t s;
};

void rand_seed(struct rand_state *r, uint64_t seed);
uint64_t rand_u64(struct rand_state *r);
/* Uniform in [0, n), n > 0. */
uint64_t rand_below(struct rand_state *r, uint64_t n);
double rand_unit(struct rand_state *r); /* [0, 1) */
/* Bytes from the kernel (getrandom); for hash seeds and keys. */
void rand_bytes(void *out, size_t n);

#endif
