/* base_error_test.c: error codes and the messages that travel with them. */
#include "base/error.h"

#include "base/utf8.h"
#include "spec.h"

#include <errno.h>

TEST(every_code_has_name_text_and_status)
{
#define ERR(name, num, status, text)                                                               \
    CHECK_STR("ERR_" #name, err_name(ERR_##name));                                                 \
    CHECK_STR(text, err_text(ERR_##name));                                                         \
    CHECK_INT(status, err_status(ERR_##name));                                                     \
    CHECK_TRUE(ERR_##name < 0);
#include "base/errors.def"
#undef ERR
    CHECK_STR("ERR_OK", err_name(0));
    CHECK_STR("ERR_?", err_name(-9999));
    CHECK_INT(500, err_status(-9999));
    CHECK_TRUE(*err_text(-9999));
}

TEST(numbers_are_not_shared)
{
    static const int codes[] = {
#define ERR(name, num, status, text) num,
#include "base/errors.def"
#undef ERR
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        for (size_t k = 0; k < i; k++)
            CHECK_TRUE(codes[i] != codes[k]);
}

TEST(set_returns_the_code_and_fills_the_message)
{
    struct error e = { 0 };
    CHECK_INT(ERR_SYNTAX, error_set(&e, ERR_SYNTAX, "line %d: %s", 3, "bad"));
    CHECK_INT(ERR_SYNTAX, e.code);
    CHECK_INT(0, e.sys);
    CHECK_STR("line 3: bad", e.msg);
    CHECK_INT(ERR_LIMIT, error_set(&e, ERR_LIMIT, NULL));
    CHECK_STR(err_text(ERR_LIMIT), e.msg);
    CHECK_INT(ERR_LIMIT, error_set(NULL, ERR_LIMIT, "x %d", 1));
}

TEST(sys_appends_the_systems_text)
{
    struct error e = { 0 };
    CHECK_INT(ERR_SYS, error_sys(&e, ERR_SYS, ENOENT, "open %s", "f"));
    CHECK_STR("open f: No such file or directory", e.msg);
    CHECK_INT(ENOENT, e.sys);
    CHECK_INT(ERR_SYS, error_sys(&e, ERR_SYS, -ENOENT, "x"));
    CHECK_STR("x: No such file or directory", e.msg);
    CHECK_INT(ERR_SYS, error_sys(NULL, ERR_SYS, ENOENT, "x"));
}

TEST(wrap_puts_text_before_the_message)
{
    struct error e = { 0 };
    (void)error_set(&e, ERR_CONFIG, "inner");
    CHECK_INT(ERR_CONFIG, error_wrap(&e, "model %s", "m"));
    CHECK_STR("model m: inner", e.msg);
    CHECK_INT(ERR_CONFIG, e.code);
    CHECK_TRUE(error_wrap(NULL, "x") < 0);
}

TEST(long_messages_are_cut_at_a_whole_character)
{
    struct error e = { 0 };
    char text[600];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', sizeof text);
        for (size_t i = shift; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 3);
        text[sizeof text - 1] = '\0';
        text[shift + 3 * ((sizeof text - 1 - shift) / 3)] = '\0';
        (void)error_set(&e, ERR_SYNTAX, "%s", text);
        CHECK_TRUE(strlen(e.msg) < sizeof e.msg && strlen(e.msg) > 200);
        CHECK_TRUE(utf8_valid(str_c(e.msg)));
        (void)error_wrap(&e, "%s", "outer");
        CHECK_TRUE(utf8_valid(str_c(e.msg)));
        CHECK_TRUE(str_starts(str_c(e.msg), S("outer: ")));
        (void)error_wrap(&e, "%s", text); /* no room left for what was there */
        CHECK_TRUE(utf8_valid(str_c(e.msg)));
        (void)error_sys(&e, ERR_SYS, ENOENT, "%s", text);
        CHECK_TRUE(utf8_valid(str_c(e.msg)));
    }
}
