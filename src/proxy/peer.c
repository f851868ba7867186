/* peer.c: see peer.h. */
#include "proxy/peer.h"

#include "proxy/via.h"
#include "route/resolve.h"

static void peer_init(struct peer *p, struct io_loop *loop, struct config *cfg, size_t i)
{
    const struct config_peer *c = &cfg->peers[i];
    struct http_pool_conf conf = {
        .host = c->proxy_url.host,
        .port = (int)c->proxy_url.port_num,
        .connect_ms = c->timeouts.connect_ms,
        .keepalive_s = (int)(c->timeouts.keepalive_ms / 1000),
        .tls = c->proxy_url.tls,
        .handshake_ms = c->timeouts.tls_handshake_ms,
        .head_ms = c->timeouts.response_header_ms,
        .idle_ms = c->timeouts.idle_conn_ms,
        .idle_max = 10,
    };
    struct strbuf keep;
    p->conf = c;
    p->cfg = cfg;
    via_fill(&conf, &c->proxy_url, &keep, c->id);
    p->pool = http_pool_new(loop, &conf);
    strbuf_fini(&keep);
    strbuf_init(&p->host, 4096);
    strbuf_addf(&p->host, c->proxy_url.ipv6 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(c->proxy_url.host));
    if (c->proxy_url.port.len)
        strbuf_addf(&p->host, ":" STR_FMT, STR_ARG(c->proxy_url.port));
}

struct peers *peers_new(struct io_loop *loop, struct config *cfg)
{
    struct peers *p = mem_zalloc(sizeof *p);
    p->refs = 1;
    p->cfg = config_ref(cfg);
    p->n = cfg->n_peers;
    p->at = mem_calloc(p->n, sizeof *p->at);
    for (size_t i = 0; i < p->n; i++)
        peer_init(&p->at[i], loop, cfg, i);
    p->slots = resolve_slots_new(cfg);
    return p;
}

struct peers *peers_ref(struct peers *p)
{
    p->refs++;
    return p;
}

void peers_unref(struct peers *p)
{
    if (!p || --p->refs > 0)
        return;
    for (size_t i = 0; i < p->n; i++) {
        http_pool_free(p->at[i].pool);
        strbuf_fini(&p->at[i].host);
    }
    free(p->at);
    resolve_slots_free(p->slots);
    config_unref(p->cfg);
    free(p);
}
