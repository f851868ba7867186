/* base_strbuf_test.c: growing text: its maximum, JSON escaping, reserving and consuming. */
#include "base/strbuf.h"

#include "base/utf8.h"
#include "spec.h"

TEST(appends_grow_and_stay_nul_ended)
{
    struct strbuf b = STRBUF(1000);
    CHECK_NULL(b.ptr);
    CHECK_TRUE(strbuf_add(&b, STR_NONE));
    for (int i = 0; i < 500; i++)
        CHECK_TRUE(strbuf_addc(&b, (char)('a' + i % 26)));
    CHECK_UINT(500, b.len);
    CHECK_INT('\0', b.ptr[500]);
    CHECK_TRUE(strbuf_addf(&b, "-%d-%s", 42, "x"));
    CHECK_TRUE(strbuf_addu(&b, 0));
    CHECK_TRUE(strbuf_addu(&b, UINT64_MAX));
    CHECK_TRUE(str_ends(strbuf_str(&b), S("-42-x018446744073709551615")));
    strbuf_fini(&b);
    CHECK_NULL(b.ptr);
    CHECK_TRUE(strbuf_add(&b, S("usable again")));
    strbuf_fini(&b);
    strbuf_fini(NULL);
}

TEST(maximum_is_reached_exactly_and_never_passed)
{
    struct strbuf b = STRBUF(10);
    CHECK_TRUE(strbuf_add(&b, S("0123456789")));
    CHECK_FALSE(b.full);
    CHECK_FALSE(strbuf_addc(&b, 'x'));
    CHECK_TRUE(b.full);
    CHECK_STR("0123456789", strbuf_str(&b));
    strbuf_clear(&b);
    CHECK_FALSE(b.full);
    CHECK_STR("", strbuf_str(&b));
    CHECK_TRUE(strbuf_add(&b, S("01234")));
    CHECK_FALSE(strbuf_add(&b, S("567890"))); /* nothing of it is appended */
    CHECK_STR("01234", strbuf_str(&b));
    CHECK_FALSE(strbuf_addf(&b, "%s", "567890"));
    CHECK_FALSE(strbuf_addu(&b, 567890));
    CHECK_TRUE(strbuf_addu(&b, 56789));
    CHECK_STR("0123456789", strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(huge_reservations_are_refused_not_wrapped)
{
    struct strbuf b = STRBUF(100);
    CHECK_TRUE(strbuf_add(&b, S("abc")));
    CHECK_FALSE(strbuf_reserve(&b, SIZE_MAX));
    CHECK_FALSE(strbuf_reserve(&b, SIZE_MAX - 2));
    CHECK_FALSE(strbuf_reserve(&b, 98));
    CHECK_TRUE(strbuf_reserve(&b, 97));
    strbuf_fini(&b);
}

TEST(no_maximum_is_a_maximum_too)
{
    struct strbuf b = STRBUF(SIZE_MAX);
    for (int i = 0; i < 300; i++)
        CHECK_TRUE(strbuf_add(&b, S("0123456789")));
    CHECK_UINT(3000, b.len);
    CHECK_FALSE(strbuf_reserve(&b, SIZE_MAX - b.len));
    strbuf_fini(&b);
}

TEST(reserve_write_took)
{
    struct strbuf b = STRBUF(64);
    CHECK_TRUE(strbuf_reserve(&b, 64));
    memset(b.ptr, 'x', 64);
    strbuf_took(&b, 64);
    CHECK_UINT(64, b.len);
    CHECK_INT('\0', b.ptr[64]);
    strbuf_fini(&b);
}

TEST(consume_drops_from_the_front)
{
    struct strbuf b = STRBUF(64);
    strbuf_consume(&b, 0); /* also while there is no memory */
    CHECK_TRUE(strbuf_add(&b, S("headbody")));
    strbuf_consume(&b, 4);
    CHECK_STR("body", strbuf_str(&b));
    strbuf_consume(&b, 4);
    CHECK_STR("", strbuf_str(&b));
    strbuf_fini(&b);
}

static void took_too_much(void *arg)
{
    strbuf_took(arg, 1000);
}

static void consume_too_much(void *arg)
{
    strbuf_consume(arg, 1000);
}

TEST(broken_promises_abort)
{
    struct strbuf b = STRBUF(64);
    CHECK_TRUE(strbuf_add(&b, S("abc")));
    CHECK_ABORTS(took_too_much, &b);
    CHECK_ABORTS(consume_too_much, &b);
    strbuf_fini(&b);
}

TEST(json_escapes_what_json_forbids)
{
    struct strbuf b = STRBUF(1000);
    CHECK_TRUE(strbuf_add_json(&b, S("a\"b\\c\n\r\t\x01\x1f\x7f/")));
    CHECK_STR("a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\x7f/", strbuf_str(&b));
    strbuf_clear(&b);
    CHECK_TRUE(strbuf_add_json(&b, S("\0x")));
    CHECK_STR("\\u0000x", strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(json_text_is_always_utf8)
{
    struct strbuf b = STRBUF(1000);
    CHECK_TRUE(strbuf_add_json(&b, S("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80")));
    CHECK_STR("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", strbuf_str(&b));
    strbuf_clear(&b);
    /* lone continuation, overlong, surrogate, beyond the last code point, cut at the end */
    CHECK_TRUE(strbuf_add_json(&b, S("\x80" "a\xC0\xAF" "b\xED\xA0\x80" "c\xF4\x90\x80\x80" "d\xE2\x82")));
    CHECK_TRUE(utf8_valid(strbuf_str(&b)));
    CHECK_STR("\xEF\xBF\xBD" "a\xEF\xBF\xBD\xEF\xBF\xBD" "b\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
              "c\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" "d\xEF\xBF\xBD\xEF\xBF\xBD",
              strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(json_says_when_it_did_not_fit)
{
    struct strbuf b = STRBUF(4);
    CHECK_FALSE(strbuf_add_json(&b, S("ab\ncd")));
    CHECK_TRUE(b.full);
    CHECK_TRUE(b.len <= 4);
    strbuf_fini(&b);
}
