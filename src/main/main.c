/* main.c: from the command line to the event loop and back. */
#include "api/api.h"
#include "config/config.h"
#include "io/loop.h"
#include "io/sigs.h"
#include "io/sink.h"
#include "io/watch.h"
#include "main/demo.h"
#include "main/demo_model.h"
#include "main/options.h"
#include "main/policy_watch.h"
#include "main/trace_record.h"
#include "main/version.h"
#include "process/supervise.h"
#include "proxy/reload.h"
#include "proxy/server.h"
#include "sim/policy_cli.h"
#include "sim/rehearse.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct program {
    struct io_loop *loop;
    struct io_sigs *sigs;
    struct server *srv;
    struct io_tls_server *tls; /* NULL = none */
    const struct options *options;
    bool demo;
    struct io_watch *watches[2]; /* of the file, of the folder; NULL = not watched */
    struct policy_watch policies; /* empty without -watch-config */
    struct io_call reload;       /* all reasons of one turn are one reload */
    struct wall loaded;          /* just before the configuration was read for the first time */
    struct config *next;         /* its policies are being rehearsed; NULL = none */
    bool again;                  /* another reload was asked for meanwhile */
    int stops;                   /* SIGINT and SIGTERM seen */
};

static const char *environment(void *ud, const char *name)
{
    (void)ud;
    return getenv(name);
}

static void print_report(const struct config_report *report)
{
    struct strbuf text = STRBUF(16u * 1024 * 1024);
    if (report->len > 0) {
        config_report_print(report, &text);
        fwrite(text.ptr, 1, text.len, stderr);
    }
    strbuf_fini(&text);
}

/* 0 and *ret, or 1 after the reasons were printed. */
static int load(const struct options *o, bool demo, struct config **ret)
{
    struct config_report report;
    struct config_sources src = { .file = o->config, .dir = o->config_dir, .getenv = environment };
    int rc;
    config_report_init(&report);
    if (demo) {
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        self[n > 0 ? n : 0] = '\0';
        struct strbuf text = STRBUF(64u * 1024);
        demo_config(&text, self);
        rc = config_load_text(strbuf_str(&text), S("demo"), &src, ret, &report);
        strbuf_fini(&text);
    } else {
        rc = config_load(&src, ret, &report);
    }
    print_report(&report);
    if (rc < 0)
        fprintf(stderr, "luaswap: failed to load config\n");
    else if (o->check)
        fprintf(stderr, "configuration is fine: %zu models, %zu warnings\n", (*ret)->n_models, report.warnings);
    config_report_fini(&report);
    return rc < 0 ? 1 : 0;
}

static int dump(const struct config *cfg)
{
    struct strbuf json = STRBUF(64u * 1024 * 1024);
    bool ok = config_dump_json(cfg, &json);
    if (ok) {
        fwrite(json.ptr, 1, json.len, stdout);
        fputc('\n', stdout);
    }
    strbuf_fini(&json);
    return ok ? 0 : 1;
}

static int schema(void)
{
    struct strbuf json = STRBUF(4u * 1024 * 1024);
    bool ok = config_schema_json(&json);
    if (ok)
        fwrite(json.ptr, 1, json.len, stdout);
    strbuf_fini(&json);
    return ok ? 0 : 1;
}

/* --- reload --- */

static void log_issues(const struct config_report *report)
{
    for (size_t i = 0; i < report->len; i++) {
        struct strbuf text = STRBUF(64u * 1024);
        config_issue_print(&report->at[i], &text);
        str all = str_trim(strbuf_str(&text)), line;
        while (str_item(&all, '\n', &line)) {
            if (report->at[i].error)
                log_error("config", STR_FMT, STR_ARG(str_trim(line)));
            else
                log_warn("config", STR_FMT, STR_ARG(str_trim(line)));
        }
        strbuf_fini(&text);
    }
}

static void take_over(struct program *p, struct config *next)
{
    struct error e = { 0 };
    if (server_reload(p->srv, next, &e) < 0)
        log_error("config", "the new configuration cannot be used; everything stays as it was: %s", e.msg);
}

static void want_reload(void *ud);

static void on_rehearsed(void *ud, int rc, const char *why)
{
    struct program *p = ud;
    struct config *next = p->next;
    p->next = NULL;
    if (p->srv->phase != SERVER_RUNNING) {
        /* too late */
    } else if (p->again) { /* what was rehearsed may be old by now */
        want_reload(p);
    } else if (rc < 0) {
        log_error("config", "the new configuration cannot be used; everything stays as it was: %s", why);
    } else {
        take_over(p, next);
    }
    p->again = false;
    config_unref(next);
}

static void on_reload(void *ud)
{
    struct program *p = ud;
    struct config *next = NULL;
    struct config_report report;
    if (!p->srv || p->srv->phase != SERVER_RUNNING)
        return;
    if (p->next) {
        p->again = true;
        return;
    }
    struct config_sources src = { .file = p->options->config, .dir = p->options->config_dir, .getenv = environment,
                                  .previous = p->srv->cfg };
    config_report_init(&report);
    int rc = config_load(&src, &next, &report);
    log_issues(&report);
    if (rc == 0 && p->options->watch)
        policy_watch_set(&p->policies, p->loop, p->srv->cfg, next, want_reload, p);
    if (rc < 0) {
        log_error("config", "the new configuration has errors; everything stays as it was");
    } else if (policy_rehearse_config(p->srv, next, on_rehearsed, p)) {
        p->next = config_ref(next);
    } else {
        take_over(p, next);
    }
    config_report_fini(&report);
    config_unref(next);
}

static void want_reload(void *ud)
{
    struct program *p = ud;
    io_call_post(p->loop, &p->reload);
}

/* File systems stamp with the time of the last clock tick, which may lie up to 10 ms behind the clock. For a folder, whose
 * stamp says only that some name came or went, that is allowed for: a reload too many does no harm. */
#define STAMP_LAG_NS 20000000

/* Did the source change after it was read and before it was watched? */
static bool changed_since(const char *path, struct wall t)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    int64_t later = (int64_t)(st.st_mtim.tv_sec - t.sec) * 1000000000 + st.st_mtim.tv_nsec - t.nsec;
    return later + (S_ISDIR(st.st_mode) ? STAMP_LAG_NS : 0) > 0;
}

static void watch(struct program *p)
{
    bool late = false;
    const char *const paths[] = { p->options->config, p->options->config_dir };
    static const enum io_watch_kind kinds[] = { IO_WATCH_FILE, IO_WATCH_DIR };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct error e = { 0 };
        if (!paths[i] || p->demo)
            continue;
        p->watches[i] = io_watch_new(p->loop, kinds[i], str_c(paths[i]), want_reload, p, &e);
        if (!p->watches[i])
            log_warn("config", "%s is not watched: %s", paths[i], e.msg);
        else
            log_info("config", "watching %s%s", paths[i], io_watch_polls(p->watches[i]) ? " (a look every 2 s)" : "");
        late = late || changed_since(paths[i], p->loaded);
    }
    const struct config *cfg = p->srv->cfg;
    for (size_t i = 0; i < cfg->n_files && !p->demo; i++)
        late = late || changed_since(cfg->files[i].ptr, p->loaded);
    policy_watch_set(&p->policies, p->loop, p->demo ? NULL : cfg, NULL, want_reload, p);
    for (size_t i = 0; i < cfg->n_policies && !p->demo; i++) {
        char path[4096];
        snprintf(path, sizeof path, STR_FMT, STR_ARG(cfg->policies[i].file));
        late = late || changed_since(path, p->loaded);
    }
    if (late)
        want_reload(p);
}

static void unwatch(struct program *p)
{
    for (size_t i = 0; i < ARRAY_LEN(p->watches); i++) {
        io_watch_free(p->watches[i]);
        p->watches[i] = NULL;
    }
    policy_watch_clear(&p->policies);
    io_call_cancel(&p->reload);
}

/* Certificates are replaced while connections live: those go on with the old one. */
static void renew_certificate(struct program *p)
{
    struct error e = { 0 };
    if (!p->tls)
        return;
    if (io_tls_server_reload(p->tls, &e) < 0)
        log_error("", "the old certificate stays in use: %s", e.msg);
    else
        log_info("", "certificate loaded again from %s", p->options->tls_cert);
}

static void on_signal(void *ud, int sig)
{
    struct program *p = ud;
    if (!p->srv) /* it could not be started and is being taken down */
        return;
    switch (sig) {
    case SIGINT:
    case SIGTERM:
        if (++p->stops > 1) {
            server_stop(p->srv, true);
            _exit(130); /* the supervisors kill what is left of the models as soon as we are gone */
        }
        unwatch(p);
        server_stop(p->srv, false);
        return;
    case SIGHUP:
        renew_certificate(p);
        if (p->demo)
            log_info("", "SIGHUP: the demo has no configuration to load again");
        else if (p->srv->phase == SERVER_RUNNING)
            want_reload(p);
        return;
    case SIGUSR1: {
        struct strbuf text = STRBUF(4u * 1024 * 1024);
        server_dump(p->srv, &text);
        fprintf(stderr, STR_FMT "\n", STR_ARG(strbuf_str(&text)));
        strbuf_fini(&text);
        return;
    }
    default:
        log_info("", "%s is ignored", io_signal_name(sig));
    }
}

static void on_ended(void *ud)
{
    struct program *p = ud;
    unwatch(p);
    io_sigs_free(p->sigs);
    p->sigs = NULL;
    /* nothing is left to stop: a late signal must not change how we end */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
}

/* Each client and each upstream is a descriptor; the usual soft limit of 1024 is for programs that use select(). */
static void raise_descriptor_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
}

/* Bodies of up to a megabyte come and go all the time. With the usual thresholds each of them is a fresh mapping, and its
 * page faults cost more than all the rest of the request (measured: 960 against 620 microseconds per 1 MiB body). */
static void keep_freed_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

/* The socket that systemd (or another activator) listens on for us: how many, from descriptor 3 on. Models must not
 * take the variables for theirs. */
static unsigned inherited_sockets(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t p = 0, n = 0;
    bool ours = pid && fds && str_to_u64(str_c(pid), &p) && p == (uint64_t)getpid() && str_to_u64(str_c(fds), &n);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return !ours ? 0 : n < SERVER_INHERITED_MAX ? (unsigned)n : SERVER_INHERITED_MAX;
}

static const char *listen_address(const struct options *o, bool demo)
{
    if (o->listen)
        return o->listen;
    return demo ? "127.0.0.1:8080" : o->tls_cert ? ":8443" : ":8080";
}

static int serve(const struct options *o, struct config *cfg, bool demo, struct wall loaded)
{
    struct program p = { .loop = io_loop_new(), .options = o, .demo = demo, .loaded = loaded };
    struct io_sink *sink = io_sink_new(STDOUT_FILENO);
    struct api *api = api_new();
    struct server_conf conf = {
        .cfg = cfg,
        .listen = listen_address(o, demo),
        .inherited = inherited_sockets(),
        .sink = sink,
        .route = api_route,
        .api = api,
        .build = { LUASWAP_VERSION, LUASWAP_COMMIT, LUASWAP_DATE },
        .rehearser = { rehearse_traffic, rehearse_traffic_free, rehearse_run },
    };
    struct error e = { 0 };
    int status = 1;
    raise_descriptor_limit();
    keep_freed_memory();
    io_call_init(&p.reload, on_reload, &p);
    p.sigs = io_sigs_new(p.loop, on_signal, &p); /* first: whoever sees that we listen may signal us */
    if (o->tls_cert)
        conf.tls = p.tls = io_tls_server_new(o->tls_cert, o->tls_key, &e);
    if (p.tls || !o->tls_cert)
        p.srv = server_new(p.loop, &conf, &e);
    if (!p.srv) {
        fprintf(stderr, "luaswap: http server error: %s\n", e.msg);
        io_sigs_free(p.sigs);
        io_loop_run(p.loop);
    } else {
        p.srv->on_ended = on_ended;
        p.srv->on_ended_ud = &p;
        if (o->watch)
            watch(&p);
        if (demo && !p.tls) {
            struct strbuf text = STRBUF(16u * 1024);
            demo_greeting(&text, http_server_addr(p.srv->http, 0));
            fputs(text.ptr, stderr);
            strbuf_fini(&text);
        }
        io_loop_run(p.loop);
        status = p.srv->exit_code;
        server_free(p.srv);
        io_sigs_free(p.sigs);
    }
    api_free(api);
    io_loop_free(p.loop);
    io_sink_free(sink);
    io_tls_server_free(p.tls);
    return status;
}

int main(int argc, char **argv)
{
    if (argc > 1 && str_eq(str_c(argv[1]), S("--supervise")))
        return supervise_main(argc, argv);
    if (argc > 1 && str_eq(str_c(argv[1]), S("demo-model")))
        return demo_model_main(argc - 1, argv + 1);
    if (trace_record_wanted(argc - 1, argv + 1))
        return trace_record_main(argc - 1, argv + 1);
    if (argc > 1 && policy_cli_knows(argv[1]))
        return policy_cli_main(argc - 1, argv + 1);
    bool demo = argc > 1 && str_eq(str_c(argv[1]), S("demo"));
    struct options o;
    int status = options_parse(argc - demo, argv + demo, &o);
    if (status != 0 || o.help)
        return status;
    if (o.version) {
        printf("version: %s (%s), built at %s\n", LUASWAP_VERSION, LUASWAP_COMMIT, LUASWAP_DATE);
        return 0;
    }
    if (o.schema)
        return schema();
    if (!demo && !o.config && !o.config_dir) {
        fprintf(stderr, "luaswap: at least one of -config or -config-dir must be provided (or try: luaswap demo)\n");
        return 1;
    }
    if (!o.tls_cert != !o.tls_key) {
        fprintf(stderr, "luaswap: both -tls-cert-file and -tls-key-file must be provided\n");
        return 1;
    }
    struct config *cfg;
    struct wall now = clock_wall();
    if (load(&o, demo, &cfg) != 0)
        return 1;
    if (o.dump)
        status = dump(cfg);
    else if (!o.check)
        status = serve(&o, cfg, demo, now);
    config_unref(cfg);
    return status;
}
