/* SHA-256 against the examples that NIST publishes for FIPS 180-4, and texts of every length cut anywhere. */
#include "base/sha256.h"
#include "spec.h"

#include <string.h>

static const char *hex(str data)
{
    static char text[SHA256_HEX];
    sha256_hex(data, text);
    return text;
}

TEST(sha256_of_the_published_examples)
{
    CHECK_STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", str_c(hex(STR_NONE)));
    CHECK_STR("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", str_c(hex(S("abc"))));
    CHECK_STR("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
              str_c(hex(S("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))));
    CHECK_STR("cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
              str_c(hex(S("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                          "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"))));
}

TEST(sha256_of_a_million_letters)
{
    struct sha256 s;
    char a[1000];
    uint8_t sum[32];
    static const uint8_t want[4] = { 0xcd, 0xc7, 0x6e, 0x5c }, last[4] = { 0xc7, 0x11, 0x2c, 0xd0 };
    memset(a, 'a', sizeof a);
    sha256_init(&s);
    for (int i = 0; i < 1000; i++)
        sha256_add(&s, str_n(a, sizeof a));
    sha256_end(&s, sum);
    CHECK_TRUE(memcmp(sum, want, 4) == 0);
    CHECK_TRUE(memcmp(sum + 28, last, 4) == 0);
}

/* The length decides how the end is padded; where a text is cut must not matter. */
TEST(sha256_in_pieces_is_that_of_the_whole)
{
    char text[200];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7);
    for (size_t len = 0; len < sizeof text; len++) {
        char whole[SHA256_HEX];
        sha256_hex(str_n(text, len), whole);
        for (size_t cut = 0; cut <= len; cut += 13) {
            struct sha256 s;
            uint8_t sum[32];
            char got[SHA256_HEX];
            sha256_init(&s);
            sha256_add(&s, str_n(text, cut));
            sha256_add(&s, str_n(text + cut, len - cut));
            sha256_end(&s, sum);
            for (size_t i = 0; i < 32; i++)
                snprintf(got + 2 * i, 3, "%02x", sum[i]);
            CHECK_STR(whole, str_c(got));
        }
    }
}
