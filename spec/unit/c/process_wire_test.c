/* process_wire_test.c: words and lines of the supervisor's protocol. */
#include "process/wire.h"

#include "base/rand.h"
#include "spec.h"

#include <inttypes.h>
#include <stdio.h>

TEST(a_word_of_any_bytes_survives_the_wire)
{
    struct rand_state r;
    uint64_t seed;
    rand_bytes(&seed, sizeof seed);
    rand_seed(&r, seed);
    for (int round = 0; round < 2000; round++) {
        char bytes[64];
        size_t n = rand_below(&r, sizeof bytes + 1);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)rand_u64(&r);
        struct strbuf line = STRBUF(1000), back = STRBUF(1000);
        strbuf_add(&line, S("arg "));
        wire_add(&line, str_n(bytes, n));
        strbuf_addc(&line, '\n');
        str got, verb, word;
        size_t used;
        if (!wire_line(strbuf_str(&line), &got, &used) || used != line.len ||
            !wire_word(&got, &verb) || !wire_word(&got, &word) || wire_word(&got, &verb) ||
            !wire_text(&back, word) || !str_eq(strbuf_str(&back), str_n(bytes, n)))
            spec_miss(__FILE__, __LINE__, "seed %" PRIu64 " round %d", seed, round);
        strbuf_fini(&line);
        strbuf_fini(&back);
    }
}

TEST(lines_come_one_by_one_and_only_when_whole)
{
    str line;
    size_t used;
    CHECK_FALSE(wire_line(S(""), &line, &used));
    CHECK_FALSE(wire_line(S("gone"), &line, &used));
    CHECK_TRUE(wire_line(S("gone\nexited 1\n"), &line, &used));
    CHECK_STR("gone", line);
    CHECK_UINT(5, used);
    CHECK_TRUE(wire_line(S("\n"), &line, &used));
    CHECK_STR("", line);
}

TEST(empty_words_are_words)
{
    str line = S("arg  x"), word;
    CHECK_TRUE(wire_word(&line, &word));
    CHECK_STR("arg", word);
    CHECK_TRUE(wire_word(&line, &word));
    CHECK_STR("", word);
    CHECK_TRUE(wire_word(&line, &word));
    CHECK_STR("x", word);
    CHECK_FALSE(wire_word(&line, &word));
    line = S("arg ");
    CHECK_TRUE(wire_word(&line, &word));
    CHECK_TRUE(wire_word(&line, &word));
    CHECK_STR("", word);
}

TEST(malformed_escapes_are_refused)
{
    static const char *const bad[] = { "%", "%4", "a%", "%G0", "%0g", "abc%f" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct strbuf b = STRBUF(100);
        CHECK_FALSE(wire_text(&b, str_c(bad[i])));
        strbuf_fini(&b);
    }
    int n;
    CHECK_TRUE(wire_int(S("-12"), &n));
    CHECK_INT(-12, n);
    CHECK_FALSE(wire_int(S("2147483648"), &n));
    CHECK_FALSE(wire_int(S("1x"), &n));
    CHECK_FALSE(wire_int(S(""), &n));
}
