/* process_health_test.c: readiness: when it is asked, what counts, and that no server can hold it up. */
#include "process_rig.h"

#include "io/listen.h"
#include "process/health.h"
#include "spec.h"

#include <signal.h>
#include <stdio.h>

/* A server inside the test's own loop that answers from a script. */
struct fake {
    struct io_listener *ls;
    const char *answers[8]; /* the last one is repeated; NULL: never answers */
    size_t n, at;
    unsigned conns, requests;
    char first[512]; /* bytes of the first request */
    struct list peers;
};

struct peer {
    struct list node;
    struct io_stream *s;
    struct fake *f;
};

static void peer_data(void *ud, str bytes)
{
    struct peer *p = ud;
    struct fake *f = p->f;
    if (f->requests++ == 0)
        snprintf(f->first, sizeof f->first, STR_FMT, STR_ARG(bytes));
    const char *a = f->answers[f->at];
    if (f->at + 1 < f->n)
        f->at++;
    if (!a)
        return;
    str whole = str_c(a);
    io_stream_write(p->s, &whole, 1);
}

static void peer_end(void *ud)
{
    struct peer *p = ud;
    io_stream_close(p->s);
}

static void peer_error(void *ud, int sys)
{
    peer_end(ud);
}

static void peer_closed(void *ud)
{
    struct peer *p = ud;
    list_remove(&p->node);
    free(p);
}

static void on_accept(void *ud, struct io_stream *s)
{
    static const struct io_stream_cb cb = {
        .data = peer_data, .eof = peer_end, .error = peer_error, .closed = peer_closed
    };
    struct fake *f = ud;
    struct peer *p = mem_zalloc(sizeof *p);
    p->s = s;
    p->f = f;
    f->conns++;
    list_push_back(&f->peers, &p->node);
    io_stream_set_cb(s, &cb, p);
    io_stream_read(s, true);
}

static void fake_listen(struct fake *f, struct io_loop *l, const char *addr)
{
    struct error e = { 0 };
    f->ls = io_listen(l, str_c(addr), on_accept, f, &e);
    if (!f->ls)
        spec_miss(__FILE__, __LINE__, "%s", e.msg);
}

static void fake_close(struct fake *f)
{
    io_listener_close(f->ls);
    LIST_FOREACH(it, &f->peers)
    io_stream_close(LIST_ENTRY(it, struct peer, node)->s);
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define LOADING "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nwait"
#define MOVED "HTTP/1.1 302 Found\r\nLocation: /ready\r\nContent-Length: 0\r\n\r\n"
#define NO_CONTENT "HTTP/1.1 204 No Content\r\n\r\n"

#define UP "sh -c 'echo up; exec sleep 1000'"

static char proxy[64];

/* A rig whose model is `cmd` and whose server is the fake one. */
static void open_with(struct rig *g, struct fake *f, const char *cmd, const char *base,
                      msec health_ms)
{
    struct proc_conf conf;
    rig_conf(g, &conf, cmd);
    conf.proxy = S("http://127.0.0.1:1");
    conf.check_endpoint = S("/health");
    conf.health_timeout_ms = health_ms;
    list_init(&f->peers);
    /* the port is known only when the loop is there */
    struct io_loop *l = io_loop_new();
    fake_listen(f, l, "127.0.0.1:0");
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d%s", io_listener_port(f->ls), base);
    io_listener_close(f->ls);
    io_loop_run(l);
    io_loop_free(l);
    conf.proxy = str_c(proxy);
    rig_open(g, &conf);
}

static void listen_again(struct fake *f, struct rig *g)
{
    char addr[64];
    snprintf(addr, sizeof addr, STR_FMT, STR_ARG(str_sub(str_c(proxy), 7, 64)));
    char *slash = strchr(addr, '/');
    if (slash)
        *slash = '\0';
    fake_listen(f, g->loop, addr);
}

TEST(only_an_answer_of_200_is_ready)
{
    struct rig g;
    struct fake f = { .answers = { LOADING, MOVED, NO_CONTENT, LOADING, OK }, .n = 5 };
    open_with(&g, &f, UP, "/base/", 15000);
    proc_start(g.p, 1);
    rig_until_output(&g, "up\n");
    listen_again(&f, &g);
    rig_until_life(&g, "starting>ready(1)");
    CHECK_UINT(5, f.requests);
    CHECK_TRUE(f.conns <= 2); /* one that is used again, and perhaps a knock */
    CHECK_TRUE(str_starts(str_c(f.first), S("GET /base/health HTTP/1.1\r\nHost: 127.0.0.1:")));
    rig_turns(&g, 50);
    CHECK_UINT(5, f.requests); /* and then it is quiet */
    fake_close(&f);
    rig_end(&g);
}

TEST(a_server_that_listens_late_is_found_soon)
{
    struct rig g;
    struct fake f = { .answers = { OK }, .n = 1 };
    open_with(&g, &f, "sleep 1000", "", 15000);
    proc_start(g.p, 1);
    rig_turns(&g, 300);
    CHECK_STR("stopped>starting", strbuf_str(&g.lives));
    listen_again(&f, &g);
    msec began = clock_msec();
    rig_until_life(&g, "starting>ready(1)");
    CHECK_TRUE(clock_msec() - began < 500); /* 6 ms on a machine with nothing else to do */
    fake_close(&f);
    rig_end(&g);
}

/* runtime A090 */
TEST(a_server_that_never_answers_fails_at_the_deadline)
{
    struct rig g;
    struct fake f = { .answers = { NULL }, .n = 1 };
    open_with(&g, &f, "sleep 1000", "", 300);
    listen_again(&f, &g);
    msec began = clock_msec();
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>stopped(1)!START");
    msec took = clock_msec() - began;
    CHECK_TRUE(took >= 300 && took < 3000);
    CHECK_STR("health check timed out after 300ms", g.last_text);
    CHECK_UINT(0, rig_alive(&g));
    fake_close(&f);
    rig_end(&g);
}

TEST(a_server_that_is_not_ready_in_time_fails_and_a_deaf_command_is_killed)
{
    struct rig g;
    struct fake f = { .answers = { LOADING }, .n = 1 };
    open_with(&g, &f, "sh -c 'trap \"\" TERM; echo up; while :; do sleep 1000; done'", "", 400);
    listen_again(&f, &g);
    proc_start(g.p, 1);
    rig_until_output(&g, "up\n");
    rig_turns(&g, 450);
    CHECK_STR("stopped>starting", strbuf_str(&g.lives)); /* still ending it: 5 s at most */
    proc_kill(g.p);
    rig_until_life(&g, "starting>stopped(1)!START");
    CHECK_STR("health check timed out after 400ms", g.last_text);
    CHECK_TRUE(str_find(rig_log(), S("probes said: status 503")) >= 0);
    fake_close(&f);
    rig_end(&g);
}

TEST(a_foreign_server_cannot_vouch_for_a_command_that_has_died)
{
    struct rig g;
    struct fake f = { .answers = { OK }, .n = 1 };
    open_with(&g, &f, "sh -c 'exit 1'", "", 15000);
    listen_again(&f, &g);
    for (int i = 0; i < 20; i++) {
        strbuf_clear(&g.lives);
        proc_start(g.p, 1);
        rig_until_life(&g, "stopped>starting starting>stopped(1)!START");
    }
    fake_close(&f);
    rig_end(&g);
}

TEST(a_server_that_was_there_before_the_command_is_believed_only_after_a_while)
{
    struct rig g;
    struct fake f = { .answers = { OK }, .n = 1 };
    open_with(&g, &f, "sleep 1000", "", 15000);
    listen_again(&f, &g);
    msec began = clock_msec();
    proc_start(g.p, 1);
    rig_until_life(&g, "starting>ready(1)");
    CHECK_TRUE(clock_msec() - began >= HEALTH_FOREIGN_MS);
    CHECK_TRUE(str_find(rig_log(), S("already, before the command could")) >= 0);
    fake_close(&f);
    rig_end(&g);
}

TEST(an_endless_answer_is_cut_and_asked_again)
{
    struct rig g;
    static char flood[600000];
    snprintf(flood, sizeof flood, "HTTP/1.1 500 Oops\r\nContent-Length: 900000000\r\n\r\n");
    memset(flood + strlen(flood), 'x', sizeof flood - strlen(flood) - 1);
    struct fake f = { .answers = { flood, OK }, .n = 2 };
    open_with(&g, &f, UP, "", 15000);
    proc_start(g.p, 1);
    rig_until_output(&g, "up\n");
    listen_again(&f, &g);
    rig_until_life(&g, "starting>ready(1)");
    CHECK_UINT(2, f.requests);
    fake_close(&f);
    rig_end(&g);
}

TEST(a_proxy_that_cannot_be_asked_is_a_failed_start)
{
    static const struct {
        const char *proxy, *endpoint, *text;
    } bad[] = {
        { "", "/health", "proxy is empty" },
        { "ftp://127.0.0.1:1", "/health", "proxy: only http:// and https:// are possible" },
        { "http://:5", "/health", "proxy has no host or port" },
        { "http://127.0.0.1:1", "/a b", "checkEndpoint is not a path" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct proc_conf conf;
        struct rig g;
        rig_conf(&g, &conf, "sleep 1000");
        conf.proxy = str_c(bad[i].proxy);
        conf.check_endpoint = str_c(bad[i].endpoint);
        rig_open(&g, &conf);
        proc_start(g.p, 1);
        rig_until_life(&g, "starting>stopped(1)!START");
        CHECK_STR(bad[i].text, g.last_text);
        rig_end(&g);
    }
}

TEST(the_target_of_a_probe_is_base_path_and_check_path)
{
    static const struct {
        const char *base, *endpoint, *want;
    } rows[] = {
        { "", "/health", "/health" },
        { "/", "health", "/health" },
        { "/v1/", "/a/b?x=1", "/v1/a/b?x=1" },
        { "/v1", "http://other:9/health", "/v1/health" },
        { "", "", "/" },
        { "", " /health ", "/health" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strbuf b = STRBUF(1000);
        CHECK_TRUE(health_target(&b, str_c(rows[i].base), str_c(rows[i].endpoint)));
        CHECK_STR(rows[i].want, strbuf_str(&b));
        strbuf_fini(&b);
    }
}

TEST(probing_is_dense_at_first_and_gentle_later)
{
    CHECK_INT(1, health_gap(0, false));
    CHECK_INT(2, health_gap(500, false));
    CHECK_INT(3, health_gap(800, false));
    CHECK_INT(3, health_gap(1000, false));
    CHECK_INT(3, health_gap(100000, false));
    CHECK_INT(50, health_gap(200000, false));
    CHECK_INT(1, health_gap(0, true));
    CHECK_INT(3, health_gap(999, true));
    CHECK_INT(3, health_gap(10000, true));
    CHECK_INT(250, health_gap(600000, true));
}
