/* probe_io_tls.c: the Lua module spec.tls: certificates, and both ends of TLS connections, straight on OpenSSL, so that
 * the specs have somebody to talk to who is not our own code.
 *
 *   make{ cert=path, key=path, cn=, names={...}, addrs={...}, by={cert=, key=}, authority=bool, from=s, till=s }
 *        writes a certificate (PEM) and its key; signed by itself without `by`; valid from now+from (-60) to
 *        now+till (3600) seconds
 *   client(sock, { ca=path, host=, alpn='http/1.1,h2' }) -> conn      over a socket of spec.net, which it owns then
 *   server(sock, { cert=, key=, max='1.2' }) -> conn
 *   conn:handshake([timeout]) -> true | nil, why
 *   conn:send(data [, timeout]) -> bytes | nil, why, bytes     conn:recv(max [, timeout]) -> data | nil, why
 *   conn:shutdown() close_notify     conn:close() close_notify and close     conn:cut() closes without close_notify
 *   conn:rst() conn:fd() conn:alpn() conn:version() conn:cn() (of the peer's certificate)
 *
 * `why`: as in spec.net, and "cut" for an end without close_notify; else the library's text.
 */
#include "net.h"

#include "spec.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define CONN "spec.tls.conn"
#define DEFAULT_S 10.0
#define RECV_MAX (1u << 20)

struct conn {
    SSL *ssl; /* uservalue 1 is the socket */
    int fd;
};

static int sad(lua_State *L, const char *what)
{
    return luaL_error(L, "%s: %s", what, ERR_reason_error_string(ERR_peek_last_error()));
}

/* --- certificates --- */

static const char *opt_text(lua_State *L, const char *name, const char *fallback)
{
    lua_getfield(L, 1, name);
    const char *s = lua_isnil(L, -1) ? fallback : lua_tostring(L, -1);
    lua_pop(L, 1); /* the table holds it */
    return s;
}

static long opt_number(lua_State *L, const char *name, long fallback)
{
    lua_getfield(L, 1, name);
    long v = lua_isnil(L, -1) ? fallback : (long)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return v;
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX c;
    X509V3_set_ctx_nodb(&c);
    X509V3_set_ctx(&c, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
    if (e)
        X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* "DNS:a,IP:b" on the stack's top. */
static const char *alt_names(lua_State *L)
{
    static const char *const lists[] = { "names", "addrs" };
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    bool first = true;
    for (size_t i = 0; i < 2; i++) {
        lua_getfield(L, 1, lists[i]);
        int list = lua_gettop(L);
        lua_Integer n = lua_istable(L, list) ? luaL_len(L, list) : 0;
        lua_pop(L, 1);
        for (lua_Integer k = 1; k <= n; k++) {
            lua_getfield(L, 1, lists[i]);
            lua_rawgeti(L, -1, k);
            const char *s = lua_tostring(L, -1);
            lua_pop(L, 2);
            luaL_addstring(&b, first ? "" : ",");
            luaL_addstring(&b, i ? "IP:" : "DNS:");
            luaL_addstring(&b, s);
            first = false;
        }
    }
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

static void *read_pem(lua_State *L, const char *path, bool key)
{
    BIO *b = BIO_new_file(path, "r");
    void *v = !b ? NULL : key ? (void *)PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : (void *)PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    if (!v)
        sad(L, path);
    return v;
}

static int l_make(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *cert = opt_text(L, "cert", NULL), *key = opt_text(L, "key", NULL), *cn = opt_text(L, "cn", "spec");
    luaL_argcheck(L, cert && key, 1, "cert and key are wanted");
    EVP_PKEY *pk = EVP_EC_gen("P-256"), *signer = pk;
    X509 *x = X509_new(), *issuer = x;
    lua_getfield(L, 1, "by");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "cert");
        issuer = read_pem(L, lua_tostring(L, -1), false);
        lua_getfield(L, -2, "key");
        signer = read_pem(L, lua_tostring(L, -1), true);
    }
    lua_getfield(L, 1, "authority");
    bool authority = lua_toboolean(L, -1);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), (uint64_t)(net_now() * 1e6));
    X509_gmtime_adj(X509_getm_notBefore(x), opt_number(L, "from", -60));
    X509_gmtime_adj(X509_getm_notAfter(x), opt_number(L, "till", 3600));
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer));
    X509_set_pubkey(x, pk);
    extend(x, issuer, NID_subject_key_identifier, "hash");
    extend(x, issuer, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
    const char *alt = alt_names(L);
    if (alt[0])
        extend(x, issuer, NID_subject_alt_name, alt);
    int ok = X509_sign(x, signer, EVP_sha256()) != 0;
    BIO *c = BIO_new_file(cert, "w"), *k = BIO_new_file(key, "w");
    ok = ok && c && k && PEM_write_bio_X509(c, x) && PEM_write_bio_PrivateKey(k, pk, NULL, NULL, 0, NULL, NULL);
    BIO_free(c);
    BIO_free(k);
    if (issuer != x)
        X509_free(issuer);
    if (signer != pk)
        EVP_PKEY_free(signer);
    X509_free(x);
    EVP_PKEY_free(pk);
    return ok ? 0 : sad(L, "make");
}

/* --- connections --- */

static struct conn *push_conn(lua_State *L, SSL_CTX *ctx)
{
    lua_getfield(L, 1, "fd");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    int fd = (int)lua_tointeger(L, -1);
    struct conn *c = lua_newuserdatauv(L, sizeof *c, 1);
    c->ssl = SSL_new(ctx);
    c->fd = fd;
    SSL_CTX_free(ctx);
    SSL_set_fd(c->ssl, fd);
    luaL_setmetatable(L, CONN);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    return c;
}

/* "a,b" in the form of the wire: a length before each name. */
static void set_alpn(SSL *ssl, const char *list)
{
    unsigned char wire[256];
    size_t n = 0;
    while (*list && n + 1 + strlen(list) < sizeof wire) {
        size_t k = strcspn(list, ",");
        wire[n++] = (unsigned char)k;
        memcpy(wire + n, list, k);
        n += k;
        list += k + (list[k] == ',');
    }
    SSL_set_alpn_protos(ssl, wire, (unsigned)n);
}

static int l_client(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    lua_getfield(L, 2, "ca");
    if (lua_isstring(L, -1)) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (SSL_CTX_load_verify_file(ctx, lua_tostring(L, -1)) != 1)
            return sad(L, "ca");
    }
    struct conn *c = push_conn(L, ctx);
    lua_getfield(L, 2, "host");
    if (lua_isstring(L, -1)) {
        SSL_set1_host(c->ssl, lua_tostring(L, -1));
        SSL_set_tlsext_host_name(c->ssl, lua_tostring(L, -1));
    }
    lua_getfield(L, 2, "alpn");
    if (lua_isstring(L, -1))
        set_alpn(c->ssl, lua_tostring(L, -1));
    lua_pop(L, 2);
    SSL_set_connect_state(c->ssl);
    return 1;
}

static int l_server(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    lua_getfield(L, 2, "max");
    if (lua_isstring(L, -1) && strcmp(lua_tostring(L, -1), "1.2") == 0)
        SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    lua_getfield(L, 2, "cert");
    lua_getfield(L, 2, "key");
    if (SSL_CTX_use_certificate_chain_file(ctx, luaL_checkstring(L, -2)) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, luaL_checkstring(L, -1), SSL_FILETYPE_PEM) != 1)
        return sad(L, "server");
    struct conn *c = push_conn(L, ctx);
    SSL_set_accept_state(c->ssl);
    return 1;
}

static struct conn *open_conn(lua_State *L)
{
    struct conn *c = luaL_checkudata(L, 1, CONN);
    luaL_argcheck(L, c->ssl, 1, "connection is closed");
    return c;
}

/* After a call that did not succeed: waits and returns NULL to try again, or says why not. */
static const char *wait_for(struct conn *c, int rc, double deadline)
{
    int sys = errno;
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return net_wait_fd(c->fd, POLLIN, deadline) ? NULL : "timeout";
    case SSL_ERROR_WANT_WRITE:
        return net_wait_fd(c->fd, POLLOUT, deadline) ? NULL : "timeout";
    case SSL_ERROR_ZERO_RETURN:
        return "closed";
    case SSL_ERROR_SYSCALL:
        return sys == ECONNRESET ? "reset" : sys == EPIPE ? "closed" : "cut";
    default:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return "cut";
        if (SSL_get_verify_result(c->ssl) != X509_V_OK)
            return X509_verify_cert_error_string(SSL_get_verify_result(c->ssl));
        return ERR_reason_error_string(ERR_peek_error());
    }
}

static int refused(lua_State *L, const char *why)
{
    luaL_pushfail(L);
    lua_pushstring(L, why);
    return 2;
}

static int l_handshake(lua_State *L)
{
    struct conn *c = open_conn(L);
    double deadline = net_deadline(L, 2, DEFAULT_S);
    for (;;) {
        ERR_clear_error();
        int rc = SSL_do_handshake(c->ssl);
        const char *why = rc == 1 ? NULL : wait_for(c, rc, deadline);
        if (why)
            return refused(L, why);
        if (rc == 1)
            break;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int l_send(lua_State *L)
{
    struct conn *c = open_conn(L);
    size_t len, at = 0, n;
    const char *p = luaL_checklstring(L, 2, &len);
    double deadline = net_deadline(L, 3, DEFAULT_S);
    SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    while (at < len) {
        ERR_clear_error();
        int rc = SSL_write_ex(c->ssl, p + at, len - at, &n);
        const char *why = rc == 1 ? NULL : wait_for(c, rc, deadline);
        if (rc == 1)
            at += n;
        if (why) {
            refused(L, why);
            lua_pushinteger(L, (lua_Integer)at);
            return 3;
        }
    }
    lua_pushinteger(L, (lua_Integer)len);
    return 1;
}

static int l_recv(lua_State *L)
{
    struct conn *c = open_conn(L);
    size_t max = (size_t)luaL_checkinteger(L, 2), n, at = 0;
    double deadline = net_deadline(L, 3, DEFAULT_S);
    if (max > RECV_MAX)
        max = RECV_MAX;
    char *buf = lua_newuserdatauv(L, max + 1, 0);
    for (;;) {
        ERR_clear_error();
        int rc = SSL_read_ex(c->ssl, buf + at, max - at, &n);
        if (rc == 1) {
            at += n;
            if (at == max || !SSL_has_pending(c->ssl))
                break;
            continue;
        }
        if (at)
            break;
        const char *why = wait_for(c, rc, deadline);
        if (why)
            return refused(L, why);
    }
    lua_pushlstring(L, buf, at);
    return 1;
}

static int l_fd(lua_State *L)
{
    lua_pushinteger(L, open_conn(L)->fd);
    return 1;
}

static int l_shutdown(lua_State *L)
{
    ERR_clear_error();
    SSL_shutdown(open_conn(L)->ssl);
    return 0;
}

/* Ends ours, then the socket with the given method. */
static int end_with(lua_State *L, const char *method, bool notify)
{
    struct conn *c = luaL_checkudata(L, 1, CONN);
    if (!c->ssl)
        return 0;
    ERR_clear_error();
    if (notify && SSL_is_init_finished(c->ssl))
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
    lua_getiuservalue(L, 1, 1);
    lua_getfield(L, -1, method);
    lua_insert(L, -2);
    lua_call(L, 1, 0);
    return 0;
}

static int l_close(lua_State *L)
{
    return end_with(L, "close", true);
}

static int l_cut(lua_State *L)
{
    return end_with(L, "close", false);
}

static int l_rst(lua_State *L)
{
    return end_with(L, "rst", false);
}

/* The socket has its own collector. */
static int l_gc(lua_State *L)
{
    struct conn *c = luaL_checkudata(L, 1, CONN);
    SSL_free(c->ssl);
    c->ssl = NULL;
    return 0;
}

static int l_alpn(lua_State *L)
{
    const unsigned char *p;
    unsigned n;
    SSL_get0_alpn_selected(open_conn(L)->ssl, &p, &n);
    lua_pushlstring(L, p ? (const char *)p : "", n);
    return 1;
}

static int l_version(lua_State *L)
{
    lua_pushstring(L, SSL_get_version(open_conn(L)->ssl));
    return 1;
}

static int l_cn(lua_State *L)
{
    char name[128] = "";
    X509 *x = SSL_get1_peer_certificate(open_conn(L)->ssl);
    if (x)
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name, sizeof name);
    X509_free(x);
    lua_pushstring(L, name);
    return 1;
}

static int open_tls(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "handshake", l_handshake }, { "send", l_send },   { "recv", l_recv }, { "fd", l_fd },
        { "shutdown", l_shutdown },   { "close", l_close }, { "cut", l_cut },   { "rst", l_rst },
        { "alpn", l_alpn },           { "version", l_version }, { "cn", l_cn }, { "__gc", l_gc },
        { NULL, NULL },
    };
    static const luaL_Reg fns[] = {
        { "make", l_make }, { "client", l_client }, { "server", l_server }, { NULL, NULL },
    };
    signal(SIGPIPE, SIG_IGN); /* the library writes with write(2) */
    if (luaL_newmetatable(L, CONN)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    luaL_newlib(L, fns);
    return 1;
}

PROBE(tls, open_tls);
