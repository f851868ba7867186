/* gpu_watch.h: the memory of the GPUs, looked at every few seconds for those who decide by it.
 *
 * What: NVIDIA through `nvidia-smi` (found in PATH), run as a child and never waited for; else AMD through sysfs. The
 *       last sample is kept; a look that fails leaves none.
 * Foreign memory: what is used beyond what our models' processes use (descendants of this program), also by programs
 *       that the driver does not list. 0 where the driver does not say how much ours use.
 * Owns: a timer, a child at a time. Ends: gpu_watch_free().
 * Limits: GPU_MAX rows; 64 KiB of output; a look takes GPU_LOOK_MS at most.
 */
#ifndef LUASWAP_PROXY_GPU_WATCH_H
#define LUASWAP_PROXY_GPU_WATCH_H

#include "io/loop.h"
#include "policy/policy.h"

#define GPU_MAX 16u
#define GPU_EVERY_MS 5000
#define GPU_LOOK_MS 4000

struct gpu_watch;

/* `wait`: until the first look is over (before the program serves anybody). NULL: there is nothing to look at. */
struct gpu_watch *gpu_watch_new(struct io_loop *l, bool wait);
void gpu_watch_free(struct gpu_watch *w); /* NULL is fine */
size_t gpu_watch_rows(const struct gpu_watch *w, struct policy_gpu *out, size_t max);
/* Is there a GPU? While the first look goes on: is it likely? */
bool gpu_watch_any(const struct gpu_watch *w);
/* Without a watch: would there be something to look at? */
bool gpu_watch_possible(void);

/* --- the parts, for tests --- */
struct gpu_row {
    struct policy_gpu gpu;
    char uuid[64];
};
/* `index, uuid, name, total, used, util, temp`, a line each; numbers that are not there are 0. */
size_t gpu_parse_rows(str csv, struct gpu_row *out, size_t max);
/* `uuid, pid, used`: fills foreign_mb. ours(ud, pid): is it one of our processes? */
void gpu_parse_apps(str csv, struct gpu_row *rows, size_t n, bool (*ours)(void *ud, long pid), void *ud);
/* root/cardN/device/mem_info_vram_{total,used} */
size_t gpu_read_sysfs(const char *root, struct gpu_row *out, size_t max);

#endif
