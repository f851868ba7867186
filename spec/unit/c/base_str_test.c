/* base_str_test.c: slices: comparing, searching, cutting, numbers. */
#include "base/str.h"

#include "spec.h"

TEST(equal_slices_compare_by_bytes)
{
    CHECK_TRUE(str_eq(S("a\0b"), S("a\0b")));
    CHECK_FALSE(str_eq(S("a\0b"), S("a\0c")));
    CHECK_FALSE(str_eq(S("a"), S("ab")));
    CHECK_TRUE(str_eq(STR_NONE, S("")));
    CHECK_TRUE(str_ieq(S("Content-LENGTH"), S("content-length")));
    CHECK_FALSE(str_ieq(S("a"), S("b")));
    CHECK_FALSE(str_ieq(S("@"), S("`"))); /* differ by 0x20, are no letters */
    CHECK_TRUE(str_ieq(STR_NONE, S("")));
}

TEST(prefixes_and_suffixes)
{
    CHECK_TRUE(str_starts(S("abc"), S("ab")));
    CHECK_TRUE(str_starts(S("abc"), S("")));
    CHECK_FALSE(str_starts(S("ab"), S("abc")));
    CHECK_TRUE(str_ends(S("abc"), S("bc")));
    CHECK_FALSE(str_ends(S("bc"), S("abc")));
    CHECK_TRUE(str_starts(STR_NONE, STR_NONE));
    CHECK_TRUE(str_ends(STR_NONE, STR_NONE));
}

TEST(find_gives_the_first_position)
{
    CHECK_INT(2, str_find(S("ababc"), S("abc")));
    CHECK_INT(-1, str_find(S("ab"), S("abc")));
    CHECK_INT(0, str_find(S("ab"), S("")));
    CHECK_INT(0, str_find(STR_NONE, S("")));
    CHECK_INT(-1, str_find(STR_NONE, S("x")));
    CHECK_INT(1, str_find(S("\0\1\0\2"), S("\1\0")));
    CHECK_INT(3, str_ifind(S("xx BoUnDary"), S("boundary")));
    CHECK_INT(-1, str_ifind(S("bound"), S("boundary")));
    CHECK_INT(1, str_chr(S("a\0b"), '\0'));
    CHECK_INT(-1, str_chr(STR_NONE, 'x'));
}

TEST(order_is_by_unsigned_bytes_then_length)
{
    CHECK_INT(-1, str_cmp(S("a"), S("b")));
    CHECK_INT(1, str_cmp(S("\xff"), S("a")));
    CHECK_INT(-1, str_cmp(S("ab"), S("abc")));
    CHECK_INT(1, str_cmp(S("abc"), S("ab")));
    CHECK_INT(0, str_cmp(STR_NONE, S("")));
    CHECK_INT(-1, str_cmp(STR_NONE, S("a")));
}

TEST(trim_takes_blanks_of_both_ends_only)
{
    CHECK_STR("a b", str_trim(S(" \t\r\n\v\fa b \n")));
    CHECK_STR("", str_trim(S("  \n")));
    CHECK_STR("", str_trim(STR_NONE));
    CHECK_STR(S("\0a"), str_trim(S("\0a"))); /* NUL is no blank */
}

TEST(sub_is_clamped)
{
    CHECK_STR("bc", str_sub(S("abc"), 1, 99));
    CHECK_STR("", str_sub(S("abc"), 9, 1));
    CHECK_STR("b", str_sub(S("abc"), 1, 1));
    CHECK_STR("c", str_sub(S("abc"), 2, SIZE_MAX));
    CHECK_NULL(str_sub(STR_NONE, 5, 5).ptr);
}

TEST(cut_splits_at_the_first_separator)
{
    str head, tail;
    CHECK_TRUE(str_cut(S("a=b=c"), '=', &head, &tail));
    CHECK_STR("a", head);
    CHECK_STR("b=c", tail);
    CHECK_TRUE(str_cut(S("="), '=', &head, &tail));
    CHECK_STR("", head);
    CHECK_STR("", tail);
    CHECK_TRUE(tail.ptr != NULL);
    CHECK_FALSE(str_cut(S("abc"), '=', &head, &tail));
    CHECK_STR("abc", head);
    CHECK_NULL(tail.ptr);
}

TEST(items_of_a_list_are_trimmed_and_may_be_empty)
{
    str rest = S("a, b ,,c,"), item;
    const char *want[] = { "a", "b", "", "c", "" };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        CHECK_TRUE(str_item(&rest, ',', &item));
        CHECK_STR(want[i], item);
    }
    CHECK_FALSE(str_item(&rest, ',', &item));
    rest = S("");
    CHECK_TRUE(str_item(&rest, ',', &item));
    CHECK_STR("", item);
    CHECK_FALSE(str_item(&rest, ',', &item));
}

TEST(unsigned_numbers_are_digits_without_overflow)
{
    uint64_t v = 7;
    CHECK_TRUE(str_to_u64(S("0"), &v));
    CHECK_UINT(0, v);
    CHECK_TRUE(str_to_u64(S("00012"), &v));
    CHECK_UINT(12, v);
    CHECK_TRUE(str_to_u64(S("18446744073709551615"), &v));
    CHECK_UINT(UINT64_MAX, v);
    v = 7;
    const char *bad[] = { "", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616", "99999999999999999999",
                          "1e3", "1." };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_FALSE(str_to_u64(str_c(bad[i]), &v));
    CHECK_FALSE(str_to_u64(S("1\0"), &v));
    CHECK_UINT(7, v); /* written only on success */
}

TEST(signed_numbers_reach_both_ends)
{
    int64_t v = 7;
    CHECK_TRUE(str_to_i64(S("-9223372036854775808"), &v));
    CHECK_TRUE(v == INT64_MIN);
    CHECK_TRUE(str_to_i64(S("9223372036854775807"), &v));
    CHECK_TRUE(v == INT64_MAX);
    CHECK_TRUE(str_to_i64(S("-0"), &v));
    CHECK_INT(0, v);
    v = 7;
    CHECK_FALSE(str_to_i64(S("9223372036854775808"), &v));
    CHECK_FALSE(str_to_i64(S("-9223372036854775809"), &v));
    CHECK_FALSE(str_to_i64(S("-"), &v));
    CHECK_FALSE(str_to_i64(S("--1"), &v));
    CHECK_FALSE(str_to_i64(S("+1"), &v));
    CHECK_INT(7, v);
}

TEST(hash_depends_on_bytes_and_seed)
{
    CHECK_TRUE(str_hash(S("a"), 1) == str_hash(S("a"), 1));
    CHECK_TRUE(str_hash(S("a"), 1) != str_hash(S("a"), 2));
    CHECK_TRUE(str_hash(S("a"), 1) != str_hash(S("b"), 1));
    CHECK_TRUE(str_hash(STR_NONE, 1) == str_hash(S(""), 1));
}

TEST(characters)
{
    CHECK_INT(10, chr_hex('a'));
    CHECK_INT(15, chr_hex('F'));
    CHECK_INT(9, chr_hex('9'));
    CHECK_INT(-1, chr_hex('g'));
    CHECK_INT(-1, chr_hex('\xff'));
    CHECK_INT('a', chr_lower('A'));
    CHECK_INT('\xc4', chr_lower('\xc4'));
    CHECK_FALSE(chr_space('\0'));
    CHECK_FALSE(chr_space('\xa0'));
    CHECK_TRUE(chr_space('\v'));
}
