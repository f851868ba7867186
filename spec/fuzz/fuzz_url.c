/* fuzz_url.c: URLs, escapes, queries and path cleaning. */
#include "base/check.h"
#include "codec/url.h"

static void paths(str s)
{
    struct strbuf b = STRBUF(1u << 20), c = STRBUF(1u << 20);
    bool changed = url_path_clean(&b, s);
    ASSERT(changed == url_path_unclean(s));
    if (changed) {
        /* Cleaning is final, begins with one slash and leads to nobody else's host. */
        ASSERT(b.len && b.ptr[0] == '/' && !(b.len > 1 && b.ptr[1] == '/'));
        ASSERT(b.len <= s.len + 1);
        ASSERT(!url_path_clean(&c, strbuf_str(&b)));
    }
    strbuf_fini(&b);
    strbuf_fini(&c);
}

static void escapes(str s)
{
    struct strbuf b = STRBUF(1u << 20), c = STRBUF(1u << 20);
    struct arena a;
    str d = STR_NONE;
    arena_init(&a, 1u << 20);
    bool ok = url_decode(&b, s, true), ok2 = url_decode_dup(&a, s, true, &d);
    ASSERT(ok == ok2);
    if (ok)
        ASSERT(str_eq(strbuf_str(&b), d));
    if (url_escapes_ok(s)) {
        strbuf_clear(&b);
        ASSERT(url_decode(&b, s, false));
    }
    /* What was encoded decodes to itself. */
    strbuf_clear(&b);
    ASSERT(url_encode(&b, s, false) && url_escapes_ok(strbuf_str(&b)) == (str_chr(s, '\0') < 0));
    ASSERT(url_decode(&c, strbuf_str(&b), true) && str_eq(strbuf_str(&c), s));
    str rest = s, k, v;
    while (url_query_next(&rest, &k, &v)) {
        str got, dup;
        ASSERT(url_decode_dup(&a, k, true, &dup) && url_query_get(&a, s, dup, &got));
    }
    arena_fini(&a);
    strbuf_fini(&b);
    strbuf_fini(&c);
}

/* What goes on to others: plain bytes that mean the same, and only pairs that we understand. */
static void forwarded(str s)
{
    struct strbuf b = STRBUF(1u << 20), c = STRBUF(1u << 20), d = STRBUF(1u << 20);
    ASSERT(url_ascii(&b, s));
    for (size_t i = 0; i < b.len; i++)
        ASSERT((unsigned char)b.ptr[i] < 0x80);
    bool ok = url_decode(&c, s, false);
    ASSERT(!ok || (url_decode(&d, strbuf_str(&b), false) && str_eq(strbuf_str(&c), strbuf_str(&d))));
    strbuf_clear(&c);
    strbuf_clear(&d);
    (void)url_query_tidy(&c, s);
    ASSERT(c.len <= s.len && !url_query_tidy(&d, strbuf_str(&c)));
    str before = s, after = strbuf_str(&c), k, v, k2, v2;
    while (url_query_next(&before, &k, &v))
        ASSERT(url_query_next(&after, &k2, &v2) && str_eq(k, k2) && str_eq(v, v2));
    ASSERT(!url_query_next(&after, &k2, &v2));
    strbuf_fini(&b);
    strbuf_fini(&c);
    strbuf_fini(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str s = str_n((const char *)data, size), auth, origin;
    struct url u;
    struct error e = { 0 };
    if (url_parse(s, &u, &e) == 0) {
        ASSERT(u.host.len && u.port > 0 && u.port < 65536 && url_authority_ok(u.authority));
        ASSERT(u.path.len == 0 || u.path.ptr[0] == '/');
    } else {
        ASSERT(e.code < 0 && e.msg[0]);
    }
    if (url_cut_absolute(s, &auth, &origin))
        ASSERT(auth.len && url_authority_ok(auth) && origin.ptr[0] == '/');
    paths(s);
    escapes(s);
    forwarded(s);
    return 0;
}
