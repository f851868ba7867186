/* fuzz_answers.c: what a model's server and nvidia-smi may say: token counts of an answer in any pieces, rows of GPUs.
 *
 * The first byte chooses the pieces. However an answer that fits comes, the counts are those of the whole text.
 */
#include "base/check.h"
#include "proxy/gpu_watch.h"
#include "route/usage.h"

static bool every_other(void *ud, long pid)
{
    return pid % 2 == 0;
}

static void gpus(str text)
{
    struct gpu_row rows[GPU_MAX];
    size_t n = gpu_parse_rows(text, rows, GPU_MAX);
    ASSERT(n <= GPU_MAX);
    gpu_parse_apps(text, rows, n, every_other, NULL);
    for (size_t i = 0; i < n; i++)
        ASSERT(rows[i].gpu.total_mb > 0 && rows[i].gpu.used_mb >= 0 && rows[i].gpu.foreign_mb >= 0 &&
               rows[i].gpu.foreign_mb <= rows[i].gpu.used_mb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    str text = str_n((const char *)data + 1, size - 1);
    size_t piece = data[0] ? (size_t)data[0] * 7 : 1;
    struct usage u;
    usage_init(&u);
    for (size_t at = 0; at < text.len; at += piece)
        usage_add(&u, str_sub(text, at, piece));
    struct usage_tokens got = usage_end(&u);
    usage_fini(&u);
    ASSERT(got.in >= -1 && got.out >= -1);
    if (text.len <= USAGE_HEAD + USAGE_TAIL) {
        struct usage_tokens whole = usage_scan(text);
        ASSERT(got.in == whole.in && got.out == whole.out);
    }
    gpus(text);
    return 0;
}
