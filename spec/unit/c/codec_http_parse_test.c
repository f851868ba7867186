/* The strict reader: what it takes, what it refuses, and that pieces do not matter. */
#include "codec/http_parse.h"

#include "base/strbuf.h"

#include "spec.h"

#include <stdio.h>

#define HEAD_MAX (64u * 1024)

struct result {
    int rc, status;
    size_t used;
    struct http_head head;
    struct arena arena;
    struct strbuf body, trailers;
    struct error e;
};

static bool sink(void *ud, str bytes)
{
    strbuf_add(ud, bytes);
    return true;
}

static bool sink_and_stop(void *ud, str bytes)
{
    strbuf_add(ud, bytes);
    return false;
}

/* Feeds [from, to) of `all` where it is needed: head, then a chunked body. */
struct run {
    struct http_reader *r;
    struct http_chunked *c;
    struct result *res;
    http_sink_fn *sink;
    bool head_request, done;
};

static void feed(struct run *run, str in)
{
    struct result *res = run->res;
    while (!run->done && in.len) {
        size_t used = 0;
        if (run->c) {
            int rc = http_chunked_feed(run->c, in, &used, &res->e);
            res->used += used;
            in = str_sub(in, used, in.len);
            if (rc < 0 || rc == HTTP_DONE) {
                res->rc = rc;
                run->done = true;
            }
            continue;
        }
        int rc = http_reader_feed(run->r, in, &used, &res->e);
        res->used += used;
        if (rc == HTTP_DONE) {
            rc = http_reader_head(run->r, &res->arena, run->head_request, &res->head, &res->e);
            if (rc == 0 && res->head.body == HTTP_BODY_CHUNKED) {
                run->c = http_chunked_new(run->r, run->sink, &res->body);
            } else {
                run->done = true;
                res->rc = rc < 0 ? rc : HTTP_DONE;
            }
        } else if (rc < 0) {
            res->rc = rc;
            run->done = true;
        }
        in = str_sub(in, used, in.len);
    }
}

static void finish(struct run *run)
{
    run->res->status = http_reader_status(run->r);
    if (run->c && run->res->rc == HTTP_DONE)
        strbuf_add(&run->res->trailers, http_chunked_trailers(run->c));
    http_chunked_free(run->c);
    http_reader_free(run->r);
}

static struct result *result_new(void)
{
    struct result *res = mem_zalloc(sizeof *res);
    arena_init(&res->arena, 1u << 20);
    res->body = STRBUF(1u << 20);
    res->trailers = STRBUF(1u << 20);
    return res;
}

static void result_free(struct result *res)
{
    arena_fini(&res->arena);
    strbuf_fini(&res->body);
    strbuf_fini(&res->trailers);
    free(res);
}

/* Each cut < all.len splits the text there; step 1 feeds single bytes. Every piece is a heap block of its own
 * size, so that ASan sees a byte too far. */
static struct result *parse(enum http_kind kind, str all, size_t cut, size_t step, http_sink_fn *fn)
{
    struct result *res = result_new();
    struct run run = { .r = http_reader_new(kind, HEAD_MAX), .res = res, .sink = fn };
    size_t at = 0;
    while (at < all.len) {
        size_t n = at < cut && cut < all.len ? cut - at : step && step < all.len - at ? step : all.len - at;
        char *piece = malloc(n);
        memcpy(piece, all.ptr + at, n);
        feed(&run, str_n(piece, n));
        free(piece);
        at += n;
    }
    finish(&run);
    return res;
}

static void same_head(const struct http_head *a, const struct http_head *b)
{
    CHECK_STR(a->method, b->method);
    CHECK_STR(a->target, b->target);
    CHECK_STR(a->path, b->path);
    CHECK_STR(a->query, b->query);
    CHECK_INT(a->status, b->status);
    CHECK_STR(a->reason, b->reason);
    CHECK_INT(a->minor, b->minor);
    CHECK_INT(a->body, b->body);
    CHECK_UINT(a->length, b->length);
    CHECK_INT(a->keep_alive, b->keep_alive);
    CHECK_INT(a->upgrade, b->upgrade);
    CHECK_INT(a->expect_continue, b->expect_continue);
    CHECK_UINT(a->n_headers, b->n_headers);
    for (size_t i = 0; i < a->n_headers; i++) {
        CHECK_STR(a->headers[i].name, b->headers[i].name);
        CHECK_STR(a->headers[i].value, b->headers[i].value);
        CHECK_INT(a->headers[i].id, b->headers[i].id);
    }
}

static void same(const struct result *a, const struct result *b)
{
    CHECK_INT(a->rc, b->rc);
    CHECK_INT(a->status, b->status);
    if (a->rc < 0)
        return;
    CHECK_UINT(a->used, b->used);
    same_head(&a->head, &b->head);
    CHECK_STR(strbuf_str(&a->body), strbuf_str(&b->body));
    CHECK_STR(strbuf_str(&a->trailers), strbuf_str(&b->trailers));
}

static void pieces_do_not_matter(enum http_kind kind, str all)
{
    struct result *whole = parse(kind, all, all.len, 0, sink);
    for (size_t cut = 1; cut < all.len; cut++) {
        struct result *two = parse(kind, all, cut, 0, sink);
        same(whole, two);
        result_free(two);
    }
    struct result *bytes = parse(kind, all, all.len, 1, sink);
    same(whole, bytes);
    result_free(bytes);
    struct result *stops = parse(kind, all, all.len, 0, sink_and_stop);
    same(whole, stops);
    result_free(stops);
    stops = parse(kind, all, all.len, 3, sink_and_stop);
    same(whole, stops);
    result_free(stops);
    result_free(whole);
}

TEST(a_request_is_read_whole)
{
    str all = S("POST /v1/chat?a=1&b HTTP/1.1\r\nHost: x:80\r\nContent-Length: 12\r\nX-Y:  a\tb  \r\n"
                "Connection: close\r\nEmpty:\r\n\r\nhello");
    struct result *r = parse(HTTP_KIND_REQUEST, all, all.len, 0, sink);
    CHECK_INT(HTTP_DONE, r->rc);
    CHECK_STR("POST", r->head.method);
    CHECK_STR("/v1/chat?a=1&b", r->head.target);
    CHECK_STR("/v1/chat", r->head.path);
    CHECK_STR("a=1&b", r->head.query);
    CHECK_TRUE(r->head.has_query);
    CHECK_INT(HTTP_BODY_LENGTH, r->head.body);
    CHECK_UINT(12, r->head.length);
    CHECK_FALSE(r->head.keep_alive);
    CHECK_UINT(5, r->head.n_headers);
    CHECK_STR("a\tb", http_find_name(&r->head, S("x-y"))->value);
    CHECK_STR("", http_find_name(&r->head, S("empty"))->value);
    CHECK_UINT(all.len - 5, r->used);
    result_free(r);
}

TEST(any_token_is_a_method_and_a_target_may_hold_bytes_above_127)
{
    static const char *const methods[] = { "GET", "get", "BREW", "M-SEARCH", "X!#$%&'*+.^_`|~9", "PRI", "SOURCE", "Z" };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct strbuf b = STRBUF(4096);
        strbuf_addf(&b, "%s /\xc3\xbc/\xff?\xe2\x82\xac HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "2\r\nhi\r\n0\r\n\r\n", methods[i]);
        for (size_t piece = 0; piece < 3; piece++) {
            struct result *r = parse(HTTP_KIND_REQUEST, strbuf_str(&b), b.len, piece, sink);
            CHECK_INT(HTTP_DONE, r->rc);
            CHECK_STR(methods[i], r->head.method);
            CHECK_STR("/\xc3\xbc/\xff", r->head.path);
            CHECK_STR("\xe2\x82\xac", r->head.query);
            CHECK_STR("hi", strbuf_str(&r->body));
            CHECK_UINT(b.len, r->used);
            result_free(r);
        }
        strbuf_fini(&b);
    }
}

TEST(a_request_line_is_refused_at_its_first_bad_byte)
{
    static const struct {
        const char *line;
        int status;
    } t[] = {
        { "\x16", 400 },       { " ", 400 },          { "G\r", 400 },           { "GET  ", 400 },         { "GET\t", 400 },
        { "GET /\r", 400 },    { "GET /\x01", 400 }, { "GET / h", 400 },       { "GET / HTTP/x", 400 },  { "GET / HTTP/1.x", 400 },
        { "GET / HTTP/1.1 ", 400 }, { "GET / HTTP/1.11", 400 }, { "GET / HTTP/1.1\n", 400 }, { "GET / HTTP/1.1\r\r", 400 },
        { "GET / HTTP/1.\r", 400 }, { "GET / HTTP/\r", 400 }, { "GET / HTTP/1.2\r\n", 505 }, { "GET / HTTP/2.0\r\n", 505 },
        { "GET / HTTP/2\r\n", 505 }, { "GET / HTTP/0.9\r\n", 505 }, { "PRI * HTTP/2.0\r\n", 505 },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct http_reader *r = http_reader_new(HTTP_KIND_REQUEST, HEAD_MAX);
        struct error e = { 0 };
        size_t used, n = strlen(t[i].line);
        if (n > 1)
            CHECK_INT(HTTP_MORE, http_reader_feed(r, str_n(t[i].line, n - 1), &used, &e));
        CHECK_INT(ERR_PROTOCOL, http_reader_feed(r, str_n(t[i].line + n - 1, 1), &used, &e));
        CHECK_INT(t[i].status, http_reader_status(r));
        http_reader_free(r);
    }
}

TEST(an_absolute_form_is_cut_and_its_authority_wins)
{
    str all = S("GET http://real.example:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n");
    struct result *r = parse(HTTP_KIND_REQUEST, all, all.len, 0, sink);
    CHECK_INT(HTTP_DONE, r->rc);
    CHECK_STR("/p?q", r->head.target);
    CHECK_STR("/p", r->head.path);
    CHECK_STR("real.example:81", http_value(&r->head, HDR_HOST));
    result_free(r);
}

TEST(responses_are_framed_by_status_and_request)
{
    static const struct {
        const char *text;
        bool head;
        enum http_body body;
        uint64_t length;
        bool keep;
    } t[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_LENGTH, 5, true },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, HTTP_BODY_NONE, 5, true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_NONE, 5, true },
        { "HTTP/1.1 204 No Content\r\n\r\n", false, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 200 OK\r\n\r\n", false, HTTP_BODY_EOF, 0, false },
        { "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, HTTP_BODY_LENGTH, 0, true },
        { "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_LENGTH, 5, false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", false, HTTP_BODY_LENGTH, 5, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct result *res = result_new();
        struct run run = { .r = http_reader_new(HTTP_KIND_RESPONSE, HEAD_MAX), .res = res, .sink = sink,
                           .head_request = t[i].head };
        feed(&run, str_c(t[i].text));
        CHECK_INT(HTTP_DONE, res->rc);
        CHECK_INT(t[i].body, res->head.body);
        CHECK_UINT(t[i].length, res->head.length);
        CHECK_INT(t[i].keep, res->head.keep_alive);
        finish(&run);
        result_free(res);
    }
}

TEST(chunked_bodies_and_trailers)
{
    str all = S("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00A;x=\"y z\"\r\n"
                " worldwide\r\n0\r\nX-Sum: 12\r\nHost: evil\r\nContent-Length: 3\r\nX-Other:  b \r\n\r\nGET / HTTP/1.1");
    struct result *r = parse(HTTP_KIND_REQUEST, all, all.len, 0, sink);
    CHECK_INT(HTTP_DONE, r->rc);
    CHECK_STR("hello worldwide", strbuf_str(&r->body));
    CHECK_STR("X-Sum: 12\r\nX-Other: b\r\n", strbuf_str(&r->trailers));
    CHECK_UINT(all.len - 14, r->used);
    result_free(r);
}

TEST(pieces_do_not_matter_to_requests)
{
    static const char *const t[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET /x%20y?q=%zz HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t b\t\r\n\r\nGET",
        "GET / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://h/p HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\nx\r\n0\r\nA: b\r\n\r\nGET",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA : b\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        pieces_do_not_matter(HTTP_KIND_REQUEST, str_c(t[i]));
}

TEST(pieces_do_not_matter_to_responses)
{
    static const char *const t[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        "6\r\ndata: \r\n2\r\n\n\n\r\n0\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 404 Not \xc3\xbc Found\r\n\r\nuntil the end",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        pieces_do_not_matter(HTTP_KIND_RESPONSE, str_c(t[i]));
}

TEST(bad_responses_are_refused)
{
    static const char *const t[] = {
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX Y: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct result *r = parse(HTTP_KIND_RESPONSE, str_c(t[i]), SIZE_MAX, 0, sink);
        if (r->rc >= 0)
            spec_miss(__FILE__, __LINE__, "accepted: %s", t[i]);
        result_free(r);
    }
}

/* A head that never ends, in pieces of n bytes. */
static int endless(size_t n, size_t *ret_fed)
{
    struct http_reader *r = http_reader_new(HTTP_KIND_REQUEST, HEAD_MAX);
    struct error e;
    size_t used, fed = 0;
    char *fill = malloc(n);
    memset(fill, 'a', n);
    int rc = http_reader_feed(r, S("GET / HTTP/1.1\r\nHost: a\r\nX: "), &used, &e);
    while (rc == HTTP_MORE && fed < 4 * HEAD_MAX) {
        rc = http_reader_feed(r, str_n(fill, n), &used, &e);
        fed += n;
    }
    int status = http_reader_status(r);
    *ret_fed = fed;
    free(fill);
    http_reader_free(r);
    return rc < 0 ? status : 0;
}

TEST(large_heads_are_refused_at_the_limit)
{
    size_t fed;
    CHECK_INT(431, endless(1, &fed));
    CHECK_TRUE(fed <= HEAD_MAX);
    CHECK_INT(431, endless(1000, &fed));
    CHECK_INT(431, endless(2 * HEAD_MAX, &fed));

    struct strbuf b = STRBUF(1u << 20);
    strbuf_add(&b, S("GET / HTTP/1.1\r\nHost: a\r\n"));
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        strbuf_add(&b, S("A: b\r\n"));
    strbuf_add(&b, S("\r\n"));
    struct result *r = parse(HTTP_KIND_REQUEST, strbuf_str(&b), SIZE_MAX, 0, sink);
    CHECK_TRUE(r->rc < 0);
    CHECK_INT(431, r->status);
    result_free(r);
    strbuf_fini(&b);
}

TEST(a_head_of_exactly_the_limit_passes)
{
    struct strbuf b = STRBUF(1u << 20);
    strbuf_add(&b, S("GET / HTTP/1.1\r\nHost: a\r\nX: "));
    while (b.len < HEAD_MAX - 4)
        strbuf_addc(&b, 'a');
    strbuf_add(&b, S("\r\n\r\nbody that follows"));
    for (size_t step = 0; step < 3000; step += 997) {
        struct result *r = parse(HTTP_KIND_REQUEST, strbuf_str(&b), SIZE_MAX, step, sink);
        CHECK_INT(HTTP_DONE, r->rc);
        CHECK_UINT(HEAD_MAX, r->used);
        result_free(r);
    }
    strbuf_fini(&b);
}

TEST(endless_chunk_extensions_and_trailers_are_refused)
{
    static const char *const heads[] = { "1;", "0\r\nX: " };
    for (size_t i = 0; i < 2; i++) {
        struct strbuf b = STRBUF(1u << 20);
        strbuf_add(&b, S("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
        strbuf_add(&b, str_c(heads[i]));
        for (int k = 0; k < 40000; k++)
            strbuf_addc(&b, 'a');
        struct result *r = parse(HTTP_KIND_REQUEST, strbuf_str(&b), SIZE_MAX, 1000, sink);
        CHECK_TRUE(r->rc < 0);
        result_free(r);
        strbuf_fini(&b);
    }
}

TEST(nothing_is_left_over_between_messages)
{
    struct http_reader *r = http_reader_new(HTTP_KIND_REQUEST, HEAD_MAX);
    struct arena a;
    struct http_head h;
    struct error e;
    size_t used;
    arena_init(&a, 1u << 20);
    CHECK_INT(HTTP_DONE, http_reader_feed(r, S("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n"), &used, &e));
    CHECK_INT(0, http_reader_head(r, &a, false, &h, &e));
    http_reader_reset(r);
    CHECK_INT(HTTP_DONE, http_reader_feed(r, S("GET / HTTP/1.0\r\n\r\n"), &used, &e));
    CHECK_INT(0, http_reader_head(r, &a, false, &h, &e));
    CHECK_INT(HTTP_BODY_NONE, h.body);
    CHECK_UINT(0, h.length);
    CHECK_INT(0, h.minor);
    arena_fini(&a);
    http_reader_free(r);
}
