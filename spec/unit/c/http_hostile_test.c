/* Hostile requests against the real server over loopback: each gets its status and the connection ends; none is
 * read in two ways. `begins` is how many requests reached the handler. */
#include "http_rig.h"

struct hostile {
    const char *what;
    str bytes;
    int status; /* of the last answer; 0 = none */
    int begins;
};

#define H "Host: a\r\n"
#define POST "POST /echo HTTP/1.1\r\n" H
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define SNEAK "GET /evil HTTP/1.1\r\n" H "\r\n"

static const struct hostile table[] = {
    /* Content-Length and Transfer-Encoding */
    { "CL then TE", S(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SNEAK), 400, 0 },
    { "TE then CL", S(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SNEAK), 400, 0 },
    { "two equal CL", S(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), 400, 0 },
    { "two CL", S(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), 400, 0 },
    { "CL list", S(POST "Content-Length: 5, 5\r\n\r\nhello"), 400, 0 },
    { "CL with plus", S(POST "Content-Length: +5\r\n\r\nhello"), 400, 0 },
    { "CL negative", S(POST "Content-Length: -1\r\n\r\n"), 400, 0 },
    { "CL hex", S(POST "Content-Length: 0x5\r\n\r\nhello"), 400, 0 },
    { "CL with inner blank", S(POST "Content-Length: 5 5\r\n\r\nhello"), 400, 0 },
    { "CL empty", S(POST "Content-Length:\r\n\r\n"), 400, 0 },
    { "CL beyond 64 bits", S(POST "Content-Length: 18446744073709551617\r\n\r\nx"), 400, 0 },
    { "CL in a name with blank", S(POST "Content-Length : 5\r\n\r\nhello"), 400, 0 },
    { "TE gzip, chunked", S(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE chunked, gzip", S(POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE chunked twice", S(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE chunked, chunked", S(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE xchunked", S(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE identity", S(POST "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n"), 400, 0 },
    { "TE quoted", S(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE with vertical tab", S(POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE with parameter", S(POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE empty", S(POST "Transfer-Encoding:\r\n\r\n"), 400, 0 },
    { "TE in a name with blank", S(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE after a bare CR", S(POST "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE after an empty name and CR", S(POST "x:\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE in HTTP/1.0", S("POST /echo HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE folded", S(POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE under a NUL", S(POST "Transfer-Encoding: chun\0ked\r\n\r\n0\r\n\r\n"), 400, 0 },
    /* chunks */
    { "chunk size not hex", S(CHUNKED "g\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk size empty", S(CHUNKED "\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk size with 0x", S(CHUNKED "0x1\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk size negative", S(CHUNKED "-1\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk size beyond 64 bits", S(CHUNKED "10000000000000001\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk line ended by LF", S(CHUNKED "1\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk data longer than said", S(CHUNKED "1\r\nxy\r\n0\r\n\r\n"), 400, 1 },
    { "chunk data ended by LF", S(CHUNKED "1\r\nx\n0\r\n\r\n"), 400, 1 },
    { "chunk size before a blank", S(CHUNKED "1 \r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "trailer without a colon", S(CHUNKED "0\r\nnonsense\r\n\r\n"), 400, 1 },
    { "trailer ended by LF", S(CHUNKED "0\r\nA: b\n\r\n"), 400, 1 },
    { "trailer name with blank", S(CHUNKED "0\r\nA : b\r\n\r\n"), 400, 1 },
    { "chunk extension with bare LF", S(CHUNKED "1;a\nb\r\nx\r\n0\r\n\r\n"), 400, 1 },
    /* lines and names */
    { "line folding", S("GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"), 400, 0 },
    { "folded first line", S("GET / HTTP/1.1\r\n X: a\r\n" H "\r\n"), 400, 0 },
    { "LF only", S("GET / HTTP/1.1\nHost: a\n\n"), 400, 0 },
    { "bare LF in a value", S("GET / HTTP/1.1\r\n" H "X: a\nY: b\r\n\r\n"), 400, 0 },
    { "bare CR in a value", S("GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n"), 400, 0 },
    { "CR CR LF", S("GET / HTTP/1.1\r\n" H "X: a\r\r\n\r\n"), 400, 0 },
    { "NUL in a value", S("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"), 400, 0 },
    { "NUL in a name", S("GET / HTTP/1.1\r\n" H "X\0Y: a\r\n\r\n"), 400, 0 },
    { "control byte in a value", S("GET / HTTP/1.1\r\n" H "X: a\x01" "b\r\n\r\n"), 400, 0 },
    { "DEL in a value", S("GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n"), 400, 0 },
    { "blank in a name", S("GET / HTTP/1.1\r\n" H "X Y: a\r\n\r\n"), 400, 0 },
    { "blank before the colon", S("GET / HTTP/1.1\r\n" H "X : a\r\n\r\n"), 400, 0 },
    { "empty name", S("GET / HTTP/1.1\r\n" H ": a\r\n\r\n"), 400, 0 },
    { "no colon", S("GET / HTTP/1.1\r\n" H "XY\r\n\r\n"), 400, 0 },
    { "bytes above 127 in a name", S("GET / HTTP/1.1\r\n" H "X\xc3\xbc: a\r\n\r\n"), 400, 0 },
    { "separator in a name", S("GET / HTTP/1.1\r\n" H "X(Y): a\r\n\r\n"), 400, 0 },
    { "bare LF before the request", S("\nGET / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "many empty lines before it", S("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    /* Host */
    { "no Host", S("GET / HTTP/1.1\r\n\r\n"), 400, 0 },
    { "two Hosts", S("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400, 0 },
    { "two equal Hosts", S("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400, 0 },
    { "Host with a path", S("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400, 0 },
    { "Host with user info", S("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), 400, 0 },
    { "Host with a blank", S("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400, 0 },
    /* request line */
    { "HTTP/0.9", S("GET /\r\n\r\n"), 400, 0 },
    { "HTTP/2.0", S("GET / HTTP/2.0\r\n" H "\r\n"), 505, 0 },
    { "HTTP/1.2", S("GET / HTTP/1.2\r\n" H "\r\n"), 505, 0 },
    { "HTTP/3", S("GET / HTTP/3\r\n" H "\r\n"), 505, 0 },
    { "HTTP/1.10", S("GET / HTTP/1.10\r\n" H "\r\n"), 400, 0 },
    { "http/1.1 in lower case", S("GET / http/1.1\r\n" H "\r\n"), 400, 0 },
    { "the HTTP/2 preface", S("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, 0 },
    { "two blanks", S("GET  / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "blank in the target", S("GET /a b HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "tab for a blank", S("GET\t/ HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "blank at the end", S("GET / HTTP/1.1 \r\n" H "\r\n"), 400, 0 },
    { "method that is no token", S("GE(T / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "method with a byte above 127", S("G\xc3\x8bT / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "no method", S(" / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "CR in the method", S("GE\rT / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "NUL in the method", S("GE\0T / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "version without digits", S("GET / HTTP/x.y\r\n" H "\r\n"), 400, 0 },
    { "version cut short", S("GET / HTTP/1.\r\n" H "\r\n"), 400, 0 },
    { "version of another protocol", S("GET / ICY/1.1\r\n" H "\r\n"), 400, 0 },
    { "HTTP/0.9 spelled out", S("GET / HTTP/0.9\r\n" H "\r\n"), 505, 0 },
    { "request line ended by LF", S("GET / HTTP/1.1\n" H "\r\n"), 400, 0 },
    { "request line ended by CR", S("GET / HTTP/1.1\r" H "\r\n"), 400, 0 },
    { "CR CR LF after the request line", S("GET / HTTP/1.1\r\r\n" H "\r\n"), 400, 0 },
    { "two request lines", S("GET / HTTP/1.1\r\nGET / HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "CONNECT in origin form", S("CONNECT /upstream/a/hit HTTP/1.1\r\n" H "\r\n"), 405, 0 },
    { "connect in lower case", S("connect a:443 HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "absolute form with a query and no path", S("GET http://a?x HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "%00 behind a raw byte", S("GET /\xc3\xbc%00 HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "CONNECT", S("CONNECT a:443 HTTP/1.1\r\n" H "\r\n"), 405, 0 },
    { "authority form", S("GET a:80 HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "no slash", S("GET index.html HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "asterisk for GET", S("GET * HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "absolute form without a host", S("GET http:///x HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "absolute form with user info", S("GET http://u:p@a/ HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "fragment", S("GET /a#b HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "%00 in the path", S("GET /a%00b HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "bad escape in the path", S("GET /a%zz HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "cut escape in the path", S("GET /a%2 HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "NUL in the target", S("GET /a\0b HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "DEL in the target", S("GET /a\x7f HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "CR in the target", S("GET /a\rb HTTP/1.1\r\n" H "\r\n"), 400, 0 },
    { "TLS hello", S("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400, 0 },
    { "random text", S("hello there, is this a server?\r\n\r\n"), 400, 0 },
    { "a response", S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 400, 0 },
    /* the same ideas, other spellings */
    { "CL after a no-break space", S(POST "Content-Length: \xa0" "5\r\n\r\nhello"), 400, 0 },
    { "CL after a vertical tab", S(POST "Content-Length: \x0b" "5\r\n\r\nhello"), 400, 0 },
    { "CL with a comma behind it", S(POST "Content-Length: 5,\r\n\r\nhello"), 400, 0 },
    { "CL with a fraction", S(POST "Content-Length: 5.0\r\n\r\nhello"), 400, 0 },
    { "CL under a NUL", S(POST "Content-Length: 5\0\r\n\r\nhello"), 400, 0 },
    { "CL and TE identity", S(POST "Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello"), 400, 0 },
    { "CL and an empty TE", S(POST "Content-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello"), 400, 0 },
    { "TE after a no-break space", S(POST "Transfer-Encoding: \xa0" "chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE with a comma behind it", S(POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE with a comma before it", S(POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE chunked and identity", S(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE folded after a comma", S(POST "Transfer-Encoding: chunked,\r\n identity\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "TE in a name with tab", S(POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"), 400, 0 },
    { "chunk size with plus", S(CHUNKED "+1\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk size with underscore", S(CHUNKED "1_0\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk size after a blank", S(CHUNKED " 1\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk size under a NUL", S(CHUNKED "1\0\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk line ended by CR", S(CHUNKED "1\rx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk extension with bare CR", S(CHUNKED "1;a\rb\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk extension with a NUL", S(CHUNKED "1;a\0b\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "chunk data shorter than said", S(CHUNKED "5\r\nx\r\n0\r\n\r\n"), 400, 1 },
    { "last chunk ended by LF", S(CHUNKED "0\n\n"), 400, 1 },
    { "folded trailer", S(CHUNKED "0\r\nA: b\r\n c\r\n\r\n"), 400, 1 },
    { "trailer with a NUL", S(CHUNKED "0\r\nA: \0\r\n\r\n"), 400, 1 },
    { "header line that begins with a tab", S("GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n"), 400, 0 },
    { "tab before the colon", S("GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n"), 400, 0 },
    { "Host with a comma", S("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400, 0 },
    { "Host with a byte above 127", S("GET / HTTP/1.1\r\nHost: \xc3\xbc\r\n\r\n"), 400, 0 },
    { "Host and host", S("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"), 400, 0 },
    { "escape of another kind", S("GET /%u0041 HTTP/1.1\r\nHost: a\r\n\r\n"), 400, 0 },
    /* expectations, pipelining */
    { "unknown expectation", S(POST "Content-Length: 1\r\nExpect: 200-ok\r\n\r\nx"), 417, 0 },
    { "garbage after a request", S("GET /x HTTP/1.1\r\n" H "\r\nhello\r\n"), 400, 1 },
    { "garbage after a body", S(POST "Content-Length: 2\r\n\r\nhi" "junk / HTTP/1.1\r\n\r\n"), 400, 1 },
    { "a body on GET is not a request", S("GET /x HTTP/1.1\r\n" H "Content-Length: 31\r\nConnection: close\r\n\r\n" SNEAK), 200, 1 },
    { "an upgrade nobody took", S("GET /x HTTP/1.1\r\n" H "Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n" SNEAK), 200, 1 },
    { "smuggling after a chunked end", S(CHUNKED "0\r\n\r\nX\r\n\r\n"), 400, 1 },
};

static int begins(const struct rig *r)
{
    int n = 0;
    str rest = strbuf_str(&r->log);
    ptrdiff_t at;
    while ((at = str_find(rest, S("begin "))) >= 0) {
        n++;
        rest = str_sub(rest, (size_t)at + 6, rest.len);
    }
    return n;
}

static int last_status(const struct peer *p)
{
    int status = 0;
    str rest = strbuf_str(&p->got);
    ptrdiff_t at;
    while ((at = str_find(rest, S("HTTP/1.1 "))) >= 0) {
        rest = str_sub(rest, (size_t)at + 9, rest.len);
        uint64_t n = 0;
        if (str_to_u64(str_sub(rest, 0, 3), &n))
            status = (int)n;
    }
    return status;
}

/* step 0: in one piece. */
static void attack(const struct hostile *h, size_t step, struct strbuf *misses)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    if (step == 0) {
        peer_send(p, h->bytes);
    } else {
        for (size_t at = 0; at < h->bytes.len; at += step) {
            peer_send(p, str_sub(h->bytes, at, step));
            io_timer_set(r->deadline, 1); /* a connection that has ended gives no more events */
            io_loop_turn(r->l);
        }
    }
    r->late = false;
    io_timer_set(r->deadline, 5000);
    while (!p->eof && !p->failed && !r->late)
        io_loop_turn(r->l);
    io_timer_clear(r->deadline);
    /* Bytes sent after an answer that ends the connection may meet a reset. */
    bool ended = p->eof || (p->failed && step && h->status < 400);
    if (!ended || last_status(p) != h->status || begins(r) != h->begins)
        strbuf_addf(misses, "%s: eof %d, status %d for %d, %d requests for %d\n", h->what, p->eof, last_status(p),
                    h->status, begins(r), h->begins);
    CHECK_FALSE(LOGGED(r, "/evil"));
    if (h->status >= 400)
        CHECK_TRUE(GOT(p, "Connection: close\r\n"));
    peer_free(p);
    rig_free(r);
}

static void attack_all(size_t step)
{
    struct strbuf misses = STRBUF(1u << 16);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        attack(&table[i], step, &misses);
    CHECK_STR("", strbuf_str(&misses));
    strbuf_fini(&misses);
}

TEST(hostile_requests_get_their_status_and_the_connection_ends)
{
    CHECK_TRUE(ARRAY_LEN(table) >= 60);
    attack_all(0);
}

TEST(hostile_requests_in_pieces_get_the_same)
{
    attack_all(7);
}

TEST(endless_heads_are_cut_at_the_limit)
{
    static const char *const starts[] = { "GET /", "GET / HTTP/1.1\r\nHost: ", "GET / HTTP/1.1\r\nHost: a\r\nX: ",
                                          "GET / HTTP/1.1\r\nHost: a\r\nX" };
    static char block[100000];
    memset(block, 'a', sizeof block);
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct rig *r = rig_new(NULL);
        struct peer *p = peer_new(r);
        peer_send(p, str_c(starts[i]));
        peer_send(p, str_n(block, sizeof block));
        RIG_WAIT(r, p->eof);
        CHECK_INT(431, last_status(p));
        CHECK_INT(0, begins(r));
        peer_free(p);
        rig_free(r);
    }
}

TEST(a_head_of_too_many_lines_is_431)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    peer_send(p, S("GET / HTTP/1.1\r\nHost: a\r\n"));
    for (int i = 0; i < 1000; i++)
        peer_send(p, S("A: b\r\n"));
    peer_send(p, S("\r\n"));
    RIG_WAIT(r, p->eof);
    CHECK_INT(431, last_status(p));
    peer_free(p);
    rig_free(r);
}

TEST(half_closed_and_cut_heads_end_quietly)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    io_stream_finish(p->io);
    RIG_WAIT(r, p->eof);
    peer_free(p);
    p = peer_new(r);
    peer_send(p, S("GET / HT"));
    io_stream_finish(p->io);
    RIG_WAIT(r, p->eof);
    CHECK_UINT(0, p->got.len);
    peer_free(p);
    /* A refusal still reaches a client that has closed its half. */
    p = peer_new(r);
    peer_send(p, S("GARBAGE\r\n\r\n"));
    io_stream_finish(p->io);
    RIG_WAIT(r, p->eof);
    CHECK_INT(400, last_status(p));
    peer_free(p);
    p = peer_new(r);
    peer_send(p, S("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"));
    RIG_WAIT(r, LOGGED(r, "body 2"));
    io_stream_reset(p->io);
    RIG_WAIT(r, LOGGED(r, "end gone"));
    peer_free(p);
    rig_free(r);
}
