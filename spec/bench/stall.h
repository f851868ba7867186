/* stall.h: does the machine itself stand still? A thread per CPU sleeps a fifth of a millisecond at a time, above all that
 * is measured, and notes each time at which it woke late: then the kernel or the host kept the CPU, and nothing that
 * a program does could have helped it.
 */
#ifndef LUASWAP_BENCH_STALL_H
#define LUASWAP_BENCH_STALL_H

#include <stdbool.h>
#include <stdint.h>

/* False (and nothing is watched): real-time priority is not allowed. */
bool stall_begin(void);
void stall_end(void);
/* The longest lateness, ms, of any CPU that overlaps [t0, t1] (bench_now_ns). 0: none of 1 ms or more, or not watched. */
double stall_longest(uint64_t t0, uint64_t t1);

#endif
