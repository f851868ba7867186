/* gpu_watch.c: see gpu_watch.h. */
#define _GNU_SOURCE 1
#include "proxy/gpu_watch.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/child.h"
#include "io/timer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SYSFS "/sys/class/drm"
#define OUTPUT_MAX (64u * 1024)

enum look { LOOK_NONE, LOOK_ROWS, LOOK_APPS };

struct gpu_watch {
    struct io_loop *loop;
    struct io_timer *timer;
    struct io_child *child;
    enum look look; /* what the child was asked for */
    int out;        /* its standard output, -1 = none */
    bool nvidia, seen, complained;
    struct gpu_row next[GPU_MAX], rows[GPU_MAX];
    size_t n_next, n_rows;
};

/* --- reading --- */

static str field(str *line)
{
    str first, rest;
    (void)str_cut(*line, ',', &first, &rest);
    *line = rest;
    return str_trim(first);
}

static double number(str s)
{
    char text[32] = { 0 };
    if (s.len >= sizeof text || s.len == 0)
        return -1;
    memcpy(text, s.ptr, s.len);
    char *end;
    double d = strtod(text, &end);
    return *end == '\0' && d >= 0 && d < 1e9 ? d : -1;
}

static void copy(char *to, size_t size, str s)
{
    snprintf(to, size, "%.*s", (int)(s.len < size ? s.len : size - 1), s.ptr ? s.ptr : "");
}

static bool next_line(str *text, str *line)
{
    if (text->len == 0)
        return false;
    (void)str_cut(*text, '\n', line, text);
    return true;
}

size_t gpu_parse_rows(str csv, struct gpu_row *out, size_t max)
{
    size_t n = 0;
    str line;
    while (n < max && next_line(&csv, &line)) {
        struct gpu_row r = { 0 };
        double index = number(field(&line));
        copy(r.uuid, sizeof r.uuid, field(&line));
        copy(r.gpu.name, sizeof r.gpu.name, field(&line));
        double total = number(field(&line)), used = number(field(&line)), util = number(field(&line)), temp = number(field(&line));
        if (index < 0 || total <= 0)
            continue; /* a message, or a card that does not say */
        r.gpu.index = (unsigned)index;
        r.gpu.total_mb = total;
        r.gpu.used_mb = used > 0 ? used : 0;
        r.gpu.util = util > 0 ? util : 0;
        r.gpu.temp = temp > 0 ? temp : 0;
        out[n++] = r;
    }
    return n;
}

void gpu_parse_apps(str csv, struct gpu_row *rows, size_t n, bool (*ours)(void *ud, long pid), void *ud)
{
    double mine[GPU_MAX] = { 0 };
    bool unknown[GPU_MAX] = { false };
    str line;
    while (next_line(&csv, &line)) {
        str uuid = field(&line);
        double pid = number(field(&line)), used = number(field(&line));
        for (size_t i = 0; pid > 0 && i < n && i < GPU_MAX; i++) {
            if (!str_eq(uuid, str_c(rows[i].uuid)) || !ours(ud, (long)pid))
                continue;
            mine[i] += used > 0 ? used : 0;
            unknown[i] = unknown[i] || used < 0;
        }
    }
    for (size_t i = 0; i < n && i < GPU_MAX; i++) {
        double rest = rows[i].gpu.used_mb - mine[i];
        rows[i].gpu.foreign_mb = unknown[i] || rest < 0 ? 0 : rest;
    }
}

static double sysfs_number(const char *root, unsigned card, const char *what)
{
    char path[300], text[32];
    snprintf(path, sizeof path, "%s/card%u/device/%s", root, card, what);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    char *end;
    double d = strtod(text, &end);
    return end != text && d >= 0 ? d : -1;
}

size_t gpu_read_sysfs(const char *root, struct gpu_row *out, size_t max)
{
    size_t n = 0;
    for (unsigned card = 0; card < 64 && n < max; card++) {
        double total = sysfs_number(root, card, "mem_info_vram_total"), used = sysfs_number(root, card, "mem_info_vram_used");
        double busy = sysfs_number(root, card, "gpu_busy_percent");
        if (total <= 0)
            continue;
        struct gpu_row r = { .gpu = { .index = card, .name = "AMD", .total_mb = total / (1 << 20),
                                      .used_mb = used > 0 ? used / (1 << 20) : 0, .util = busy > 0 ? busy : 0 } };
        out[n++] = r;
    }
    return n;
}

/* --- looking --- */

/* A process of ours descends from us: models run under supervisors that are our children. */
static bool is_ours(void *ud, long pid)
{
    long self = (long)getpid();
    (void)ud;
    for (int depth = 0; depth < 64 && pid > 1; depth++) {
        if (pid == self)
            return true;
        char path[40], text[600];
        snprintf(path, sizeof path, "/proc/%ld/stat", pid);
        FILE *f = fopen(path, "re");
        if (!f)
            return false;
        size_t n = fread(text, 1, sizeof text - 1, f);
        fclose(f);
        text[n] = '\0';
        const char *at = strrchr(text, ')'); /* then " S PPID ..." */
        if (!at || strlen(at) < 5)
            return false;
        pid = strtol(at + 4, NULL, 10);
    }
    return false;
}

static void take_rows(struct gpu_watch *w)
{
    msec now = io_loop_now(w->loop);
    for (size_t i = 0; i < w->n_next; i++)
        w->next[i].gpu.sampled_at = now;
    memcpy(w->rows, w->next, sizeof w->rows);
    w->n_rows = w->n_next;
    w->seen = true;
    io_timer_set(w->timer, GPU_EVERY_MS);
}

static void on_answered(void *ud, int status, int sig);

static bool ask(struct gpu_watch *w, enum look what)
{
    static const char *const rows[] = {
        "nvidia-smi", "--query-gpu=index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu",
        "--format=csv,noheader,nounits", NULL
    };
    static const char *const apps[] = { "nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_gpu_memory",
                                        "--format=csv,noheader,nounits", NULL };
    struct error e = { 0 };
    w->out = memfd_create("nvidia-smi", MFD_CLOEXEC);
    if (w->out < 0)
        return false;
    struct io_child_conf conf = { .file = "nvidia-smi", .argv = what == LOOK_ROWS ? rows : apps, .fds = { -1, w->out, -1 },
                                  .n_fds = 3 };
    w->look = what;
    w->child = io_child_spawn(w->loop, &conf, on_answered, w, &e);
    if (!w->child) {
        if (!w->complained)
            log_warn("", "GPU facts: %s", e.msg);
        w->complained = true;
        close(w->out);
        w->out = -1;
        w->look = LOOK_NONE;
        return false;
    }
    io_timer_set(w->timer, GPU_LOOK_MS);
    return true;
}

static void look(struct gpu_watch *w)
{
    if (!w->nvidia)
        w->n_next = gpu_read_sysfs(SYSFS, w->next, GPU_MAX);
    else if (ask(w, LOOK_ROWS))
        return;
    else
        w->n_next = 0;
    take_rows(w);
}

static void on_timer(void *ud)
{
    struct gpu_watch *w = ud;
    if (w->child)
        io_child_kill(w->child, SIGKILL); /* its end follows */
    else
        look(w);
}

static void on_answered(void *ud, int status, int sig)
{
    struct gpu_watch *w = ud;
    enum look what = w->look;
    char *text = mem_resize(NULL, OUTPUT_MAX, 1);
    ssize_t n = pread(w->out, text, OUTPUT_MAX, 0);
    str csv = str_n(text, n > 0 ? (size_t)n : 0);
    close(w->out);
    w->out = -1;
    io_child_free(w->child);
    w->child = NULL;
    w->look = LOOK_NONE;
    if ((status != 0 || sig != 0) && what == LOOK_ROWS) {
        if (!w->complained)
            log_warn("", "GPU facts: nvidia-smi failed (status %d, signal %d)", status, sig);
        w->complained = true;
        csv = STR_NONE;
    }
    if (what == LOOK_ROWS)
        w->n_next = gpu_parse_rows(csv, w->next, GPU_MAX);
    else if (status == 0 && sig == 0)
        gpu_parse_apps(csv, w->next, w->n_next, is_ours, NULL);
    free(text);
    if (what == LOOK_ROWS && w->n_next > 0 && ask(w, LOOK_APPS))
        return;
    take_rows(w);
}

/* --- life --- */

static bool in_path(const char *name)
{
    const char *path = getenv("PATH");
    str left = str_c(path ? path : "/usr/local/bin:/usr/bin:/bin"), dir;
    while (left.len > 0) {
        char file[512];
        (void)str_cut(left, ':', &dir, &left);
        snprintf(file, sizeof file, STR_FMT "/%s", STR_ARG(dir), name);
        if (dir.len > 0 && access(file, X_OK) == 0)
            return true;
    }
    return false;
}

bool gpu_watch_possible(void)
{
    struct gpu_row one;
    return in_path("nvidia-smi") || gpu_read_sysfs(SYSFS, &one, 1) > 0;
}

struct gpu_watch *gpu_watch_new(struct io_loop *l, bool wait)
{
    if (!gpu_watch_possible())
        return NULL;
    struct gpu_watch *w = mem_zalloc(sizeof *w);
    w->loop = l;
    w->out = -1;
    w->nvidia = in_path("nvidia-smi");
    w->timer = io_timer_new(l, "gpu facts", on_timer, w);
    look(w);
    while (wait && !w->seen && io_loop_turn(l))
        ;
    return w;
}

void gpu_watch_free(struct gpu_watch *w)
{
    if (!w)
        return;
    if (w->child)
        io_child_kill(w->child, SIGKILL);
    io_child_free(w->child);
    if (w->out >= 0)
        close(w->out);
    io_timer_free(w->timer);
    free(w);
}

size_t gpu_watch_rows(const struct gpu_watch *w, struct policy_gpu *out, size_t max)
{
    size_t n = w ? w->n_rows : 0;
    for (size_t i = 0; i < n && i < max; i++)
        out[i] = w->rows[i].gpu;
    return n < max ? n : max;
}

bool gpu_watch_any(const struct gpu_watch *w)
{
    return w && (w->n_rows > 0 || !w->seen);
}
