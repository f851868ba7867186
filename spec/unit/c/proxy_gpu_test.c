/* proxy_gpu_test.c: what nvidia-smi and sysfs say, and what they say when something is wrong with them. */
#include "spec.h"

#include "proxy/gpu_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool even(void *ud, long pid)
{
    return pid % 2 == 0;
}

TEST(gpu_rows_of_nvidia_smi)
{
    struct gpu_row r[GPU_MAX];
    str csv = S("0, GPU-aa, NVIDIA RTX 4090, 24564, 10000, 35, 61\n1, GPU-bb, Tesla, 16384, 12, [N/A], [N/A]\n");
    CHECK_INT(2, gpu_parse_rows(csv, r, GPU_MAX));
    CHECK_STR("NVIDIA RTX 4090", str_c(r[0].gpu.name));
    CHECK_INT(24564, (int)r[0].gpu.total_mb);
    CHECK_INT(10000, (int)r[0].gpu.used_mb);
    CHECK_INT(61, (int)r[0].gpu.temp);
    CHECK_INT(1, r[1].gpu.index);
    CHECK_INT(0, (int)r[1].gpu.util);
    CHECK_INT(1, gpu_parse_rows(csv, r, 1));
    gpu_parse_apps(S("GPU-aa, 4, 6000\nGPU-aa, 5, 3000\nGPU-bb, 6, [N/A]\nGPU-zz, 8, 1\nrubbish\n"), r, 2, even, NULL);
    CHECK_INT(4000, (int)r[0].gpu.foreign_mb); /* also what no process is named for */
    CHECK_INT(0, (int)r[1].gpu.foreign_mb);
    gpu_parse_apps(STR_NONE, r, 2, even, NULL);
    CHECK_INT(10000, (int)r[0].gpu.foreign_mb);
}

TEST(gpu_rows_of_rubbish_are_none)
{
    static const char *const texts[] = { "", "\n\n", "No devices were found\n", "0, GPU-a, X, [N/A], 1, 1, 1", ",,,,,,", "0, GPU-a",
                                         "-1, GPU-a, X, 10, 1, 1, 1", "0, GPU-a, X, 1e99, 1, 1, 1", "nan, GPU, X, nan, nan, nan, nan" };
    struct gpu_row r[GPU_MAX];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        CHECK_INT(0, gpu_parse_rows(str_c(texts[i]), r, GPU_MAX));
}

static void put(const char *root, const char *file, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/card1/device/%s", root, file);
    FILE *f = fopen(path, "w");
    CHECK_TRUE(f != NULL);
    fputs(text, f);
    fclose(f);
}

TEST(gpu_rows_of_sysfs)
{
    char root[] = "/tmp/gpuXXXXXX", path[100];
    CHECK_TRUE(mkdtemp(root) != NULL);
    snprintf(path, sizeof path, "%s/card1", root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/card1/device", root);
    mkdir(path, 0700);
    struct gpu_row r[GPU_MAX];
    CHECK_INT(0, gpu_read_sysfs(root, r, GPU_MAX));
    put(root, "mem_info_vram_total", "17163091968\n");
    put(root, "mem_info_vram_used", "1048576\n");
    put(root, "gpu_busy_percent", "7\n");
    CHECK_INT(1, gpu_read_sysfs(root, r, GPU_MAX));
    CHECK_INT(16368, (int)r[0].gpu.total_mb);
    CHECK_INT(1, (int)r[0].gpu.used_mb);
    CHECK_INT(7, (int)r[0].gpu.util);
    static const char *const files[] = { "mem_info_vram_total", "mem_info_vram_used", "gpu_busy_percent" };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof path, "%s/card1/device/%s", root, files[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/card1/device", root);
    rmdir(path);
    snprintf(path, sizeof path, "%s/card1", root);
    rmdir(path);
    rmdir(root);
}
