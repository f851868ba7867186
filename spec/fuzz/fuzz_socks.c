/* fuzz_socks.c: what a SOCKS proxy may answer, in one piece and byte by byte: the same end, and never more said than
 * the protocol has. */
#include "base/check.h"
#include "io/socks.h"

/* Bytes said; *ret_rc how it ended, *ret_at how much was heard. */
static size_t talk(str all, bool drop, bool auth, int *ret_rc, size_t *ret_at)
{
    struct socks s;
    struct strbuf out = STRBUF(4096);
    size_t at = 0, used, have = drop ? 1 : all.len;
    ASSERT(socks_begin(&s, S("far.test"), 443, auth ? S("\1\1a\1b") : STR_NONE, &out, NULL) == 0);
    for (;;) {
        struct error e = { 0 };
        *ret_rc = socks_feed(&s, str_sub(all, at, have < all.len ? have - at : all.len), &used, &out, &e);
        ASSERT(at + used <= have || have >= all.len);
        at += used;
        if (*ret_rc)
            break;
        if (used == 0 && have >= all.len)
            break;
        if (used == 0)
            have++;
    }
    ASSERT(at <= all.len && out.len <= 4 + 5 + 15);
    *ret_at = at;
    size_t said = out.len;
    strbuf_fini(&out);
    return said;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    str all = str_n((const char *)data + 1, size - 1);
    int rc[2];
    size_t at[2];
    size_t one = talk(all, false, data[0] & 1, &rc[0], &at[0]), two = talk(all, true, data[0] & 1, &rc[1], &at[1]);
    ASSERT(one == two && rc[0] == rc[1] && at[0] == at[1]);
    return 0;
}
