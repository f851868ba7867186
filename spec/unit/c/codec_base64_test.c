/* base64: RFC 4648 section 10, strictness, random round trips. */
#include "spec.h"

#include "base/rand.h"
#include "codec/base64.h"

static void check_pair(const char *plain, const char *coded)
{
    struct strbuf b = STRBUF(1000);
    CHECK_TRUE(base64_encode(&b, str_c(plain)));
    CHECK_STR(coded, strbuf_str(&b));
    strbuf_clear(&b);
    CHECK_TRUE(base64_decode(&b, str_c(coded)));
    CHECK_STR(plain, strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(base64_agrees_with_the_examples_of_the_rfc)
{
    check_pair("", "");
    check_pair("f", "Zg==");
    check_pair("fo", "Zm8=");
    check_pair("foo", "Zm9v");
    check_pair("foob", "Zm9vYg==");
    check_pair("fooba", "Zm9vYmE=");
    check_pair("foobar", "Zm9vYmFy");
}

TEST(base64_refuses_what_is_not_exact)
{
    static const char *const bad[] = { "Z",     "Zg",   "Zg=",   "Zh==",     "Zm9=",
                                       "Zm9v ", "=",    "====",  "Zg==Zg==", "Z===",
                                       "Zm-v",  "Zm_v", "Zm\n9", "Zg=g",     "Zm9v=" };
    struct strbuf b = STRBUF(1000);
    strbuf_add(&b, S("keep"));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (base64_decode(&b, str_c(bad[i])))
            spec_miss(__FILE__, __LINE__, "accepted: %s", bad[i]);
        CHECK_STR("keep", strbuf_str(&b));
    }
    strbuf_fini(&b);
}

TEST(base64_brings_random_bytes_back)
{
    struct rand_state r;
    rand_seed(&r, 77);
    for (int round = 0; round < 2000; round++) {
        char raw[200];
        size_t n = (size_t)rand_below(&r, sizeof raw);
        for (size_t i = 0; i < n; i++)
            raw[i] = (char)rand_below(&r, 256);
        struct strbuf coded = STRBUF(1000), back = STRBUF(1000);
        CHECK_TRUE(base64_encode(&coded, str_n(raw, n)));
        CHECK_UINT((n + 2) / 3 * 4, coded.len);
        CHECK_TRUE(base64_decode(&back, strbuf_str(&coded)));
        CHECK_STR(str_n(raw, n), strbuf_str(&back));
        strbuf_fini(&coded);
        strbuf_fini(&back);
    }
}

TEST(base64_keeps_to_the_limit_of_the_buffer)
{
    struct strbuf b = STRBUF(7);
    CHECK_FALSE(base64_encode(&b, S("foob")));
    CHECK_FALSE(base64_decode(&b, S("Zm9vYmFyZm9v")));
    CHECK_UINT(0, b.len);
    strbuf_fini(&b);
}
