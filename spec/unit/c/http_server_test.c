/* The server side on real loopback sockets. */
#include "http_rig.h"

static size_t count(const struct peer *p, const char *text)
{
    size_t n = 0;
    str rest = strbuf_str(&p->got);
    ptrdiff_t at;
    while ((at = str_find(rest, str_c(text))) >= 0) {
        n++;
        rest = str_sub(rest, (size_t)at + strlen(text), rest.len);
    }
    return n;
}

TEST(an_answer_has_date_and_length_and_the_connection_stays)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    for (int i = 1; i <= 3; i++) {
        strbuf_clear(&p->got);
        peer_send(p, S("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"));
        RIG_WAIT(r, GOT(p, "\r\n\r\nok"));
        CHECK_TRUE(GOT(p, "HTTP/1.1 200 OK\r\n"));
        CHECK_TRUE(GOT(p, "Content-Length: 2\r\n"));
        CHECK_TRUE(GOT(p, "Date: "));
        CHECK_TRUE(GOT(p, " GMT\r\n"));
        CHECK_FALSE(GOT(p, "Connection:"));
    }
    CHECK_UINT(1, http_server_conns(r->s));
    peer_free(p);
    RIG_WAIT(r, http_server_conns(r->s) == 0);
    rig_free(r);
}

TEST(pipelined_requests_are_answered_in_order_one_at_a_time)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
                   "GET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\n"
                   "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n"
                   "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, p->eof);
    CHECK_UINT(4, count(p, "HTTP/1.1 200 OK"));
    CHECK_STR("begin POST /echo|body 3|end done|begin GET /x|end done|begin POST /echo|body 5|end done|"
              "begin GET /last|end done|",
              strbuf_str(&r->log));
    CHECK_TRUE(GOT(p, "Connection: close\r\n"));
    CHECK_TRUE(GOT(p, "\r\n\r\noneHTTP"));
    CHECK_TRUE(GOT(p, "\r\n\r\nthreeHTTP"));
    peer_free(p);
    rig_free(r);
}

TEST(a_request_may_come_byte_by_byte)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    str all = S("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    for (size_t i = 0; i < all.len; i++) {
        peer_send(p, str_sub(all, i, 1));
        io_loop_turn(r->l);
    }
    RIG_WAIT(r, GOT(p, "\r\n\r\nhello"));
    peer_free(p);
    rig_free(r);
}

TEST(a_chunked_body_streams_back_with_its_trailers)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"));
    RIG_WAIT(r, GOT(p, "3\r\nabc\r\n"));
    CHECK_TRUE(GOT(p, "Transfer-Encoding: chunked\r\n"));
    peer_send(p, S("2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"));
    RIG_WAIT(r, GOT(p, "2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"));
    peer_free(p);
    rig_free(r);
}

TEST(http_1_0_gets_no_chunks_and_a_close)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("POST /stream HTTP/1.0\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\nabcd"));
    RIG_WAIT(r, p->eof);
    CHECK_FALSE(GOT(p, "chunked"));
    CHECK_TRUE(GOT(p, "Connection: close\r\n"));
    CHECK_TRUE(GOT(p, "\r\n\r\nabcd"));
    peer_free(p);
    p = peer_new(r);
    peer_send(p, S("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    RIG_WAIT(r, GOT(p, "\r\n\r\nok"));
    CHECK_TRUE(GOT(p, "Connection: keep-alive\r\n"));
    peer_send(p, S("GET /x HTTP/1.0\r\n\r\n"));
    RIG_WAIT(r, p->eof);
    CHECK_UINT(2, count(p, "HTTP/1.1 200 OK"));
    peer_free(p);
    rig_free(r);
}

TEST(head_and_bodyless_statuses_send_no_body)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("HEAD /big/100 HTTP/1.1\r\nHost: a\r\n\r\nGET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    RIG_WAIT(r, GOT(p, "Content-Length: 100\r\n"));
    CHECK_TRUE(str_ends(strbuf_str(&p->got), S("\r\n\r\n")));
    strbuf_clear(&p->got);
    http_req_reply(r->held, 204, STR_NONE, STR_NONE);
    RIG_WAIT(r, GOT(p, "204 No Content"));
    CHECK_FALSE(GOT(p, "Content-Length"));
    strbuf_clear(&p->got);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    http_req_head_begin(r->held, 200, S("Fine"));
    http_req_head_end(r->held, HTTP_BODY_NONE, 0);
    http_req_finish(r->held);
    RIG_WAIT(r, GOT(p, "200 Fine\r\nContent-Length: 0\r\n"));
    peer_free(p);
    rig_free(r);
}

TEST(expect_100_continue_is_sent_when_the_body_is_wanted)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
    RIG_WAIT(r, GOT(p, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(p, S("hi"));
    RIG_WAIT(r, GOT(p, "\r\n\r\nhi"));
    peer_free(p);
    /* Not wanted: a final answer at once, and the connection ends, since nobody knows if the body comes. */
    p = peer_new(r);
    peer_send(p, S("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
    RIG_WAIT(r, p->eof);
    CHECK_FALSE(GOT(p, "100 Continue"));
    CHECK_TRUE(GOT(p, "Connection: close\r\n"));
    peer_free(p);
    rig_free(r);
}

TEST(an_early_answer_drops_a_small_rest_and_keeps_the_connection)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345"));
    RIG_WAIT(r, LOGGED(r, "end done"));
    peer_send(p, S("67890GET /x HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, GOT(p, "\r\n\r\nok"));
    peer_send(p, S("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                   "GET /y HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, LOGGED(r, "begin GET /y|end done"));
    peer_free(p);
    rig_free(r);
}

TEST(an_early_answer_to_a_large_upload_arrives_and_closes)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"));
    static char block[1 << 20];
    for (int i = 0; i < 4; i++)
        peer_send(p, str_n(block, sizeof block));
    RIG_WAIT(r, GOT(p, "\r\n\r\nearly") && p->eof);
    CHECK_TRUE(GOT(p, "Connection: close"));
    peer_free(p);
    rig_free(r);
}

TEST(a_client_that_leaves_is_noticed_at_once)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"));
    RIG_WAIT(r, r->held);
    peer_free(p);
    RIG_WAIT(r, LOGGED(r, "end gone") && !r->held);
    /* Also one that only closes its half, and one with pipelined bytes behind. */
    p = peer_new(r);
    strbuf_clear(&r->log);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    io_stream_finish(p->io);
    RIG_WAIT(r, LOGGED(r, "end gone"));
    RIG_WAIT(r, p->eof);
    peer_free(p);
    p = peer_new(r);
    strbuf_clear(&r->log);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    io_stream_reset(p->io);
    RIG_WAIT(r, LOGGED(r, "end gone"));
    peer_free(p);
    rig_free(r);
}

TEST(pipelined_bytes_are_buffered_only_up_to_a_bound)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    static char block[1 << 20];
    memset(block, '\n', sizeof block);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    for (int i = 0; i < 16; i++)
        peer_send(p, str_n(block, sizeof block));
    RIG_WAIT(r, r->held);
    /* The server stops reading: what it does not take stays with the sender. */
    RIG_PASS(r, 100);
    CHECK_TRUE(io_stream_queued(p->io) > 1 << 20);
    http_req_reply(r->held, 200, STR_NONE, S("x"));
    RIG_WAIT(r, GOT(p, "400 Bad Request")); /* the bare LFs */
    peer_free(p);
    rig_free(r);
}

TEST(a_slow_reader_does_not_grow_memory)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    io_stream_read(p->io, false);
    peer_send(p, S("GET /big/50000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->max_queued > 0);
    RIG_PASS(r, 50);
    CHECK_TRUE(r->max_queued <= 32 * 1024);
    CHECK_UINT(1, r->open);
    io_stream_read(p->io, true);
    RIG_WAIT(r, p->got.len > 50000000 && LOGGED(r, "end done"));
    CHECK_TRUE(r->max_queued <= 32 * 1024);
    peer_free(p);
    rig_free(r);
}

TEST(an_upload_is_read_only_as_fast_as_it_is_sent_on)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    static char block[1 << 20];
    r->drop_body_log = true;
    io_stream_read(p->io, false);
    peer_send(p, S("POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n"));
    for (int i = 0; i < 32; i++)
        peer_send(p, str_n(block, sizeof block));
    RIG_WAIT(r, r->max_queued > 16 * 1024);
    RIG_PASS(r, 50);
    CHECK_TRUE(r->max_queued <= 16 * 1024 + IO_READ_SIZE + 64);
    CHECK_TRUE(io_stream_queued(p->io) > 1 << 20);
    io_stream_read(p->io, true);
    RIG_WAIT(r, p->got.len > 33554432 && LOGGED(r, "end done"));
    CHECK_TRUE(r->max_queued <= 16 * 1024 + IO_READ_SIZE + 64);
    peer_free(p);
    rig_free(r);
}

TEST(an_abort_is_seen_as_a_cut)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    http_req_head_begin(r->held, 200, STR_NONE);
    http_req_head_end(r->held, HTTP_BODY_CHUNKED, 0);
    http_req_send(r->held, S("part"));
    http_req_abort(r->held);
    CHECK_TRUE(r->held != NULL);
    RIG_WAIT(r, p->failed && !r->held);
    CHECK_FALSE(p->eof);
    CHECK_TRUE(LOGGED(r, "end gone"));
    peer_free(p);
    /* Less than was promised is a cut as well. */
    p = peer_new(r);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    http_req_head_begin(r->held, 200, STR_NONE);
    http_req_head_end(r->held, HTTP_BODY_LENGTH, 10);
    http_req_send(r->held, S("part"));
    http_req_finish(r->held);
    RIG_WAIT(r, p->failed);
    peer_free(p);
    rig_free(r);
}

TEST(a_cut_answer_delivers_what_there_is_and_no_more)
{
    static const char *const asks[] = { "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n", "GET /hold HTTP/1.0\r\n\r\n" };
    struct rig *r = rig_new(NULL);
    for (int i = 0; i < 2; i++) {
        struct peer *p = peer_new(r);
        peer_send(p, str_c(asks[i]));
        RIG_WAIT(r, r->held);
        http_req_head_begin(r->held, 200, STR_NONE);
        http_req_head_end(r->held, HTTP_BODY_CHUNKED, 0);
        http_req_send(r->held, S("part"));
        http_req_cut(r->held);
        RIG_WAIT(r, p->eof || p->failed);
        CHECK_TRUE(GOT(p, "part"));
        CHECK_FALSE(GOT(p, "\r\n0\r\n"));
        /* Without chunks only a reset tells. */
        CHECK_INT(i == 1, p->failed);
        CHECK_TRUE(LOGGED(r, "end gone"));
        peer_free(p);
    }
    rig_free(r);
}

TEST(the_head_goes_out_alone_when_nothing_follows_in_the_turn)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    http_req_head_begin(r->held, 200, STR_NONE);
    http_req_head_end(r->held, HTTP_BODY_CHUNKED, 0);
    RIG_WAIT(r, GOT(p, "chunked\r\n") && GOT(p, "\r\n\r\n"));
    http_req_send(r->held, S("x"));
    http_req_finish(r->held);
    RIG_WAIT(r, GOT(p, "1\r\nx\r\n0\r\n\r\n"));
    peer_free(p);
    rig_free(r);
}

TEST(the_head_waits_for_the_first_bytes_or_a_flush)
{
    struct rig *r = rig_new(NULL);
    struct peer *a = peer_new(r), *b = peer_new(r);
    peer_send(a, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    struct http_req *ra = r->held;
    peer_send(b, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held != ra);
    struct http_req *rb = r->held;
    /* Two heads waiting at the same time do not disturb each other. */
    http_head_add(http_req_head_begin(ra, 200, STR_NONE), S("X"), S("a"));
    http_req_head_end(ra, HTTP_BODY_CHUNKED, 0);
    http_head_add(http_req_head_begin(rb, 201, STR_NONE), S("X"), S("b"));
    http_req_head_end(rb, HTTP_BODY_LENGTH, 1);
    CHECK_TRUE(http_req_started(ra));
    http_req_flush(ra);
    http_req_send(rb, S("1"));
    http_req_finish(rb);
    RIG_WAIT(r, GOT(a, "X: a\r\n") && GOT(b, "X: b\r\n") && GOT(b, "\r\n\r\n1"));
    CHECK_TRUE(GOT(a, "HTTP/1.1 200 OK") && GOT(b, "HTTP/1.1 201 Created"));
    http_req_finish(ra);
    RIG_WAIT(r, GOT(a, "\r\n\r\n0\r\n\r\n"));
    peer_free(a);
    peer_free(b);
    rig_free(r);
}

TEST(slow_heads_and_idle_connections_time_out)
{
    struct http_server_conf conf = { .head_max = 4096, .head_timeout_ms = 30, .idle_timeout_ms = 60, .arena_max = 1u << 20 };
    struct rig *r = rig_new(&conf);
    struct peer *slow = peer_new(r), *idle = peer_new(r);
    peer_send(slow, S("GET / HTTP/1.1\r\nHo"));
    RIG_WAIT(r, GOT(slow, "408 Request Timeout") && slow->eof);
    RIG_WAIT(r, idle->eof);
    CHECK_UINT(0, idle->got.len);
    peer_free(slow);
    peer_free(idle);
    rig_free(r);
}

TEST(heads_above_the_limit_get_431)
{
    struct http_server_conf conf = { .head_max = 1024, .arena_max = 1u << 20 };
    struct rig *r = rig_new(&conf);
    struct peer *p = peer_new(r);
    static char fill[2000];
    memset(fill, 'a', sizeof fill);
    peer_send(p, S("GET / HTTP/1.1\r\nHost: a\r\nX: "));
    peer_send(p, str_n(fill, sizeof fill));
    RIG_WAIT(r, GOT(p, "431 Request Header Fields Too Large") && p->eof);
    peer_free(p);
    rig_free(r);
}

TEST(accepting_pauses_at_the_connection_limit)
{
    struct http_server_conf conf = { .head_max = 4096, .conns_max = 2, .arena_max = 1u << 20 };
    struct rig *r = rig_new(&conf);
    struct peer *p[4];
    for (int i = 0; i < 4; i++)
        p[i] = peer_new(r);
    for (int i = 0; i < 4; i++)
        peer_send(p[i], S("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, GOT(p[0], "ok") && GOT(p[1], "ok"));
    CHECK_UINT(2, http_server_conns(r->s));
    CHECK_UINT(0, p[2]->got.len);
    peer_free(p[0]);
    peer_free(p[1]);
    RIG_WAIT(r, GOT(p[2], "ok") && GOT(p[3], "ok"));
    peer_free(p[2]);
    peer_free(p[3]);
    rig_free(r);
}

TEST(a_drain_ends_idle_connections_and_lets_requests_finish)
{
    struct rig *r = rig_new(NULL);
    struct peer *idle = peer_new(r), *busy = peer_new(r);
    peer_send(idle, S("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"));
    peer_send(busy, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held && GOT(idle, "ok"));
    http_server_drain(r->s);
    RIG_WAIT(r, idle->eof);
    CHECK_FALSE(busy->eof);
    http_req_reply(r->held, 200, STR_NONE, S("late"));
    RIG_WAIT(r, GOT(busy, "late") && busy->eof);
    CHECK_TRUE(GOT(busy, "Connection: close\r\n"));
    peer_free(idle);
    peer_free(busy);
    rig_free(r);
}

TEST(closing_the_server_ends_open_requests)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    struct strbuf *log = &r->log;
    http_server_close(r->s, NULL, NULL);
    RIG_WAIT(r, str_find(strbuf_str(log), S("end gone")) >= 0 && http_server_conns(r->s) == 0);
    peer_free(p);
    http_server_free(r->s);
    io_timer_free(r->deadline);
    io_loop_free(r->l);
    strbuf_fini(&r->log);
    free(r);
}

TEST(interim_answers_come_before_the_final_one)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    http_req_interim(r->held, 103, S("Link: </a>\r\n"));
    http_req_reply(r->held, 200, STR_NONE, S("z"));
    RIG_WAIT(r, GOT(p, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"));
    peer_free(p);
    rig_free(r);
}

TEST(a_broken_chunked_body_is_400_and_the_request_ends)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX"));
    RIG_WAIT(r, GOT(p, "400 Bad Request") && p->eof);
    CHECK_TRUE(LOGGED(r, "body 5|end gone"));
    peer_free(p);
    rig_free(r);
}

TEST(the_date_given_by_the_handler_stays)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    RIG_WAIT(r, r->held);
    http_head_add(http_req_head_begin(r->held, 200, STR_NONE), S("DATE"), S("mine"));
    http_req_head_end(r->held, HTTP_BODY_NONE, 0);
    http_req_finish(r->held);
    RIG_WAIT(r, GOT(p, "\r\n\r\n"));
    CHECK_UINT(1, count(p, "DATE: mine"));
    CHECK_UINT(0, count(p, "Date:"));
    CHECK_STR("127.0.0.1", io_stream_peer(p->io));
    peer_free(p);
    rig_free(r);
}
