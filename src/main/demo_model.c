/* demo_model.c: see demo_model.h. */
#include "main/demo_model.h"

#include "base/check.h"
#include "codec/http_write.h"
#include "http/server.h"
#include "io/loop.h"
#include "io/sigs.h"
#include "io/timer.h"
#include "main/demo_answer.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX (64u << 20)

struct demo {
    struct io_loop *loop;
    struct http_server *http;
    struct io_sigs *sigs;
    struct io_timer *load;
    str name, host;
    int port;
    double load_s, rate;
    size_t tokens;
    bool loaded, ending;
    uint64_t requests;
};

struct exchange {
    struct demo *d;
    struct http_req *r;
    enum demo_api api;
    struct strbuf body, out;
    struct demo_answer answer;
    struct io_timer *tick;
    msec began;
    bool answering, blocked;
};

/* One line of what a server writes to its log. */
static void say(const struct demo *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(const struct demo *d, const char *fmt, ...)
{
    va_list ap;
    printf(STR_FMT ": ", STR_ARG(d->name));
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

/* ---- answers over time ---- */

/* How many tokens should have been said by now; the first one at once. */
static size_t due(const struct exchange *x)
{
    if (x->d->rate <= 0)
        return x->answer.tokens;
    msec passed = io_loop_now(x->d->loop) - x->began;
    double n = (double)passed * x->d->rate / 1000 + 1;
    return n < (double)x->answer.tokens ? (size_t)n : x->answer.tokens;
}

static msec when(const struct exchange *x, size_t tokens)
{
    msec at = x->d->rate > 0 ? (msec)((double)tokens * 1000 / x->d->rate) + 1 : 0;
    msec left = at - (io_loop_now(x->d->loop) - x->began);
    return left > 0 ? left : 0;
}

static void finish_stream(struct exchange *x)
{
    msec took = io_loop_now(x->d->loop) - x->began;
    strbuf_clear(&x->out);
    demo_stream_end(&x->answer, &x->out, took);
    http_req_send(x->r, strbuf_str(&x->out));
    say(x->d, "%zu tokens streamed in %" PRId64 " ms", x->answer.at, took);
    http_req_finish(x->r);
}

static void go_on(struct exchange *x)
{
    size_t n = due(x);
    while (x->answer.at < n && !x->blocked) {
        strbuf_clear(&x->out);
        demo_stream_token(&x->answer, &x->out);
        x->blocked = !http_req_send(x->r, strbuf_str(&x->out));
    }
    if (x->blocked)
        return; /* until it has drained */
    if (x->answer.at == x->answer.tokens)
        finish_stream(x);
    else
        io_timer_set(x->tick, when(x, x->answer.at));
}

static void answer_whole(struct exchange *x)
{
    msec took = io_loop_now(x->d->loop) - x->began;
    strbuf_clear(&x->out);
    demo_whole(&x->answer, &x->out, took);
    say(x->d, "%zu tokens in %" PRId64 " ms", x->answer.at, took);
    http_req_reply(x->r, 200, S("application/json"), strbuf_str(&x->out));
}

static void on_tick(void *ud)
{
    struct exchange *x = ud;
    if (x->answer.stream)
        go_on(x);
    else
        answer_whole(x);
}

static void begin_answer(struct exchange *x)
{
    x->answering = true;
    x->began = io_loop_now(x->d->loop);
    x->tick = io_timer_new(x->d->loop, "tokens of a demo model", on_tick, x);
    if (!x->answer.stream) {
        io_timer_set(x->tick, when(x, x->answer.tokens));
        return;
    }
    struct strbuf *head = http_req_head_begin(x->r, 200, STR_NONE);
    http_head_add(head, S("Content-Type"), S("text/event-stream"));
    http_head_add(head, S("Cache-Control"), S("no-cache"));
    http_req_head_end(x->r, HTTP_BODY_CHUNKED, 0);
    strbuf_clear(&x->out);
    demo_stream_begin(&x->answer, &x->out);
    if (x->out.len)
        x->blocked = !http_req_send(x->r, strbuf_str(&x->out));
    go_on(x);
}

/* ---- requests ---- */

static void reply_error(struct http_req *r, int status, const char *message)
{
    struct strbuf b = STRBUF(1000);
    strbuf_add(&b, S("{\"error\":{\"message\":\""));
    strbuf_add_json(&b, str_c(message));
    strbuf_addf(&b, "\",\"type\":\"%s\",\"code\":%d}}",
                status == 503 ? "unavailable_error" : "invalid_request_error", status);
    http_req_reply(r, status, S("application/json"), strbuf_str(&b));
    strbuf_fini(&b);
}

static void reply_page(struct demo *d, struct http_req *r)
{
    struct strbuf b = STRBUF(8000);
    strbuf_addf(
        &b,
        "<!doctype html><html lang=en><meta charset=utf-8><title>" STR_FMT "</title>"
        "<style>body{font:18px/1.5 system-ui;max-width:36em;margin:4em auto;padding:0 1em}</style>"
        "<h1>" STR_FMT
        "</h1><p>This is a demonstration model of luaswap. It %s. It knows nothing, but it says "
        "so %.0f times a second.<p>Try <code>POST /v1/chat/completions</code>.</html>\n",
        STR_ARG(d->name), STR_ARG(d->name), d->loaded ? "is awake" : "is still loading", d->rate);
    http_req_reply(r, 200, S("text/html; charset=utf-8"), strbuf_str(&b));
    strbuf_fini(&b);
}

static void reply_models(struct demo *d, struct http_req *r)
{
    struct strbuf b = STRBUF(2000);
    strbuf_add(&b, S("{\"object\":\"list\",\"data\":[{\"id\":\""));
    strbuf_add_json(&b, d->name);
    strbuf_add(&b, S("\",\"object\":\"model\",\"created\":0,\"owned_by\":\"demo\"}]}"));
    http_req_reply(r, 200, S("application/json"), strbuf_str(&b));
    strbuf_fini(&b);
}

static const struct {
    const char *path;
    enum demo_api api;
} posts[] = {
    { "/v1/chat/completions", DEMO_CHAT },
    { "/v1/completions", DEMO_COMPLETION },
    { "/v1/responses", DEMO_RESPONSES },
    { "/v1/messages", DEMO_MESSAGES },
    { "/v1/embeddings", DEMO_EMBEDDINGS },
    { "/v1/rerank", DEMO_RERANK },
    { "/rerank", DEMO_RERANK },
    { "/completion", DEMO_NATIVE },
    { "/infill", DEMO_NATIVE },
};

static void begin_get(struct demo *d, struct http_req *r, str path)
{
    if (str_eq(path, S("/health"))) {
        if (d->loaded)
            http_req_reply(r, 200, S("application/json"), S("{\"status\":\"ok\"}"));
        else
            reply_error(r, 503, "Loading model");
    } else if (str_eq(path, S("/v1/models"))) {
        reply_models(d, r);
    } else if (str_eq(path, S("/"))) {
        reply_page(d, r);
    } else {
        reply_error(r, 404, "there is nothing here");
    }
}

static void on_begin(void *ud, struct http_req *r)
{
    struct demo *d = ud;
    const struct http_head *h = http_req_head(r);
    http_req_set_ud(r, NULL);
    if (str_eq(h->method, S("GET")) || str_eq(h->method, S("HEAD"))) {
        begin_get(d, r, h->path);
        return;
    }
    size_t i = 0;
    while (i < ARRAY_LEN(posts) && !str_eq(h->path, str_c(posts[i].path)))
        i++;
    if (i == ARRAY_LEN(posts) || !str_eq(h->method, S("POST"))) {
        reply_error(r, i == ARRAY_LEN(posts) ? 404 : 405, "there is nothing here");
        return;
    }
    if (!d->loaded) {
        reply_error(r, 503, "Loading model");
        return;
    }
    struct exchange *x = mem_zalloc(sizeof *x);
    x->d = d;
    x->r = r;
    x->api = posts[i].api;
    strbuf_init(&x->body, BODY_MAX);
    strbuf_init(&x->out, BODY_MAX);
    http_req_set_ud(r, x);
    http_req_read(r, true);
}

static void on_body(struct http_req *r, str bytes)
{
    struct exchange *x = http_req_ud(r);
    if (x)
        strbuf_add(&x->body, bytes);
}

static void on_body_end(struct http_req *r)
{
    struct exchange *x = http_req_ud(r);
    struct error e = { 0 };
    if (!x)
        return;
    if (x->body.full) {
        reply_error(r, 413, "that is too much to read");
        return;
    }
    int rc = demo_answer_init(&x->answer, x->api, x->d->name, ++x->d->requests,
                              strbuf_str(&x->body), x->d->tokens, &x->out, &e);
    strbuf_fini(&x->body);
    if (rc < 0)
        reply_error(r, 400, e.msg);
    else if (demo_one_piece(x->api))
        http_req_reply(r, 200, S("application/json"), strbuf_str(&x->out));
    else
        begin_answer(x);
}

static void on_drained(struct http_req *r)
{
    struct exchange *x = http_req_ud(r);
    if (x && x->blocked) {
        x->blocked = false;
        go_on(x);
    }
}

static void on_end(struct http_req *r, enum http_end why)
{
    struct exchange *x = http_req_ud(r);
    if (!x)
        return;
    if (why == HTTP_END_GONE && x->answering)
        say(x->d, "the client left after %zu tokens", x->answer.at);
    io_timer_free(x->tick);
    demo_answer_fini(&x->answer);
    strbuf_fini(&x->body);
    strbuf_fini(&x->out);
    free(x);
}

/* ---- life ---- */

static void on_loaded(void *ud)
{
    struct demo *d = ud;
    d->loaded = true;
    say(d, "ready on port %d", http_server_port(d->http, 0));
}

static void on_closed(void *ud)
{
    struct demo *d = ud;
    http_server_free(d->http);
    io_timer_free(d->load);
    io_sigs_free(d->sigs);
}

static void on_signal(void *ud, int sig)
{
    struct demo *d = ud;
    if (d->ending || (sig != SIGTERM && sig != SIGINT))
        return;
    d->ending = true;
    say(d, "good bye");
    io_timer_clear(d->load);
    http_server_close(d->http, on_closed, d);
}

static bool to_number(const char *text, double most, double *ret)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= 0) || v > most)
        return false;
    *ret = v;
    return true;
}

static int parse(int argc, char **argv, struct demo *d)
{
    double v;
    *d = (struct demo){ .name = S("demo"), .host = S("127.0.0.1"), .tokens = 60, .rate = 30 };
    for (int i = 1; i < argc; i += 2) {
        const char *opt = argv[i], *val = i + 1 < argc ? argv[i + 1] : NULL;
        bool ok = val != NULL;
        if (ok && strcmp(opt, "--name") == 0)
            d->name = str_c(val);
        else if (ok && strcmp(opt, "--host") == 0)
            d->host = str_c(val);
        else if (ok && strcmp(opt, "--port") == 0 && (ok = to_number(val, 65535, &v)))
            d->port = (int)v;
        else if (ok && strcmp(opt, "--load-time") == 0 && (ok = to_number(val, 86400, &v)))
            d->load_s = v;
        else if (ok && strcmp(opt, "--tokens") == 0 && (ok = to_number(val, 200000, &v)))
            d->tokens = (size_t)v;
        else if (ok && strcmp(opt, "--rate") == 0 && (ok = to_number(val, 1e6, &v)))
            d->rate = v;
        else
            ok = false;
        if (!ok) {
            fprintf(
                stderr,
                "luaswap demo-model: what is %s%s%s?\n"
                "usage: luaswap demo-model --port N --name X [--host ADDRESS] [--load-time SECONDS]"
                " [--tokens N] [--rate PER_SECOND]\n",
                opt, val ? " " : "", val ? val : "");
            return -1;
        }
    }
    return 0;
}

int demo_model_main(int argc, char **argv)
{
    static const struct http_server_conf conf = {
        .head_max = 64u * 1024,
        .head_timeout_ms = 30000,
        .idle_timeout_ms = 120000,
        .conns_max = 10000,
        .arena_max = 1u << 20,
    };
    static const struct http_handler handler = { on_begin, on_body, on_body_end, on_drained,
                                                 on_end };
    struct demo d;
    struct error e = { 0 };
    if (parse(argc, argv, &d) < 0)
        return 2;
    d.loop = io_loop_new();
    d.http = http_server_new(d.loop, &conf, &handler, &d);
    d.load = io_timer_new(d.loop, "loading of a demo model", on_loaded, &d);
    d.sigs = io_sigs_new(d.loop, on_signal, &d);
    char addr[300];
    snprintf(addr, sizeof addr, STR_FMT ":%d", STR_ARG(d.host), d.port);
    int status = 0;
    if (http_server_listen(d.http, str_c(addr), &e) < 0) {
        fprintf(stderr, "luaswap demo-model: %s\n", e.msg);
        status = 1;
        http_server_close(d.http, on_closed, &d);
    } else {
        say(&d, "loading for %.1f s", d.load_s);
        if (d.load_s > 0)
            io_timer_set(d.load, (msec)(d.load_s * 1000));
        else
            on_loaded(&d);
    }
    io_loop_run(d.loop);
    io_loop_free(d.loop);
    return status;
}
