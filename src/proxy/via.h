/* via.h: the proxy that the environment wants between us and an upstream (config/envproxy.h has the rules). */
#ifndef LUASWAP_PROXY_VIA_H
#define LUASWAP_PROXY_VIA_H

#include "config/gourl.h"
#include "http/client.h"

/* Fills the via_* of conf, whose slices live as long as `keep` and the environment. A proxy that cannot be used is
 * logged under `who`, and the pool can reach nothing: going around it would not be what was asked for. */
void via_fill(struct http_pool_conf *conf, const struct gourl *url, struct strbuf *keep, str who);

#endif
