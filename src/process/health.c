/* health.c: see health.h. */
#include "process/health.h"

#include "base/check.h"
#include "codec/url.h"
#include "config/gourl.h"
#include "http/client.h"
#include "io/knock.h"
#include "io/timer.h"

#include <stdio.h>

#define BODY_MAX (256u * 1024)
#define KNOCK_MS 100
#define TARGET_MAX (16u * 1024)

struct health {
    struct io_loop *loop;
    struct http_pool *pool;
    struct http_x *x;
    struct io_timer *next, *bound;
    void (*ok)(void *ud);
    void *ud;
    struct strbuf head;
    msec began, deadline, knocked;
    size_t body;
    unsigned probes;
    bool running, answered, foreign;
    bool open;   /* somebody listens: ask */
    bool remote; /* not on this machine */
    int port;
    char host[256];
    char last[240];
};

msec health_gap(msec elapsed, bool answered)
{
    if (elapsed >= 180000)
        return answered ? 250 : 50;
    msec gap = elapsed / 200;
    return gap < 1 ? 1 : gap > 3 ? 3 : gap;
}

/* ---- one probe ---- */

static void probe(void *ud);

static void drop(struct health *h)
{
    if (h->x)
        http_x_cancel(h->x);
    h->x = NULL;
    io_timer_clear(h->bound);
}

static void again(struct health *h)
{
    if (!h->running)
        return;
    msec now = io_loop_now(h->loop);
    io_timer_set(h->next, health_gap(now - h->began, h->answered));
}

static void on_head(void *ud, struct http_x *x, const struct http_head *head)
{
    struct health *h = ud;
    h->answered = true;
    snprintf(h->last, sizeof h->last, "status %d", head->status);
    bool early = h->foreign && io_loop_now(h->loop) - h->began < HEALTH_FOREIGN_MS;
    if (head->status == 200 && h->running && !early) {
        h->running = false;
        h->ok(h->ud);
    }
}

static void on_body(void *ud, struct http_x *x, str bytes)
{
    struct health *h = ud;
    h->body += bytes.len;
    if (h->body > BODY_MAX) {
        /* more than a health page has to say; not through http_x_cancel inside its own callback */
        http_x_read(x, false);
        io_timer_set(h->bound, 0);
    }
}

static void on_end(void *ud, struct http_x *x, str trailers)
{
    struct health *h = ud;
    h->x = NULL;
    io_timer_clear(h->bound);
    again(h);
}

static void on_fail(void *ud, struct http_x *x, enum http_stage at, const struct error *e)
{
    struct health *h = ud;
    h->x = NULL;
    h->open = at > HTTP_AT_DIAL;
    h->answered = h->open || h->remote; /* another machine is not to be flooded either */
    snprintf(h->last, sizeof h->last, "%s", e && e->code ? e->msg : "failed");
    io_timer_clear(h->bound);
    again(h);
}

/* No whole answer within the probe's bound. */
static void on_bound(void *ud)
{
    struct health *h = ud;
    bool late = h->body <= BODY_MAX;
    drop(h);
    if (late)
        snprintf(h->last, sizeof h->last, "no answer in time");
    h->answered = true;
    again(h);
}

/* Mostly by a look; now and then by knocking, for what a look cannot see. */
static bool somebody_listens(struct health *h)
{
    str host = str_c(h->host);
    msec now = io_loop_now(h->loop);
    enum io_knock k = io_listens(host, h->port);
    if (k == IO_KNOCK_UNKNOWN || (k == IO_KNOCK_REFUSED && now - h->knocked >= KNOCK_MS)) {
        h->knocked = now;
        k = io_knock(host, h->port);
    }
    return k != IO_KNOCK_REFUSED;
}

static void probe(void *ud)
{
    static const struct http_x_cb cb = {
        .head = on_head,
        .body = on_body,
        .end = on_end,
        .fail = on_fail,
    };
    struct health *h = ud;
    h->probes++;
    if (!h->open && !somebody_listens(h)) {
        h->answered = false;
        snprintf(h->last, sizeof h->last, "connection refused");
        again(h);
        return;
    }
    h->open = true;
    msec left = h->deadline - io_loop_now(h->loop);
    if (left < 1)
        left = 1; /* at least one probe is always made */
    h->body = 0;
    h->answered = false;
    io_timer_set(h->bound, left < HEALTH_PROBE_MS ? left : HEALTH_PROBE_MS);
    h->x = http_x_start(h->pool, strbuf_str(&h->head), NULL, 0, false, &cb, h);
}

/* ---- life ---- */

bool health_target(struct strbuf *out, str base_path, str endpoint)
{
    struct gourl u;
    if (gourl_parse(str_trim(endpoint), &u, NULL) < 0)
        return false;
    str base = base_path, path = u.path;
    while (str_ends(base, S("/")))
        base.len--;
    while (str_starts(path, S("/")))
        path = str_sub(path, 1, path.len);
    strbuf_add(out, base);
    strbuf_addc(out, '/');
    strbuf_add(out, path);
    if (u.query.len) {
        strbuf_addc(out, '?');
        strbuf_add(out, u.query);
    }
    /* A blank or control character would end the request line; the text came from a config. */
    for (size_t i = 0; i < out->len; i++)
        if ((unsigned char)out->ptr[i] <= ' ' || out->ptr[i] == 127)
            return false;
    return !out->full;
}

static int parse_proxy(str proxy, struct gourl *u, struct error *e)
{
    if (str_trim(proxy).len == 0)
        return error_set(e, ERR_START, "proxy is empty");
    if (gourl_parse(proxy, u, e) < 0)
        return error_wrap(e, "proxy");
    if (!u->tls && !str_ieq(u->scheme, S("http")))
        return error_set(e, ERR_START, "proxy: only http:// and https:// are possible");
    if (u->host.len == 0 || u->host.len > 255 || u->port_num == 0)
        return error_set(e, ERR_START, "proxy has no host or port");
    return 0;
}

struct health *health_new(struct io_loop *l, str proxy, str endpoint, msec connect_ms,
                          void (*ok)(void *ud), void *ud, struct error *e)
{
    struct gourl u;
    struct strbuf target = STRBUF(TARGET_MAX);
    if (parse_proxy(proxy, &u, e) < 0)
        return NULL;
    if (!health_target(&target, u.path, endpoint)) {
        strbuf_fini(&target);
        error_set(e, ERR_START, "checkEndpoint is not a path");
        return NULL;
    }
    struct health *h = mem_zalloc(sizeof *h);
    h->loop = l;
    h->ok = ok;
    h->ud = ud;
    strbuf_init(&h->head, 2 * TARGET_MAX);
    strbuf_addf(&h->head, "GET " STR_FMT " HTTP/1.1\r\nHost: ", STR_ARG(strbuf_str(&target)));
    strbuf_addf(&h->head, u.ipv6 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(u.host));
    if (u.port.len)
        strbuf_addf(&h->head, ":" STR_FMT, STR_ARG(u.port));
    strbuf_add(&h->head, S("\r\nUser-Agent: luaswap\r\nAccept: */*\r\n\r\n"));
    strbuf_fini(&target);
    snprintf(h->host, sizeof h->host, STR_FMT, STR_ARG(u.host));
    h->port = (int)u.port_num;
    struct http_pool_conf conf = {
        .host = u.host,
        .port = h->port,
        .tls = u.tls,
        .handshake_ms = HEALTH_PROBE_MS,
        .keepalive_s = -1,
        .idle_max = 1,
        .connect_ms = connect_ms && connect_ms < HEALTH_PROBE_MS ? connect_ms : HEALTH_PROBE_MS,
    };
    h->pool = http_pool_new(l, &conf);
    h->next = io_timer_new(l, "next health probe", probe, h);
    h->bound = io_timer_new(l, "health probe", on_bound, h);
    return h;
}

void health_peek(struct health *h)
{
    str host = str_c(h->host);
    enum io_knock k = io_listens(host, h->port);
    h->foreign = (k == IO_KNOCK_UNKNOWN ? io_knock(host, h->port) : k) == IO_KNOCK_OPEN;
}

bool health_foreign(const struct health *h)
{
    return h && h->foreign;
}

void health_start(struct health *h, msec deadline)
{
    health_stop(h);
    h->running = true;
    h->began = io_loop_now(h->loop);
    h->deadline = deadline;
    h->open = false;
    h->remote = io_knock(str_c(h->host), h->port) == IO_KNOCK_UNKNOWN;
    h->last[0] = '\0';
    /* The program cannot have bound its port yet; the loop turns once before the first try. */
    io_timer_set(h->next, 1);
}

void health_stop(struct health *h)
{
    h->running = false;
    drop(h);
    io_timer_clear(h->next);
    http_pool_flush(h->pool);
}

void health_free(struct health *h)
{
    if (!h)
        return;
    health_stop(h);
    http_pool_free(h->pool);
    io_timer_free(h->next);
    io_timer_free(h->bound);
    strbuf_fini(&h->head);
    free(h);
}

unsigned health_probes(const struct health *h)
{
    return h ? h->probes : 0;
}

const char *health_last(const struct health *h)
{
    return h ? h->last : "";
}
