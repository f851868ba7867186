/* system.h: load of the machine as Linux tells it: processors, memory, swap, network.
 *
 * What: one sample per call, from /proc; the share of time that a core was busy is that since the last sample (since
 *       boot for the first one). Names and labels of the Prometheus text are those of http.md 7.8.
 * Not:  GPUs.
 * Limits: SYSTEM_CORES cores, SYSTEM_NICS interfaces. Reads pseudo files only: microseconds.
 */
#ifndef LUASWAP_METRICS_SYSTEM_H
#define LUASWAP_METRICS_SYSTEM_H

#include "base/strbuf.h"

#define SYSTEM_CORES 1024
#define SYSTEM_NICS 64

struct system_nic {
    char name[32];
    uint64_t received, sent;
};
struct system_sample {
    size_t n_cores;
    double busy[SYSTEM_CORES]; /* percent */
    bool has_memory, has_load;
    uint64_t mem_total, mem_used, mem_free, swap_total, swap_used; /* bytes */
    double load[3];
    struct system_nic nics[SYSTEM_NICS];
    size_t n_nics;
    /* of the last sample */
    uint64_t idle[SYSTEM_CORES], total[SYSTEM_CORES];
};

/* Zeroed before the first call; `proc` is "/proc" but for specs. */
void system_sample(struct system_sample *s, const char *proc);
void system_prom(const struct system_sample *s, struct strbuf *out);

#endif
