/* clock.c: see clock.h. */
#include "base/clock.h"

#include <time.h>

uint64_t clock_nsec(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_cpu_nsec(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

msec clock_msec(void)
{
    return (msec)(clock_nsec() / 1000000u);
}

struct wall clock_wall(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (struct wall){ ts.tv_sec, (int32_t)ts.tv_nsec };
}
