/* io_socks_test.c: the client's side of SOCKS 5. */
#include "io/socks.h"
#include "spec.h"

struct talk {
    struct socks s;
    struct strbuf out;
    struct error e;
};

static int hear(struct talk *t, str in, size_t *used)
{
    strbuf_clear(&t->out);
    return socks_feed(&t->s, in, used, &t->out, &t->e);
}

#define SAID(t, lit) CHECK_TRUE(str_eq(strbuf_str(&(t)->out), S(lit)))

static struct talk begin(const char *host, int port, str auth)
{
    struct talk t = { .out = STRBUF(SOCKS_OUT_MAX) };
    CHECK_INT(0, socks_begin(&t.s, str_c(host), port, auth, &t.out, &t.e));
    return t;
}

TEST(socks_asks_by_name_or_address)
{
    static const struct {
        const char *host;
        str ask, answer;
    } cases[] = {
        { "far.test", S("\5\1\0\3\10far.test\1\273"), S("\5\0\0\1\1\2\3\4\0\1") },
        { "10.1.2.3", S("\5\1\0\1\12\1\2\3\1\273"), S("\5\0\0\3\3abc\0\1") },
        { "fe80::1", S("\5\1\0\4\376\200\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\273"),
          S("\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1") },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct talk t = begin(cases[i].host, 443, STR_NONE);
        size_t used;
        SAID(&t, "\5\1\0");
        CHECK_INT(0, hear(&t, S("\5"), &used));
        CHECK_UINT(0, used);
        CHECK_INT(0, hear(&t, S("\5\0"), &used));
        CHECK_UINT(2, used);
        CHECK_TRUE(str_eq(strbuf_str(&t.out), cases[i].ask));
        for (size_t n = 0; n < cases[i].answer.len; n++) {
            CHECK_INT(0, hear(&t, str_sub(cases[i].answer, 0, n), &used));
            CHECK_UINT(0, used);
            CHECK_UINT(0, t.out.len);
        }
        CHECK_INT(1, hear(&t, cases[i].answer, &used));
        CHECK_UINT(cases[i].answer.len, used);
        strbuf_fini(&t.out);
    }
}

TEST(socks_proves_who_it_is)
{
    struct strbuf auth = STRBUF(SOCKS_AUTH_MAX);
    size_t used;
    CHECK_TRUE(socks_auth(&auth, S("ann"), S("pw")));
    struct talk t = begin("h", 80, strbuf_str(&auth));
    SAID(&t, "\5\2\0\2");
    CHECK_INT(0, hear(&t, S("\5\2"), &used));
    SAID(&t, "\1\3ann\2pw");
    CHECK_INT(0, hear(&t, S("\1\0"), &used));
    SAID(&t, "\5\1\0\3\1h\0\120");
    strbuf_fini(&t.out);
    t = begin("h", 80, strbuf_str(&auth));
    CHECK_INT(0, hear(&t, S("\5\0"), &used)); /* the proxy does not care */
    SAID(&t, "\5\1\0\3\1h\0\120");
    strbuf_fini(&t.out);
    strbuf_fini(&auth);
    char longest[256] = { 0 };
    CHECK_FALSE(socks_auth(&auth, str_n(longest, 256), S("x")));
    CHECK_FALSE(socks_auth(&auth, S("x"), str_n(longest, 256)));
    CHECK_FALSE(socks_auth(&auth, S(""), S("x")));
    CHECK_UINT(0, auth.len);
    CHECK_TRUE(socks_auth(&auth, str_n(longest, 255), str_n(longest, 255)));
    CHECK_UINT(SOCKS_AUTH_MAX, auth.len);
    strbuf_fini(&auth);
}

TEST(socks_says_what_went_wrong)
{
    static const struct {
        str in[3];
        const char *text;
    } cases[] = {
        { { S("\4\0") }, "does not speak SOCKS 5" },
        { { S("H") }, "does not speak SOCKS 5" },
        { { S("\5\377") }, "wants a user name" },
        { { S("\5\2") }, "wants a user name" },
        { { S("\5\0"), S("\5\1") }, "does not connect to h: it failed" },
        { { S("\5\0"), S("\5\143\0\1") }, "does not connect to h: for a reason of its own" },
        { { S("\5\0"), S("\5\0\0\7\0\0") }, "does not speak SOCKS 5" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct talk t = begin("h", 80, STR_NONE);
        size_t used;
        int rc = 0;
        for (size_t k = 0; k < 3 && rc == 0 && cases[i].in[k].len; k++)
            rc = hear(&t, cases[i].in[k], &used);
        CHECK_INT(ERR_PROTOCOL, rc);
        CHECK_STR(cases[i].text, str_c(t.e.msg));
        strbuf_fini(&t.out);
    }
    struct socks s;
    struct error e = { 0 };
    char host[300];
    memset(host, 'a', sizeof host);
    struct strbuf out = STRBUF(SOCKS_OUT_MAX);
    CHECK_INT(ERR_LIMIT, socks_begin(&s, str_n(host, 256), 1, STR_NONE, &out, &e));
    CHECK_INT(0, socks_begin(&s, str_n(host, 255), 1, STR_NONE, &out, &e));
    strbuf_fini(&out);
}
