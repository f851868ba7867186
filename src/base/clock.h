/* clock.h: the two kinds of time.
 *
 * msec is monotonic milliseconds; only differences mean something. Wall time is for people and has its
 * own type. Pure code never reads a clock: time is an argument.
 */
#ifndef LUASWAP_BASE_CLOCK_H
#define LUASWAP_BASE_CLOCK_H

#include <stdint.h>

typedef int64_t msec;
#define MSEC_NEVER INT64_MAX

struct wall {
    int64_t sec; /* since 1970, UTC */
    int32_t nsec;
};

msec clock_msec(void);
uint64_t clock_nsec(void); /* monotonic, for measuring */
uint64_t clock_cpu_nsec(void); /* that this thread has computed; dearer to ask for */
struct wall clock_wall(void);

#endif
