/* auth.c: see auth.h. */
#include "route/auth.h"

#include "codec/base64.h"

#define CREDENTIALS_MAX ((size_t)64 << 10)

/* Takes the same time wherever a and b differ; only the lengths show. */
static unsigned differ(str a, str b)
{
    volatile unsigned char diff = a.len != b.len;
    for (size_t i = 0; i < a.len; i++)
        diff = diff | (unsigned char)(a.ptr[i] ^ b.ptr[i % b.len]);
    return diff;
}

bool auth_is_key(const str *keys, size_t n_keys, str candidate)
{
    unsigned hits = 0;
    size_t longest = 0;
    for (size_t i = 0; i < n_keys; i++)
        if (keys[i].len > longest)
            longest = keys[i].len;
    if (candidate.len == 0 || candidate.len > longest)
        return false;
    for (size_t i = 0; i < n_keys; i++)
        hits += keys[i].len && differ(candidate, keys[i]) == 0;
    return hits > 0;
}

static bool has_scheme(str header, str scheme, str *ret_rest)
{
    str word;
    return str_cut(header, ' ', &word, ret_rest) && str_ieq(word, scheme);
}

/* The password of Basic or the token of Bearer, decoded into `room` when needed; empty if there is
 * none. */
static str credentials(str authorization, struct strbuf *room)
{
    str rest, user, password;
    if (has_scheme(authorization, S("Bearer"), &rest))
        return rest;
    if (!has_scheme(authorization, S("Basic"), &rest) || !base64_decode(room, rest) ||
        !str_cut(strbuf_str(room), ':', &user, &password))
        return STR_NONE;
    return password;
}

static void forget(struct strbuf *room)
{
    if (room->ptr)
        mem_wipe(room->ptr, room->cap);
    strbuf_fini(room);
}

bool auth_accept(const str *keys, size_t n_keys, str authorization, str x_api_key)
{
    if (n_keys == 0)
        return true;
    struct strbuf room = STRBUF(CREDENTIALS_MAX);
    str candidate = credentials(authorization, &room);
    bool ok = auth_is_key(keys, n_keys, candidate.len ? candidate : x_api_key);
    forget(&room);
    return ok;
}

bool auth_holds_key(const str *keys, size_t n_keys, str authorization)
{
    struct strbuf room = STRBUF(CREDENTIALS_MAX);
    bool ours = auth_is_key(keys, n_keys, credentials(authorization, &room));
    forget(&room);
    return ours;
}

void auth_mask(struct strbuf *out, str key)
{
    if (key.len >= 8)
        strbuf_add_json(out, str_sub(key, 0, 2));
    strbuf_add(out, S("..."));
}

bool auth_header_secret(str name)
{
    static const char *const secret[] = { "authorization", "proxy-authorization", "cookie",
                                          "set-cookie", "x-api-key" };
    for (size_t i = 0; i < ARRAY_LEN(secret); i++)
        if (str_ieq(name, str_c(secret[i])))
            return true;
    return false;
}
