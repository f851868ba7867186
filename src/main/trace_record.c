#include "main/trace_record.h"

#include "base/check.h"
#include "codec/http_write.h"
#include "config/gourl.h"
#include "http/client.h"
#include "io/loop.h"
#include "io/timer.h"

#include <stdio.h>

struct fetch {
    struct io_loop *loop;
    struct http_pool *pool;
    struct io_timer *wait;
    struct io_call later;
    struct strbuf head, refusal;
    int status; /* of the answer, 0 = none */
    bool failed;
};

static int usage(void)
{
    fputs("usage: luaswap trace record [--server URL] [--key KEY] [--seconds N] [--max N] > FILE.jsonl\n"
          "  --server   http://127.0.0.1:8080 unless it is given\n"
          "  --key      one of its apiKeys\n"
          "  --seconds  records for so long from now on; else all that the server remembers\n"
          "  --max      the last N requests of these\n",
          stderr);
    return 1;
}

bool trace_record_wanted(int argc, char **argv)
{
    return argc >= 2 && strcmp(argv[0], "trace") == 0 && strcmp(argv[1], "record") == 0;
}

static void on_head(void *ud, struct http_x *x, const struct http_head *h)
{
    (void)x;
    ((struct fetch *)ud)->status = h->status;
}

static void on_body(void *ud, struct http_x *x, str bytes)
{
    struct fetch *f = ud;
    (void)x;
    if (f->status != 200)
        (void)strbuf_add(&f->refusal, bytes);
    else if (fwrite(bytes.ptr, 1, bytes.len, stdout) != bytes.len)
        f->failed = true;
}

/* At the end of the turn: the exchange is no more, so its pool may go, and with it the last handles. */
static void on_over(void *ud)
{
    struct fetch *f = ud;
    http_pool_free(f->pool);
    io_timer_free(f->wait);
}

static void over(struct fetch *f)
{
    io_call_post(f->loop, &f->later);
}

static void on_end(void *ud, struct http_x *x, str trailers)
{
    (void)x;
    (void)trailers;
    over(ud);
}

static void on_fail(void *ud, struct http_x *x, enum http_stage at, const struct error *e)
{
    struct fetch *f = ud;
    (void)x;
    (void)at;
    fprintf(stderr, "luaswap trace record: %s\n", e->msg);
    f->failed = true;
    over(f);
}

static void ask(void *ud)
{
    static const struct http_x_cb cb = { .head = on_head, .body = on_body, .end = on_end, .fail = on_fail };
    struct fetch *f = ud;
    (void)http_x_start(f->pool, strbuf_str(&f->head), NULL, 0, false, &cb, f);
}

static bool number(const char *text, uint64_t *ret)
{
    return str_to_u64(str_c(text), ret) && *ret > 0 && *ret <= 1000000000;
}

static void request_head(struct strbuf *out, const struct gourl *url, const char *key, uint64_t seconds, uint64_t max)
{
    str base = url->path;
    while (str_ends(base, S("/")))
        base.len--;
    strbuf_addf(out, "GET " STR_FMT "/api/scheduler/trace", STR_ARG(base));
    if (seconds)
        strbuf_addf(out, "?last_s=%llu", (unsigned long long)seconds);
    if (max)
        strbuf_addf(out, "%cmax=%llu", seconds ? '&' : '?', (unsigned long long)max);
    strbuf_addf(out, " HTTP/1.1\r\nHost: " STR_FMT ":%u\r\n", STR_ARG(url->host), url->port_num);
    if (key && !http_head_add(out, S("X-Api-Key"), str_c(key)))
        fputs("luaswap trace record: that is no key\n", stderr);
    strbuf_add(out, S("Connection: close\r\n\r\n"));
}

int trace_record_main(int argc, char **argv)
{
    const char *server = "http://127.0.0.1:8080", *key = NULL;
    uint64_t seconds = 0, max = 0;
    struct gourl url;
    for (int i = 2; i < argc; i += 2) {
        const char *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (!v)
            return usage();
        if (strcmp(argv[i], "--server") == 0)
            server = v;
        else if (strcmp(argv[i], "--key") == 0)
            key = v;
        else if (!(strcmp(argv[i], "--seconds") == 0 && number(v, &seconds)) && !(strcmp(argv[i], "--max") == 0 && number(v, &max)))
            return usage();
    }
    struct error e = { 0 };
    if (gourl_parse(str_c(server), &url, &e) < 0 || !url.host.len) {
        fprintf(stderr, "luaswap trace record: %s: not a URL: %s\n", server, e.msg);
        return 1;
    }
    struct fetch f = { .loop = io_loop_new(), .head = STRBUF(64u * 1024), .refusal = STRBUF(64u * 1024) };
    struct http_pool_conf conf = { .host = url.host, .port = (int)url.port_num, .connect_ms = 10000, .tls = url.tls,
                                   .handshake_ms = 10000 };
    request_head(&f.head, &url, key, seconds, max);
    io_call_init(&f.later, on_over, &f);
    f.pool = http_pool_new(f.loop, &conf);
    f.wait = io_timer_new(f.loop, "record", ask, &f);
    io_timer_set(f.wait, (msec)seconds * 1000);
    io_loop_run(f.loop);
    bool good = f.status == 200 && !f.failed && fflush(stdout) == 0;
    if (f.status != 0 && f.status != 200)
        fprintf(stderr, "luaswap trace record: the server answers %d: " STR_FMT "\n", f.status, STR_ARG(strbuf_str(&f.refusal)));
    strbuf_fini(&f.head);
    strbuf_fini(&f.refusal);
    io_loop_free(f.loop);
    return good ? 0 : 2;
}
