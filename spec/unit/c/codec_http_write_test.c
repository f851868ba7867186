/* Writing heads and forwarding them. */
#include "codec/http_write.h"

#include "codec/http_parse.h"
#include "spec.h"

static struct arena arena;
static struct strbuf out;

static struct http_head head_of(enum http_kind kind, const char *text)
{
    struct http_reader *r = http_reader_new(kind, 65536);
    struct http_head h;
    struct error e;
    size_t used;
    arena_init(&arena, 1u << 20);
    strbuf_init(&out, 1u << 20);
    CHECK_INT(HTTP_DONE, http_reader_feed(r, str_c(text), &used, &e));
    CHECK_INT(0, http_reader_head(r, &arena, false, &h, &e));
    http_reader_free(r);
    return h;
}

static void done(void)
{
    arena_fini(&arena);
    strbuf_fini(&out);
}

TEST(a_header_value_cannot_break_its_line)
{
    struct strbuf b = STRBUF(4096);
    CHECK_TRUE(http_head_add(&b, S("X-A"), S("b c")));
    CHECK_FALSE(http_head_add(&b, S("X-A"), S("b\r\nEvil: 1")));
    CHECK_FALSE(http_head_add(&b, S("X-A"), S("b\nc")));
    CHECK_FALSE(http_head_add(&b, S("X-A"), S("b\0c")));
    CHECK_FALSE(http_head_add(&b, S("X A"), S("b")));
    CHECK_FALSE(http_head_add(&b, S(""), S("b")));
    CHECK_TRUE(http_head_addu(&b, S("N"), 18446744073709551615u));
    CHECK_TRUE(http_head_addu(&b, S("N"), 0));
    CHECK_FALSE(http_write_request_line(&b, S("GET"), S("/a b")));
    CHECK_FALSE(http_write_request_line(&b, S("G T"), S("/")));
    CHECK_FALSE(http_write_request_line(&b, S("GET"), S("")));
    CHECK_TRUE(http_write_request_line(&b, S("GET"), S("/a?b")));
    CHECK_FALSE(http_write_status_line(&b, 200, S("a\r\nb")));
    CHECK_TRUE(http_write_status_line(&b, 404, STR_NONE));
    CHECK_STR("X-A: b c\r\nN: 18446744073709551615\r\nN: 0\r\nGET /a?b HTTP/1.1\r\nHTTP/1.1 404 Not Found\r\n",
              strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(dates_are_those_of_the_rfc)
{
    char d[HTTP_DATE_LEN + 1];
    http_date(784111777, d);
    CHECK_STR("Sun, 06 Nov 1994 08:49:37 GMT", d);
    http_date(0, d);
    CHECK_STR("Thu, 01 Jan 1970 00:00:00 GMT", d);
    http_date(951782399, d);
    CHECK_STR("Mon, 28 Feb 2000 23:59:59 GMT", d);
    http_date(951782400, d);
    CHECK_STR("Tue, 29 Feb 2000 00:00:00 GMT", d);
    http_date(4107542400, d);
    CHECK_STR("Mon, 01 Mar 2100 00:00:00 GMT", d);
    http_date(253402300799, d);
    CHECK_STR("Fri, 31 Dec 9999 23:59:59 GMT", d);
}

TEST(a_request_is_forwarded_without_what_is_hop_by_hop)
{
    struct http_head h = head_of(HTTP_KIND_REQUEST,
                                 "POST /v1/x%2Fy?k=%zz HTTP/1.1\r\nHost: client.example\r\n"
                                 "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
                                 "Proxy-Authorization: p\r\nTE: trailers\r\nUpgrade: h2c\r\n"
                                 "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
                                 "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
                                 "Accept-Encoding: br, gzip;q=1.0, zstd\r\nAccept-Encoding: deflate\r\n"
                                 "Authorization: Bearer s\r\nuser-agent: curl\r\n\r\n");
    struct http_forward o = { .base_path = S("/api/"), .base_query = S("z=1"), .peer = S("127.0.0.1"),
                              .filter_encoding = true, .body = HTTP_BODY_LENGTH, .length = 12 };
    CHECK_INT(0, http_forward_request(&out, &h, &o, NULL));
    CHECK_STR("POST /api/v1/x%2Fy?z=1&k=%zz HTTP/1.1\r\nHost: client.example\r\nAuthorization: Bearer s\r\n"
              "user-agent: curl\r\nAccept-Encoding: gzip;q=1.0, deflate\r\n"
              "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\nTE: trailers\r\nContent-Length: 12\r\n\r\n",
              strbuf_str(&out));
    done();
}

TEST(a_forwarded_request_can_be_changed)
{
    struct http_head h = head_of(HTTP_KIND_REQUEST, "GET /upstream/m/a HTTP/1.1\r\nHost: c\r\nX-Forwarded-For: 1\r\n"
                                                    "X-Forwarded-Proto: https\r\nForwarded: for=1\r\nX-Gone: 1\r\n"
                                                    "Authorization: old\r\nAccept-Encoding: br\r\n\r\n");
    struct http_header set[] = { { S("authorization"), S("Bearer new"), HDR_AUTHORIZATION } };
    str gone[] = { S("x-gone") };
    struct http_forward o = { .path = S("/a"), .host = S("peer:8"), .peer = S("9"), .drop_forwarded = true,
                              .filter_encoding = true, .set = set, .n_set = 1, .remove = gone, .n_remove = 1 };
    CHECK_INT(0, http_forward_request(&out, &h, &o, NULL));
    CHECK_STR("GET /a HTTP/1.1\r\nHost: peer:8\r\nAccept-Encoding: \r\nauthorization: Bearer new\r\n\r\n",
              strbuf_str(&out));
    done();
}

TEST(an_upgrade_goes_along_when_asked)
{
    struct http_head h = head_of(HTTP_KIND_REQUEST, "GET /ws HTTP/1.1\r\nHost: c\r\nConnection: keep-alive, UpGrAdE\r\n"
                                                    "Upgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n");
    struct http_forward o = { .upgrade = true };
    CHECK_TRUE(h.upgrade);
    CHECK_INT(0, http_forward_request(&out, &h, &o, NULL));
    CHECK_STR("GET /ws HTTP/1.1\r\nHost: c\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
              strbuf_str(&out));
    done();
}

TEST(a_target_with_bad_bytes_is_not_forwarded)
{
    struct http_head h = head_of(HTTP_KIND_REQUEST, "GET /ok HTTP/1.1\r\nHost: c\r\n\r\n");
    static const char *const bad[] = { "/a b", "/a\r\nX: y", "/a\tb", "/\x7f" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_forward o = { .path = str_c(bad[i]) };
        strbuf_clear(&out);
        CHECK_INT(ERR_SYNTAX, http_forward_request(&out, &h, &o, NULL));
    }
    done();
}

TEST(bytes_above_127_in_a_target_are_forwarded_as_escapes)
{
    struct http_head h = head_of(HTTP_KIND_REQUEST, "BREW /\xc3\xbc%2f?q=\xff%20 HTTP/1.1\r\nHost: c\r\n\r\n");
    struct http_forward o = { 0 };
    CHECK_INT(0, http_forward_request(&out, &h, &o, NULL));
    CHECK_STR("BREW /%C3%BC%2f?q=%FF%20 HTTP/1.1\r\nHost: c\r\n\r\n", strbuf_str(&out));
    done();
}

TEST(an_answer_is_forwarded_without_framing)
{
    struct http_head h = head_of(HTTP_KIND_RESPONSE,
                                 "HTTP/1.1 200 OK\r\nServer: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
                                 "Keep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
                                 "Content-Type: Text/Event-Stream; charset=utf-8\r\nX-Accel-Buffering: yes\r\n"
                                 "Set-Cookie: a\r\nSet-Cookie: b\r\nDate: D\r\n\r\n");
    CHECK_INT(0, http_forward_response(&out, &h, NULL, NULL));
    CHECK_STR("Server: x\r\nTrailer: X-Sum\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"
              "Set-Cookie: a\r\nSet-Cookie: b\r\nDate: D\r\nX-Accel-Buffering: no\r\n",
              strbuf_str(&out));
    done();
}

TEST(trailers_cannot_reframe_or_authenticate)
{
    struct strbuf b = STRBUF(4096);
    http_filter_trailers(&b, S("X-A: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: h\r\n"
                               "Authorization: a\r\nbad name: x\r\nnocolon\r\nX-B:2\r\n"));
    CHECK_STR("X-A: 1\r\nX-B: 2\r\n", strbuf_str(&b));
    strbuf_fini(&b);
}

TEST(targets_are_joined_by_one_slash)
{
    static const char *const t[][6] = {
        { "", "", "/a", "", "", "/a" },       { "/", "", "/a", "", "", "/a" },
        { "/b", "", "/a", "", "", "/b/a" },   { "/b/", "", "/a", "", "", "/b/a" },
        { "/b/", "", "a", "", "", "/b/a" },   { "", "", "", "", "", "/" },
        { "", "x=1", "/a", "", "", "/a?x=1" }, { "", "x=1", "/a", "y", "q", "/a?x=1&y" },
        { "", "", "/a", "", "q", "/a?" },     { "/b%2F", "", "/%2Fa", "y", "q", "/b%2F/%2Fa?y" },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct strbuf b = STRBUF(4096);
        CHECK_TRUE(http_join_target(&b, str_c(t[i][0]), str_c(t[i][1]), str_c(t[i][2]), str_c(t[i][3]),
                                    t[i][4][0] != '\0'));
        CHECK_STR(t[i][5], strbuf_str(&b));
        strbuf_fini(&b);
    }
}
