/* main.c: from the command line to the event loop and back. */
#include "api/api.h"
#include "config/config.h"
#include "io/loop.h"
#include "io/sigs.h"
#include "io/sink.h"
#include "main/demo.h"
#include "main/demo_model.h"
#include "main/options.h"
#include "main/version.h"
#include "process/supervise.h"
#include "proxy/server.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

struct program {
    struct io_loop *loop;
    struct io_sigs *sigs;
    struct server *srv;
    int stops; /* SIGINT and SIGTERM seen */
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
        server_stop(p->srv, false);
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

static int serve(const struct options *o, struct config *cfg, bool demo)
{
    struct program p = { .loop = io_loop_new() };
    struct io_sink *sink = io_sink_new(STDOUT_FILENO);
    struct api *api = api_new();
    struct server_conf conf = {
        .cfg = cfg,
        .listen = o->listen ? o->listen : demo ? "127.0.0.1:8080" : ":8080",
        .sink = sink,
        .route = api_route,
        .api = api,
        .build = { LUASWAP_VERSION, LUASWAP_COMMIT, LUASWAP_DATE },
    };
    struct error e = { 0 };
    int status = 1;
    raise_descriptor_limit();
    p.sigs = io_sigs_new(p.loop, on_signal, &p); /* first: whoever sees that we listen may signal us */
    p.srv = server_new(p.loop, &conf, &e);
    if (!p.srv) {
        fprintf(stderr, "luaswap: http server error: %s\n", e.msg);
        io_sigs_free(p.sigs);
        io_loop_run(p.loop);
    } else {
        p.srv->on_ended = on_ended;
        p.srv->on_ended_ud = &p;
        if (demo) {
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
    return status;
}

int main(int argc, char **argv)
{
    if (argc > 1 && str_eq(str_c(argv[1]), S("--supervise")))
        return supervise_main(argc, argv);
    if (argc > 1 && str_eq(str_c(argv[1]), S("demo-model")))
        return demo_model_main(argc - 1, argv + 1);
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
    struct config *cfg;
    if (load(&o, demo, &cfg) != 0)
        return 1;
    if (o.dump)
        status = dump(cfg);
    else if (!o.check)
        status = serve(&o, cfg, demo);
    config_unref(cfg);
    return status;
}
