/* via.c: see via.h. */
#include "proxy/via.h"

#include "base/log.h"
#include "codec/url.h"
#include "config/envproxy.h"
#include "io/socks.h"

#include <stdlib.h>

static str variable(const char *upper, const char *lower)
{
    str v = str_c(getenv(upper));
    return v.len ? v : str_c(getenv(lower));
}

static bool add_auth(const struct gourl *proxy, bool socks, struct strbuf *keep)
{
    str user, password;
    if (!socks || proxy->userinfo.len == 0) {
        envproxy_auth(proxy, keep);
        return true;
    }
    struct strbuf plain = STRBUF(1024);
    str_cut(proxy->userinfo, ':', &user, &password);
    bool ok = url_decode(&plain, user, false);
    size_t at = plain.len;
    ok = ok && url_decode(&plain, password, false) &&
         socks_auth(keep, str_n(plain.ptr, at), str_sub(strbuf_str(&plain), at, plain.len));
    strbuf_fini(&plain);
    return ok;
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
        conf->via_socks = str_ieq(str_sub(proxy.scheme, 0, 6), S("socks5"));
        if (!add_auth(&proxy, conf->via_socks, keep)) {
            log_error("", STR_FMT " cannot be reached: user name or password for the proxy are too long", STR_ARG(who));
            conf->host = STR_NONE;
        }
        conf->via_host = str_n(keep->ptr, at);
        conf->via_auth = str_n(keep->ptr + at, keep->len - at);
        conf->via_port = (int)proxy.port_num;
        conf->via_tls = proxy.tls;
        log_info("", STR_FMT " is reached through the proxy " STR_FMT ":%u", STR_ARG(who), STR_ARG(proxy.host),
                 proxy.port_num);
    }
    strbuf_fini(&text);
}
