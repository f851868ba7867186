/* via.c: see via.h. */
#include "proxy/via.h"

#include "base/log.h"
#include "config/envproxy.h"

#include <stdlib.h>

static str variable(const char *upper, const char *lower)
{
    str v = str_c(getenv(upper));
    return v.len ? v : str_c(getenv(lower));
}

void via_fill(struct http_pool_conf *conf, const struct gourl *url, struct strbuf *keep, str who)
{
    struct envproxy env = { variable("HTTP_PROXY", "http_proxy"), variable("HTTPS_PROXY", "https_proxy"),
                            variable("NO_PROXY", "no_proxy") };
    struct strbuf text = STRBUF(4096);
    struct gourl proxy;
    struct error e = { 0 };
    int rc = envproxy_pick(&env, url, &proxy, &text, &e);
    strbuf_init(keep, 8192);
    if (rc < 0) {
        log_error("", STR_FMT " cannot be reached: %s", STR_ARG(who), e.msg);
        conf->host = STR_NONE;
    } else if (rc == 1) {
        size_t at = proxy.host.len;
        strbuf_add(keep, proxy.host);
        envproxy_auth(&proxy, keep);
        conf->via_host = str_n(keep->ptr, at);
        conf->via_auth = str_n(keep->ptr + at, keep->len - at);
        conf->via_port = (int)proxy.port_num;
        conf->via_tls = proxy.tls;
        log_info("", STR_FMT " is reached through the proxy " STR_FMT ":%u", STR_ARG(who), STR_ARG(proxy.host),
                 proxy.port_num);
    }
    strbuf_fini(&text);
}
