#include "codec/url.h"

#include "spec.h"

TEST(upstream_urls)
{
    struct url u;
    CHECK_INT(0, url_parse(S("http://user:p@localhost:5800/base/x?k=v#f"), &u, NULL));
    CHECK_STR("http", u.scheme);
    CHECK_STR("user:p", u.userinfo);
    CHECK_STR("localhost", u.host);
    CHECK_STR("localhost:5800", u.authority);
    CHECK_INT(5800, u.port);
    CHECK_STR("/base/x", u.path);
    CHECK_STR("k=v", u.query);
    CHECK_INT(0, url_parse(S("HTTPS://[::1]"), &u, NULL));
    CHECK_STR("::1", u.host);
    CHECK_STR("[::1]", u.authority);
    CHECK_INT(443, u.port);
    CHECK_STR("", u.path);
    CHECK_INT(0, url_parse(S("http://h?q"), &u, NULL));
    CHECK_STR("q", u.query);
    static const char *const bad[] = { "", "localhost:1", "ftp://h", "http://", "http://:80", "http://h:0", "http://h:99999",
                                       "http://h:x", "http://[::1", "http://::1", "http://[::1]x", "http://a b/",
                                       "http://h\"/", "http:///p" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_TRUE(url_parse(str_c(bad[i]), &u, NULL) < 0);
}

TEST(percent_decoding)
{
    struct strbuf b = STRBUF(64);
    CHECK_TRUE(url_decode(&b, S("a%20b+c%2f%C3%bc"), false));
    CHECK_STR("a b+c/\xc3\xbc", strbuf_str(&b));
    strbuf_clear(&b);
    CHECK_TRUE(url_decode(&b, S("+a+"), true));
    CHECK_STR(" a ", strbuf_str(&b));
    strbuf_clear(&b);
    CHECK_FALSE(url_decode(&b, S("%"), false));
    CHECK_FALSE(url_decode(&b, S("%2"), false));
    CHECK_FALSE(url_decode(&b, S("%2x"), false));
    strbuf_clear(&b);
    CHECK_TRUE(url_encode(&b, S("a/b c%"), true));
    CHECK_STR("a/b%20c%25", strbuf_str(&b));
    strbuf_clear(&b);
    CHECK_TRUE(url_encode(&b, S("a/b"), false));
    CHECK_STR("a%2Fb", strbuf_str(&b));
    strbuf_fini(&b);
    CHECK_TRUE(url_escapes_ok(S("/a%20b")));
    CHECK_FALSE(url_escapes_ok(S("/a%00")));
    CHECK_FALSE(url_escapes_ok(S("/a%2")));
    CHECK_FALSE(url_escapes_ok(S("/a%")));
}

TEST(query_lookup)
{
    struct arena a;
    str v;
    arena_init(&a, 1u << 16);
    str q = S("x=1&model=author%2Fm+7b&model=second&bad=%zz&no;pe=1&=e&flag");
    CHECK_TRUE(url_query_get(&a, q, S("model"), &v));
    CHECK_STR("author/m 7b", v);
    CHECK_TRUE(url_query_get(&a, q, S("flag"), &v));
    CHECK_STR("", v);
    CHECK_FALSE(url_query_get(&a, q, S("bad"), &v));
    CHECK_FALSE(url_query_get(&a, q, S("no"), &v));
    CHECK_TRUE(url_query_get(&a, S("mo%64el=a"), S("model"), &v));
    CHECK_STR("a", v);
    CHECK_FALSE(url_query_get(&a, S(""), S("model"), &v));
    arena_fini(&a);
}

TEST(queries_are_tidied_and_written_in_ascii)
{
    static const struct {
        const char *in, *tidy, *ascii;
        bool dropped;
    } t[] = {
        { "a=1&b=%20&&c", "a=1&b=%20&&c", "a=1&b=%20&&c", false },
        { "a=%zz&b=1;c=2&d=%2", "", "a=%zz&b=1;c=2&d=%2", true },
        { "x=%g1&y=\xc3\xbc", "y=\xc3\xbc", "x=%g1&y=%C3%BC", true },
        { "", "", "", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct strbuf b = STRBUF(4096), c = STRBUF(4096);
        CHECK_INT(t[i].dropped, url_query_tidy(&b, str_c(t[i].in)));
        CHECK_STR(t[i].tidy, strbuf_str(&b));
        CHECK_TRUE(url_ascii(&c, str_c(t[i].in)));
        CHECK_STR(t[i].ascii, strbuf_str(&c));
        strbuf_fini(&b);
        strbuf_fini(&c);
    }
}

TEST(paths_are_cleaned_as_go_does)
{
    static const char *const t[][2] = {
        { "//", "/" },          { "/a//b", "/a/b" },    { "/a/./b", "/a/b" },   { "/a/../b", "/b" },
        { "/../a", "/a" },      { "/a/..", "/" },       { "/a/.", "/a" },       { "/a/b/..", "/a" },
        { "/a/b/../", "/a/" },  { "/a//", "/a/" },      { "/.", "/" },          { "/..", "/" },
        { "a", "/a" },          { "", "/" },            { "//evil.com/x", "/evil.com/x" },
        { "/a/../../..//b/", "/b/" },
    };
    static const char *const clean[] = { "/", "/a", "/a/", "/a/b.c/..d/.e/f..", "/%2e%2e/a", "/..." };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct strbuf b = STRBUF(256);
        CHECK_TRUE(url_path_clean(&b, str_c(t[i][0])));
        CHECK_STR(t[i][1], strbuf_str(&b));
        CHECK_FALSE(url_path_unclean(strbuf_str(&b)));
        strbuf_fini(&b);
    }
    for (size_t i = 0; i < ARRAY_LEN(clean); i++)
        CHECK_FALSE(url_path_unclean(str_c(clean[i])));
}

TEST(absolute_forms)
{
    str auth, origin;
    CHECK_TRUE(url_cut_absolute(S("http://h:1/a?b"), &auth, &origin));
    CHECK_STR("h:1", auth);
    CHECK_STR("/a?b", origin);
    CHECK_TRUE(url_cut_absolute(S("http://h"), &auth, &origin));
    CHECK_STR("/", origin);
    CHECK_FALSE(url_cut_absolute(S("http://"), &auth, &origin));
    CHECK_FALSE(url_cut_absolute(S("http://h?q"), &auth, &origin));
    CHECK_FALSE(url_cut_absolute(S("h:80"), &auth, &origin));
    CHECK_FALSE(url_cut_absolute(S("http://u@h/"), &auth, &origin));
    CHECK_FALSE(url_cut_absolute(S("://h/"), &auth, &origin));
    CHECK_FALSE(url_cut_absolute(S("+x://h/"), &auth, &origin));
}
