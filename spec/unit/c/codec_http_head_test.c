/* Header ids, tokens, reasons. */
#include "codec/http_head.h"

#include "spec.h"

#include <ctype.h>

static const struct {
    enum http_hdr id;
    const char *name;
} known[] = {
#define HDR(id, text) { HDR_##id, text },
#include "codec/http_hdrs.def"
#undef HDR
};

TEST(every_known_header_is_found_in_any_spelling)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        char up[64] = "";
        CHECK_INT(known[i].id, http_hdr_of(str_c(known[i].name)));
        for (size_t k = 0; known[i].name[k]; k++)
            up[k] = (char)toupper((unsigned char)known[i].name[k]);
        CHECK_INT(known[i].id, http_hdr_of(str_c(up)));
        up[strlen(up) - 1] = '#';
        CHECK_INT(HDR_OTHER, http_hdr_of(str_c(up)));
    }
    CHECK_INT(HDR_OTHER, http_hdr_of(S("")));
    CHECK_INT(HDR_OTHER, http_hdr_of(S("x")));
    CHECK_INT(HDR_OTHER, http_hdr_of(S("host\0")));
}

TEST(a_token_is_what_rfc_9110_says)
{
    for (int c = 0; c < 256; c++) {
        char z = (char)c;
        bool want = c && (isalnum(c) ? c < 128 : strchr("!#$%&'*+-.^_`|~", c) != NULL);
        CHECK_INT(want, http_token_valid(str_n(&z, 1)));
    }
    CHECK_FALSE(http_token_valid(S("")));
    CHECK_TRUE(http_token_valid(S("Content-Type")));
}

TEST(control_bytes_are_found_at_every_place)
{
    char buf[40];
    for (size_t len = 0; len < sizeof buf; len++) {
        memset(buf, 'a', sizeof buf);
        CHECK_TRUE(http_no_controls(str_n(buf, len)));
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                buf[at] = (char)c;
                CHECK_INT(c >= 0x20 && c != 0x7f, http_no_controls(str_n(buf, len)));
            }
            buf[at] = '\xff';
        }
    }
}

TEST(list_tokens_are_found_over_several_lines)
{
    struct http_header f[] = {
        { S("Connection"), S("keep-alive, UpGrAdE"), HDR_CONNECTION },
        { S("Accept"), S("close"), HDR_ACCEPT },
        { S("Connection"), S(" x-a ,, x-b"), HDR_CONNECTION },
    };
    struct http_head h = { .headers = f, .n_headers = 3 };
    CHECK_TRUE(http_has_token(&h, HDR_CONNECTION, S("upgrade")));
    CHECK_TRUE(http_has_token(&h, HDR_CONNECTION, S("X-B")));
    CHECK_FALSE(http_has_token(&h, HDR_CONNECTION, S("close")));
    CHECK_FALSE(http_has_token(&h, HDR_CONNECTION, S("x")));
    CHECK_STR("close", http_value(&h, HDR_ACCEPT));
    CHECK_STR("", http_value(&h, HDR_HOST));
    CHECK_TRUE(http_find_name(&h, S("ACCEPT")) == &f[1]);
    CHECK_STR("OK", http_reason(200));
    CHECK_STR("", http_reason(299));
}
