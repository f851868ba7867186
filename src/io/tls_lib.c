/* tls_lib.c: see tls_lib.h. */
#define TLS_LIB_PLAIN
#include "io/tls_lib.h"

#include "base/mem.h"

#include <dlfcn.h>
#include <stdlib.h>

#define LIB_NAME(base) base ".so." OPENSSL_MSTR(OPENSSL_SHLIB_VERSION)

struct tls_lib tls_lib;

static void *open_lib(const char *variable, const char *usual, struct error *e)
{
    const char *name = getenv(variable);
    void *lib = dlopen(name && name[0] ? name : usual, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        error_set(e, ERR_SYS, "TLS needs OpenSSL: %s", dlerror());
    return lib;
}

/* A pointer to a function is not an object's address in C; in POSIX it is one of the same size. */
static bool find(void *lib, const char *name, void *ret_fn, struct error *e)
{
    void *at = dlsym(lib, name);
    if (!at)
        error_set(e, ERR_SYS, "TLS needs OpenSSL 3: this one has no %s", name);
    memcpy(ret_fn, &at, sizeof at);
    return at != NULL;
}

int tls_lib_load(struct error *e)
{
    static bool loaded;
    if (loaded)
        return 0;
    struct tls_lib t;
    /* libssl first: it brings its own libcrypto along, and the name below then means that one */
    void *ssl = open_lib("LUASWAP_LIBSSL", LIB_NAME("libssl"), e);
    void *crypto = ssl ? open_lib("LUASWAP_LIBCRYPTO", LIB_NAME("libcrypto"), e) : NULL;
    if (!crypto)
        return ERR_SYS;
#define X(name)                                                                                                        \
    if (!find(crypto, #name, &t.fn_##name, e))                                                                         \
        return ERR_SYS;
    TLS_LIB_CRYPTO(X)
#undef X
#define X(name)                                                                                                        \
    if (!find(ssl, #name, &t.fn_##name, e))                                                                            \
        return ERR_SYS;
    TLS_LIB_SSL(X)
#undef X
    tls_lib = t;
    loaded = true;
    return 0;
}
