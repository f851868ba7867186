/* fuzz_policy_convert: bytes as a policy's text: the chunk is loaded in the sandbox under its budgets, and what it
 * defines decides a small world. Nothing may crash, leak or hang. */
#include "policy/policy.h"
#include "sched/ops.h"

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    char path[] = "/tmp/fuzzpolicyXXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return 0;
    ssize_t wrote = write(fd, data, size);
    close(fd);
    static const struct sched_model models[] = { { .id = { "a", 1 }, .group_swap = true, .group_exclusive = true },
                                                 { .id = { "b", 1 }, .group_swap = true, .group_exclusive = true } };
    struct sched_conf sc = { .kind = SCHED_KIND_FIFO, .models = models, .n_models = 2 };
    struct sched *s = sched_new(&sc);
    struct policy_host host = { 0 };
    struct config_policy file = { .file = str_c(path), .settings_json = S("{\"x\":1}"), .memory_mb = 1, .instructions = 20000,
                                  .wall_ms = 20, .starve_after_ms = 1000, .hold_limit_ms = 1000 };
    struct policies_conf conf = { .files = &file, .n_files = 1, .scheduler = "fifo", .seed = 1, .host = &host };
    struct policies *ps = NULL;
    struct error e;
    if (wrote == (ssize_t)size && policies_new(&conf, false, 0, &ps, &e) == 0) {
        struct sched_actions out = { 0 };
        policies_attach(ps, s, 0);
        for (unsigned i = 1; i <= 6; i++) {
            struct sched_event ev = { .kind = i % 3 == 0 ? SCHED_TICK : SCHED_ARRIVE, .now = i * 700, .ticket = i, .model = i % 2 };
            out.len = 0;
            sched_post(s, &ev, &out);
            policies_settle(ps, ev.now);
            policies_tick(ps, ev.now);
        }
        policies_free(ps);
        sched_actions_fini(&out);
    }
    sched_free(s);
    unlink(path);
    return 0;
}
