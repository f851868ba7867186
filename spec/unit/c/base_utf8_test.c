/* base_utf8_test.c: well-formed sequences, cutting, coding. */
#include "base/utf8.h"

#include "spec.h"

TEST(every_code_point_goes_there_and_back)
{
    char out[4];
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        size_t n = utf8_encode(cp, out);
        if (cp >= 0xD800 && cp <= 0xDFFF) {
            CHECK_UINT(0, n);
            continue;
        }
        CHECK_UINT(cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4, n);
        CHECK_UINT(n, utf8_next(str_n(out, n)));
        CHECK_UINT(cp, utf8_decode(str_n(out, n), n));
        CHECK_UINT(n > 1 ? 0 : 1, utf8_next(str_n(out, n > 1 ? n - 1 : 1))); /* cut short: none */
    }
    CHECK_UINT(0, utf8_encode(0x110000, out));
    CHECK_UINT(0, utf8_encode(UINT32_MAX, out));
}

TEST(three_byte_inputs_are_valid_exactly_when_a_code_point_encodes_so)
{
    /* every lead byte with every second byte, third and fourth at their borders */
    static const unsigned char tail[] = { 0x7F, 0x80, 0xBF, 0xC0 };
    for (int a = 0x80; a < 0x100; a++)
        for (int b = 0; b < 0x100; b++)
            for (size_t c = 0; c < 4; c++)
                for (size_t d = 0; d < 4; d++) {
                    char in[4] = { (char)a, (char)b, (char)tail[c], (char)tail[d] }, out[4];
                    size_t n = utf8_next(str_n(in, 4));
                    if (n == 0)
                        continue;
                    CHECK_UINT(n, utf8_encode(utf8_decode(str_n(in, 4), n), out));
                    CHECK_STR(str_n(in, n), str_n(out, n));
                }
}

TEST(malformed_text_is_refused)
{
    CHECK_TRUE(utf8_valid(S("")));
    CHECK_TRUE(utf8_valid(STR_NONE));
    CHECK_TRUE(utf8_valid(S("a\0\xC3\xA4\xF0\x9F\x98\x80")));
    CHECK_FALSE(utf8_valid(S("\x80")));
    CHECK_FALSE(utf8_valid(S("\xC0\x80")));
    CHECK_FALSE(utf8_valid(S("\xC1\xBF")));
    CHECK_FALSE(utf8_valid(S("\xE0\x9F\xBF")));
    CHECK_FALSE(utf8_valid(S("\xED\xA0\x80")));
    CHECK_FALSE(utf8_valid(S("\xF0\x8F\xBF\xBF")));
    CHECK_FALSE(utf8_valid(S("\xF4\x90\x80\x80")));
    CHECK_FALSE(utf8_valid(S("\xF5\x80\x80\x80")));
    CHECK_FALSE(utf8_valid(S("\xFF")));
    CHECK_FALSE(utf8_valid(S("abc\xE2\x82")));
}

TEST(cuts_never_end_inside_a_character)
{
    str s = S("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"); /* 1 + 2 + 3 + 4 bytes */
    static const size_t want[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10, 10 };
    for (size_t max = 0; max < sizeof want / sizeof want[0]; max++)
        CHECK_UINT(want[max], utf8_cut(s, max));
    CHECK_UINT(0, utf8_cut(STR_NONE, 5));
    CHECK_UINT(3, utf8_cut(S("abc\xE2\x82"), 99)); /* the text itself was cut */
    CHECK_UINT(5, utf8_cut(S("\x80\x80\x80\x80\x80"), 5)); /* no character at all: keep the bytes */
    CHECK_UINT(2, utf8_cut(S("\x80\x80"), 5));
}
