/* rand.c: see rand.h. */
#include "base/rand.h"

#include "base/check.h"

#include <errno.h>
#include <sys/random.h>

void rand_seed(struct rand_state *r, uint64_t seed)
{
    r->s = seed ? seed : 0x9E3779B97F4A7C15u;
    for (int i = 0; i < 4; i++)
        (void)rand_u64(r);
}

uint64_t rand_u64(struct rand_state *r)
{
    uint64_t x = r->s;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    r->s = x;
    return x * 0x2545F4914F6CDD1Du;
}

uint64_t rand_below(struct rand_state *r, uint64_t n)
{
    ASSERT(n > 0);
    return (uint64_t)(((unsigned __int128)rand_u64(r) * n) >> 64);
}

double rand_unit(struct rand_state *r)
{
    return (double)(rand_u64(r) >> 11) * (1.0 / 9007199254740992.0);
}

void rand_bytes(void *out, size_t n)
{
    char *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        ASSERT(got > 0);
        p += got;
        n -= (size_t)got;
    }
}
