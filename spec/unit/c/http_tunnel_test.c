/* The raw relay, and an upgrade through server and client. */
#include "http/tunnel.h"

#include "http_rig.h"

#include <sys/socket.h>

struct ends {
    struct peer *left, *right;
    struct io_stream *a, *b;
    struct http_tunnel_stats st;
    bool done;
};

static void on_done(void *ud, const struct http_tunnel_stats *st)
{
    struct ends *e = ud;
    e->st = *st;
    e->done = true;
}

/* left <-> a ==tunnel== b <-> right, all socket pairs. */
static struct ends pairs(struct rig *r)
{
    int l[2], q[2];
    struct ends e = { 0 };
    CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, l));
    CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, q));
    e.left = peer_of(r, io_stream_from_fd(r->l, l[0], NULL));
    e.a = io_stream_from_fd(r->l, l[1], NULL);
    e.b = io_stream_from_fd(r->l, q[0], NULL);
    e.right = peer_of(r, io_stream_from_fd(r->l, q[1], NULL));
    return e;
}

TEST(bytes_flow_both_ways_and_half_closes_pass)
{
    struct rig *r = rig_new(NULL);
    struct ends e = pairs(r);
    http_tunnel_start(e.a, S("from left "), e.b, S("from right "), on_done, &e);
    peer_send(e.left, S("ping"));
    RIG_WAIT(r, GOT(e.right, "from left ping"));
    peer_send(e.right, S("pong"));
    RIG_WAIT(r, GOT(e.left, "from right pong"));
    io_stream_finish(e.left->io);
    RIG_WAIT(r, e.right->eof);
    peer_send(e.right, S(" still"));
    RIG_WAIT(r, GOT(e.left, "pong still"));
    CHECK_FALSE(e.done);
    io_stream_finish(e.right->io);
    RIG_WAIT(r, e.done);
    CHECK_TRUE(e.st.clean);
    CHECK_UINT(14, e.st.a_to_b);
    CHECK_UINT(21, e.st.b_to_a);
    peer_free(e.left);
    peer_free(e.right);
    rig_free(r);
}

TEST(a_slow_side_stops_the_other)
{
    struct rig *r = rig_new(NULL);
    struct ends e = pairs(r);
    static char block[1 << 20];
    http_tunnel_start(e.a, STR_NONE, e.b, STR_NONE, on_done, &e);
    io_stream_read(e.right->io, false);
    for (int i = 0; i < 8; i++)
        peer_send(e.left, str_n(block, sizeof block));
    RIG_PASS(r, 30);
    CHECK_TRUE(io_stream_queued(e.left->io) > 4 << 20);
    CHECK_TRUE(io_stream_queued(e.b) <= 16 * 1024 + IO_READ_SIZE);
    io_stream_read(e.right->io, true);
    RIG_WAIT(r, e.right->got.len == 8 << 20);
    peer_free(e.left);
    RIG_WAIT(r, e.right->eof);
    peer_free(e.right);
    RIG_WAIT(r, e.done);
    rig_free(r);
}

TEST(a_tunnel_can_be_cut)
{
    struct rig *r = rig_new(NULL);
    struct ends e = pairs(r);
    struct http_tunnel *t = http_tunnel_start(e.a, STR_NONE, e.b, STR_NONE, on_done, &e);
    http_tunnel_close(t);
    RIG_WAIT(r, e.done && e.left->eof && e.right->eof);
    CHECK_FALSE(e.st.clean);
    peer_free(e.left);
    peer_free(e.right);
    rig_free(r);
}

TEST(an_upgraded_request_leaves_http)
{
    struct rig *r = rig_new(NULL);
    struct peer *p = peer_new(r);
    int q[2];
    struct ends e = { 0 };
    peer_send(p, S("GET /hold HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly "));
    RIG_WAIT(r, r->held);
    CHECK_TRUE(http_req_head(r->held)->upgrade);
    struct strbuf *b = http_req_head_begin(r->held, 101, STR_NONE);
    http_head_add(b, S("Connection"), S("Upgrade"));
    http_head_add(b, S("Upgrade"), S("websocket"));
    http_req_head_end(r->held, HTTP_BODY_NONE, 0);
    CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, q));
    e.right = peer_of(r, io_stream_from_fd(r->l, q[1], NULL));
    str early;
    struct io_stream *io = http_req_upgrade(r->held, &early);
    CHECK_STR("early ", early);
    http_tunnel_start(io, early, io_stream_from_fd(r->l, q[0], NULL), S("hello"), on_done, &e);
    peer_send(p, S("more"));
    RIG_WAIT(r, GOT(e.right, "early more") && GOT(p, "\r\n\r\nhello"));
    CHECK_TRUE(GOT(p, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    CHECK_UINT(1, r->open);
    peer_free(e.right);
    io_stream_finish(p->io);
    RIG_WAIT(r, e.done);
    http_req_upgraded_end(r->held);
    RIG_WAIT(r, LOGGED(r, "end done") && http_server_conns(r->s) == 0);
    peer_free(p);
    rig_free(r);
}
