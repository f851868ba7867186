/* What /proc says about the machine, from files of our own. */
#include "metrics/prom.h"
#include "metrics/system.h"
#include "spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *dir, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    CHECK_TRUE(f != NULL);
    fputs(text, f);
    fclose(f);
}

TEST(metrics_system_reads_proc)
{
    char dir[] = "/tmp/luaswap-proc-XXXXXX", net[64];
    CHECK_TRUE(mkdtemp(dir) != NULL);
    snprintf(net, sizeof net, "%s/net", dir);
    CHECK_INT(0, mkdir(net, 0700));
    struct system_sample *s = calloc(1, sizeof *s);
    system_sample(s, dir); /* nothing is there */
    CHECK_INT(0, s->n_cores);
    CHECK_TRUE(!s->has_memory && !s->has_load);
    CHECK_INT(0, s->n_nics);

    put(dir, "stat", "cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 5 0 5 40 0 0 0 0 0 0\ncpu1 5 0 5 35 5 0 0 0 0 0\nintr 5 4\n");
    put(dir, "meminfo", "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\nSwapTotal:       50 kB\nSwapFree:        20 kB\n");
    put(dir, "loadavg", "0.05 12.50 3.00 1/100 4242\n");
    put(dir, "net/dev", "Inter-|   Receive  |  Transmit\n face |bytes  packets|bytes\n  eth0: 111 1 0 0 0 0 0 0 222 2 0 0 0 0 0 0\n    lo:7 1 0 0 0 0 0 0 8 2 0 0 0 0 0 0\n");
    system_sample(s, dir);
    CHECK_INT(2, s->n_cores);
    CHECK_INT(20, (int)s->busy[0]);
    CHECK_INT(20, (int)s->busy[1]);
    CHECK_INT(1024000, s->mem_total);
    CHECK_INT(614400, s->mem_used);
    CHECK_INT(409600, s->mem_free);
    CHECK_INT(30 * 1024, s->swap_used);
    CHECK_TRUE(s->load[0] == 0.05 && s->load[1] == 12.5 && s->load[2] == 3);
    CHECK_INT(2, s->n_nics);
    CHECK_STR("eth0", str_c(s->nics[0].name));
    CHECK_INT(222, s->nics[0].sent);
    CHECK_INT(7, s->nics[1].received);

    /* 10 ticks later, 5 of them busy on the first core; none have passed on the second */
    put(dir, "stat", "cpu0 8 0 7 45 0 0 0 0\ncpu1 5 0 5 35 5 0 0 0\n");
    system_sample(s, dir);
    CHECK_INT(50, (int)s->busy[0]);
    CHECK_INT(20, (int)s->busy[1]);

    struct strbuf b = STRBUF(1u << 16);
    system_prom(s, &b);
    CHECK_TRUE(str_find(strbuf_str(&b), S("\nllamaswap_cpu_util_percent{core=\"0\"} 50\n")) > 0);
    CHECK_TRUE(str_find(strbuf_str(&b), S("\nllamaswap_load_average{interval=\"5m\"} 12.5\n")) > 0);
    CHECK_TRUE(str_find(strbuf_str(&b), S("\nllamaswap_network_bytes_total{interface=\"eth0\",direction=\"sent\"} 222\n")) > 0);
    strbuf_fini(&b);
    free(s);
    char path[200];
    static const char *const files[] = { "stat", "meminfo", "loadavg", "net/dev" };
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(net);
    rmdir(dir);
}

TEST(metrics_prom_escapes_labels)
{
    struct strbuf b = STRBUF(1024);
    struct prom_label l[] = { { "a", S("x\"y\\z\nw") }, { "b", S("") } };
    prom_uint(&b, "n", l, 2, 18446744073709551615u);
    prom_float(&b, "f", NULL, 0, 8589934592.5e21);
    prom_gauge(&b, "g", "What it is.", 1);
    CHECK_STR("n{a=\"x\\\"y\\\\z\\nw\",b=\"\"} 18446744073709551615\nf 8.5899345925e+30\n# HELP g What it is.\n# TYPE g gauge\ng 1\n",
              strbuf_str(&b));
    strbuf_fini(&b);
}
