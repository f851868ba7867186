/* Which proxy a connection takes: the rules of Go's net/http. */
#include "config/envproxy.h"

#include "spec.h"

#include <stdio.h>

/* The proxy's authority for a URL; "" = direct, "!..." = an error. */
static const char *pick(const char *http, const char *https, const char *none, const char *url)
{
    static char out[400];
    struct envproxy env = { str_c(http), str_c(https), str_c(none) };
    struct gourl target, via;
    struct error e = { 0 };
    struct strbuf text = STRBUF(1000);
    CHECK_INT(0, gourl_parse(str_c(url), &target, NULL));
    int rc = envproxy_pick(&env, &target, &via, &text, &e);
    out[0] = '\0';
    if (rc == 1)
        snprintf(out, sizeof out, STR_FMT ":%u", STR_ARG(via.host), via.port_num);
    else if (rc < 0)
        snprintf(out, sizeof out, "!%s", e.msg);
    strbuf_fini(&text);
    return out;
}

TEST(envproxy_follows_the_scheme_of_the_target)
{
    CHECK_STR("p:3128", pick("http://p:3128", "http://s:1", "", "http://far.example"));
    CHECK_STR("s:1", pick("http://p:3128", "http://s:1", "", "https://far.example:99/x"));
    CHECK_STR("", pick("", "http://s:1", "", "http://far.example"));
    CHECK_STR("", pick("http://p", "", "", "https://far.example"));
    CHECK_STR("p:3128", pick("p:3128", "", "", "http://far.example")); /* "p" is no scheme */
    CHECK_STR("p:80", pick("p", "", "", "http://far.example"));
    CHECK_STR("10.1.2.3:8080", pick("10.1.2.3:8080", "", "", "http://far.example"));
    CHECK_STR("p:443", pick("https://p", "", "", "http://far.example"));
    CHECK_STR("::2:3128", pick("http://[::2]:3128", "", "", "http://far.example"));
}

TEST(envproxy_never_for_this_machine)
{
    static const char *const local[] = { "http://localhost:1", "http://LOCALHOST", "http://127.0.0.1:9000", "http://127.9.9.9",
                                         "http://[::1]:1", "http://[::ffff:127.0.0.1]" };
    for (size_t i = 0; i < ARRAY_LEN(local); i++)
        CHECK_STR("", pick("http://p:1", "", "", local[i]));
    CHECK_STR("p:1", pick("http://p:1", "", "", "http://localhost.example"));
    CHECK_STR("p:1", pick("http://p:1", "", "", "http://128.0.0.1"));
}

TEST(envproxy_no_proxy)
{
    static const struct {
        const char *none, *url;
        bool direct;
    } cases[] = {
        { "*", "http://far.example", true },
        { "a, *", "http://10.0.0.1", true },
        { "far.example", "http://far.example", true },
        { "FAR.example", "http://far.EXAMPLE", true },
        { "far.example", "http://sub.far.example", true },
        { "far.example", "http://notfar.example", false },
        { ".far.example", "http://far.example", false },
        { ".far.example", "http://sub.far.example", true },
        { "*.far.example", "http://far.example", false },
        { "*.far.example", "http://a.b.far.example", true },
        { "far.example:81", "http://far.example:81", true },
        { "far.example:81", "http://far.example", false },
        { "far.example:80", "http://far.example", true },
        { "far.example:80", "http://sub.far.example", true },
        { " , ,far.example , ", "http://far.example", true },
        { "10.0.0.0/8", "http://10.200.3.4", true },
        { "10.0.0.0/8", "http://11.0.0.1", false },
        { "10.0.0.0/13", "http://10.7.255.255", true },
        { "10.0.0.0/13", "http://10.8.0.0", false },
        { "10.0.0.0/33", "http://10.0.0.1", false },
        { "0.0.0.0/0", "http://8.8.8.8", true },
        { "0.0.0.0/0", "http://[fd00::1]", false },
        { "fd00::/8", "http://[fd12::1]", true },
        { "fd00::/8", "http://[fe80::1]", false },
        { "10.0.0.1", "http://10.0.0.1:55", true },
        { "10.0.0.1:55", "http://10.0.0.1:55", true },
        { "10.0.0.1:55", "http://10.0.0.1:56", false },
        { "fd00::1", "http://[fd00::1]", true },
        { "[fd00::1]:80", "http://[fd00::1]", true },
        { "::ffff:10.0.0.1", "http://10.0.0.1", true },
        { "0.0.1", "http://10.0.0.1", false }, /* an address has no domain */
        { ":80", "http://far.example", false },
        { ".", "http://far.example", false },
        { "", "http://far.example", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = pick("http://p:1", "", cases[i].none, cases[i].url);
        if (cases[i].direct != !got[0])
            spec_miss(__FILE__, __LINE__, "NO_PROXY='%s' %s: %s", cases[i].none, cases[i].url, got);
    }
}

TEST(envproxy_says_what_it_cannot_use)
{
    CHECK_STR("!HTTP_PROXY: proxies by socks4:// are not supported", pick("socks4://p:1", "", "", "http://far.example"));
    CHECK_STR("!HTTP_PROXY has no usable host and port", pick("socks5://p:99999", "", "", "http://far.example"));
    CHECK_STR("!HTTPS_PROXY: an https:// proxy for an https:// target is not supported",
              pick("", "https://p:1", "", "https://far.example"));
    CHECK_STR("!HTTP_PROXY is no URL of a proxy", pick("a b", "", "", "http://far.example"));
    CHECK_STR("!HTTP_PROXY has no usable host and port", pick("http://p:99999", "", "", "http://far.example"));
}

TEST(envproxy_credentials)
{
    static const struct {
        const char *url, *want;
    } cases[] = {
        { "http://p", "" },
        { "http://ann:secret@p", "Basic YW5uOnNlY3JldA==" },
        { "http://ann@p", "Basic YW5uOg==" },
        { "http://a%40b:c%3Ad@p", "Basic YUBiOmM6ZA==" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gourl u;
        struct strbuf b = STRBUF(200);
        CHECK_INT(0, gourl_parse(str_c(cases[i].url), &u, NULL));
        CHECK_INT(cases[i].want[0] != '\0', envproxy_auth(&u, &b));
        CHECK_STR(cases[i].want, strbuf_str(&b));
        strbuf_fini(&b);
    }
}
