#include "metrics/system.h"

#include "base/mem.h"
#include "metrics/prom.h"

#include <stdio.h>
#include <stdlib.h>

static FILE *open_in(const char *proc, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", proc, name);
    return fopen(path, "re");
}

static str word(str *rest)
{
    size_t i = 0, n = 0;
    while (i < rest->len && (rest->ptr[i] == ' ' || rest->ptr[i] == '\t' || rest->ptr[i] == '\n'))
        i++;
    while (i + n < rest->len && rest->ptr[i + n] != ' ' && rest->ptr[i + n] != '\t' && rest->ptr[i + n] != '\n')
        n++;
    str w = str_sub(*rest, i, n);
    *rest = str_sub(*rest, i + n, rest->len);
    return w;
}

static uint64_t number(str *rest)
{
    uint64_t v;
    return str_to_u64(word(rest), &v) ? v : 0;
}

/* The next line of f, or false. */
static bool line_of(FILE *f, char *buf, size_t size, str *ret)
{
    if (!f || !fgets(buf, (int)size, f))
        return false;
    *ret = str_c(buf);
    return true;
}

static void close_file(FILE *f)
{
    if (f)
        fclose(f);
}

static void take_core(struct system_sample *s, size_t core, str counters)
{
    uint64_t v[8], total = 0; /* user nice system idle iowait irq softirq steal */
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = number(&counters);
        total += v[i];
    }
    uint64_t idle = v[3] + v[4];
    bool sane = total >= s->total[core] && idle >= s->idle[core] && total - s->total[core] >= idle - s->idle[core];
    if (sane && total > s->total[core]) { /* else none since the last look: that one still holds */
        double all = (double)(total - s->total[core]);
        s->busy[core] = 100.0 * (all - (double)(idle - s->idle[core])) / all;
    }
    s->total[core] = total;
    s->idle[core] = idle;
}

static void read_cores(struct system_sample *s, const char *proc)
{
    char buf[1024];
    str rest;
    FILE *f = open_in(proc, "stat");
    s->n_cores = 0;
    while (line_of(f, buf, sizeof buf, &rest)) {
        str name = word(&rest);
        uint64_t core;
        if (!str_starts(name, S("cpu")) || !str_to_u64(str_sub(name, 3, name.len), &core) || core >= SYSTEM_CORES)
            continue;
        take_core(s, (size_t)core, rest);
        if (core >= s->n_cores)
            s->n_cores = (size_t)core + 1;
    }
    close_file(f);
}

static void read_memory(struct system_sample *s, const char *proc)
{
    static const char *const names[] = { "MemTotal:", "MemAvailable:", "SwapTotal:", "SwapFree:" };
    uint64_t kb[ARRAY_LEN(names)] = { 0 };
    char buf[256];
    str rest;
    FILE *f = open_in(proc, "meminfo");
    while (line_of(f, buf, sizeof buf, &rest)) {
        str name = word(&rest);
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (str_eq(name, str_c(names[i])))
                kb[i] = number(&rest);
    }
    close_file(f);
    s->has_memory = kb[0] > 0;
    s->mem_total = kb[0] * 1024;
    s->mem_free = (kb[1] < kb[0] ? kb[1] : kb[0]) * 1024;
    s->mem_used = s->mem_total - s->mem_free;
    s->swap_total = kb[2] * 1024;
    s->swap_used = (kb[3] < kb[2] ? kb[2] - kb[3] : 0) * 1024;
}

static void read_load(struct system_sample *s, const char *proc)
{
    char buf[128];
    str rest;
    FILE *f = open_in(proc, "loadavg");
    s->has_load = line_of(f, buf, sizeof buf, &rest);
    for (size_t i = 0; s->has_load && i < ARRAY_LEN(s->load); i++) {
        str whole, part;
        uint64_t a = 0, b = 0;
        s->has_load = str_cut(word(&rest), '.', &whole, &part) && str_to_u64(whole, &a) && str_to_u64(part, &b);
        s->load[i] = (double)a + (double)b / 100; /* two digits */
    }
    close_file(f);
}

static void read_network(struct system_sample *s, const char *proc)
{
    char buf[512];
    str rest, name;
    FILE *f = open_in(proc, "net/dev");
    s->n_nics = 0;
    while (s->n_nics < SYSTEM_NICS && line_of(f, buf, sizeof buf, &rest)) {
        struct system_nic *n = &s->nics[s->n_nics];
        if (!str_cut(rest, ':', &name, &rest)) /* a line of headings */
            continue;
        name = str_trim(name);
        snprintf(n->name, sizeof n->name, STR_FMT, STR_ARG(name));
        n->received = number(&rest);
        for (int i = 0; i < 7; i++)
            (void)word(&rest);
        n->sent = number(&rest);
        s->n_nics++;
    }
    close_file(f);
}

void system_sample(struct system_sample *s, const char *proc)
{
    read_cores(s, proc);
    read_memory(s, proc);
    read_load(s, proc);
    read_network(s, proc);
}

void system_prom(const struct system_sample *s, struct strbuf *out)
{
    char core[24];
    if (s->n_cores)
        prom_help(out, "llamaswap_cpu_util_percent", "gauge", "How busy a core was, in percent.");
    for (size_t i = 0; i < s->n_cores; i++) {
        snprintf(core, sizeof core, "%zu", i);
        struct prom_label label = { "core", str_c(core) };
        prom_float(out, "llamaswap_cpu_util_percent", &label, 1, s->busy[i]);
    }
    if (s->has_memory) {
        prom_gauge(out, "llamaswap_memory_total_bytes", "Memory of the machine.", s->mem_total);
        prom_gauge(out, "llamaswap_memory_used_bytes", "Memory in use.", s->mem_used);
        prom_gauge(out, "llamaswap_memory_free_bytes", "Memory that could be used.", s->mem_free);
        prom_gauge(out, "llamaswap_swap_total_bytes", "Swap space.", s->swap_total);
        prom_gauge(out, "llamaswap_swap_used_bytes", "Swap space in use.", s->swap_used);
    }
    static const char *const intervals[] = { "1m", "5m", "15m" };
    if (s->has_load)
        prom_help(out, "llamaswap_load_average", "gauge", "Load average of the machine.");
    for (size_t i = 0; s->has_load && i < 3; i++) {
        struct prom_label label = { "interval", str_c(intervals[i]) };
        prom_float(out, "llamaswap_load_average", &label, 1, s->load[i]);
    }
    if (s->n_nics)
        prom_help(out, "llamaswap_network_bytes_total", "counter", "Bytes over an interface.");
    for (size_t i = 0; i < s->n_nics; i++) {
        struct prom_label labels[] = { { "interface", str_c(s->nics[i].name) }, { "direction", S("recv") } };
        prom_uint(out, "llamaswap_network_bytes_total", labels, 2, s->nics[i].received);
        labels[1].value = S("sent");
        prom_uint(out, "llamaswap_network_bytes_total", labels, 2, s->nics[i].sent);
    }
}
