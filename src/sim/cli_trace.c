/* luaswap trace: traces made up, or guessed from an activity list. */
#include "sim/cli.h"

#include "sched/ops.h"
#include "sim/trace_make.h"

#include <stdio.h>

static int fault(const char *command, const struct error *e)
{
    fprintf(stderr, "luaswap trace %s: %s\n", command, e->msg);
    return 2;
}

static int synth(int argc, char **argv)
{
    struct sim_synth s;
    struct error e = { 0 };
    double n = 400, seed = 1, burst = 1, limit = 100, models = 0;
    enum sched_kind kind;
    sim_synth_init(&s);
    for (int i = 2; i < argc; i += 2) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        int rc = 0;
        bool ok = true;
        if (strcmp(a, "--model") == 0)
            rc = sim_synth_model(&s, str_c(v), &e);
        else if (strcmp(a, "--key") == 0)
            rc = sim_synth_key(&s, str_c(v), &e);
        else if (strcmp(a, "--scheduler") == 0 && sched_kind_of(str_c(v), &kind))
            s.scheduler = v;
        else if (strcmp(a, "--start") == 0 && strlen(v) >= 19 && !strpbrk(v, "\"\\"))
            s.start = v;
        else
            ok = strcmp(a, "--requests") == 0 ? cli_number(v, 1, 1e7, &n)
                 : strcmp(a, "--gap") == 0    ? cli_number(v, 0, 1e6, &s.gap_s)
                 : strcmp(a, "--seed") == 0   ? cli_number(v, 0, 9e15, &seed)
                 : strcmp(a, "--burst") == 0  ? cli_number(v, 1, 1e6, &burst)
                 : strcmp(a, "--gpu") == 0    ? cli_number(v, 0, 1e9, &s.gpu_mb)
                 : strcmp(a, "--limit") == 0  ? cli_number(v, 1, 1e6, &limit)
                 : strcmp(a, "--models") == 0 ? cli_number(v, 1, 5, &models)
                                              : false;
        if (rc)
            return fault("synth", &e);
        if (!ok) {
            fprintf(stderr, "luaswap trace synth: cannot make sense of %s %s\n", a, v);
            return cli_usage();
        }
    }
    s.requests = (size_t)n;
    s.seed = (uint64_t)seed;
    s.burst = (size_t)burst;
    s.limit = (unsigned)limit;
    if (s.n_models == 0)
        s.n_models = (size_t)models;
    struct strbuf b = STRBUF((size_t)1 << 30);
    sim_trace_make(&b, &s);
    return cli_out(&b);
}

static int import(int argc, char **argv)
{
    struct sim_import conf = { .load_s = 15 };
    const char *path = NULL;
    enum sched_kind kind;
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] != '-' && !path)
            path = argv[i];
        else if (i + 1 < argc && strcmp(argv[i], "--load") == 0 && cli_number(argv[i + 1], 0, 1e5, &conf.load_s))
            i++;
        else if (i + 1 < argc && strcmp(argv[i], "--scheduler") == 0 && sched_kind_of(str_c(argv[i + 1]), &kind))
            conf.scheduler = argv[++i];
        else
            return cli_usage();
    }
    if (!path)
        return cli_usage();
    struct strbuf text = STRBUF((size_t)1 << 30), b = STRBUF((size_t)1 << 30);
    struct error e = { 0 };
    int rc = cli_read("trace import", path, &text) ? sim_trace_import_list(strbuf_str(&text), &conf, &b, &e) : 2;
    strbuf_fini(&text);
    if (rc) {
        strbuf_fini(&b);
        if (rc < 0)
            fprintf(stderr, "%s:%s\n", path, e.msg);
        return 2;
    }
    fprintf(stderr, "%zu requests, %zu rows left out because they failed; the list has no load times: %zu models got %g s, the others "
                    "what their first requests took longer\n",
            conf.rows, conf.skipped, conf.guessed, conf.load_s);
    return cli_out(&b);
}

int cli_trace(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "synth") == 0)
        return synth(argc, argv);
    if (argc >= 3 && strcmp(argv[1], "import") == 0)
        return import(argc, argv);
    return cli_usage();
}
