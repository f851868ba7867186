/* Streams, listeners, dialling, pool jobs. */
#include "io/dial.h"
#include "io/listen.h"
#include "io/timer.h"
#include "io/work.h"

#include "spec.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Runs the loop as long as cond holds; a loop with nothing left to do while it does ends the test. */
#define WHILE(l, cond)                                                                             \
    do {                                                                                           \
        while (cond)                                                                               \
            if (!io_loop_turn(l) && (cond))                                                        \
                spec_miss(__FILE__, __LINE__, "waits for nothing: %s", #cond);                     \
    } while (0)

struct end {
    struct io_stream *s;
    struct strbuf got;
    int eof, error, drained, closed, datas;
    struct end *sink; /* what is read is written there in three parts */
    bool stop;        /* turn reading off at the first data */
};

static void on_data(void *ud, str bytes)
{
    struct end *e = ud;
    e->datas++;
    strbuf_add(&e->got, bytes);
    if (e->stop)
        io_stream_read(e->s, false);
    if (e->sink) {
        str parts[3] = { S("<"), bytes, S(">") };
        io_stream_write(e->sink->s, parts, 3);
    }
}

static void on_eof(void *ud)
{
    ((struct end *)ud)->eof++;
}

static void on_error(void *ud, int sys)
{
    (void)sys;
    ((struct end *)ud)->error++;
}

static void on_drained(void *ud)
{
    ((struct end *)ud)->drained++;
}

static void on_closed(void *ud)
{
    ((struct end *)ud)->closed++;
}

static const struct io_stream_cb cb = { on_data, on_eof, on_error, on_drained, on_closed };

static void adopt(struct end *e, struct io_stream *s)
{
    *e = (struct end){ .s = s, .got = STRBUF(256u << 20) };
    io_stream_set_cb(s, &cb, e);
    io_stream_read(s, true);
}

static void pair(struct io_loop *l, struct end *a, struct end *b)
{
    int fd[2];
    CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
    adopt(a, io_stream_from_fd(l, fd[0], NULL));
    adopt(b, io_stream_from_fd(l, fd[1], NULL));
}

static void drop(struct io_loop *l, struct end *e)
{
    io_stream_close(e->s);
    WHILE(l, !e->closed);
    strbuf_fini(&e->got);
}

TEST(bytes_arrive_and_a_fin_is_an_eof)
{
    struct io_loop *l = io_loop_new();
    struct end a, b;
    pair(l, &a, &b);
    str parts[2] = { S("hello "), S("world") };
    io_stream_write(a.s, parts, 2);
    CHECK_UINT(0, io_stream_queued(a.s));
    io_stream_finish(a.s);
    WHILE(l, !b.eof);
    CHECK_STR("hello world", strbuf_str(&b.got));
    io_stream_write(b.s, parts, 1); /* the other way is still open */
    WHILE(l, !a.got.len);
    CHECK_STR("unix", io_stream_peer(a.s));
    drop(l, &a);
    drop(l, &b);
    io_loop_free(l);
}

TEST(what_the_kernel_does_not_take_is_kept_in_order)
{
    struct io_loop *l = io_loop_new();
    struct end a, b;
    pair(l, &a, &b);
    io_stream_read(b.s, false);
    struct strbuf want = STRBUF(64u << 20);
    static char block[100003];
    for (int i = 0; i < 40; i++) {
        memset(block, 'a' + i % 26, sizeof block);
        str parts[2] = { str_n(block, sizeof block), str_n(block, (size_t)i) };
        strbuf_add(&want, parts[0]);
        strbuf_add(&want, parts[1]);
        io_stream_write(a.s, parts, 2);
    }
    CHECK_TRUE(io_stream_queued(a.s) > 1 << 20);
    CHECK_INT(0, a.drained);
    io_stream_finish(a.s); /* only after the queue */
    io_stream_read(b.s, true);
    WHILE(l, !b.eof);
    CHECK_INT(1, a.drained);
    CHECK_STR(strbuf_str(&want), strbuf_str(&b.got));
    strbuf_fini(&want);
    drop(l, &a);
    drop(l, &b);
    io_loop_free(l);
}

TEST(borrowed_bytes_are_not_copied_and_drain_once)
{
    struct io_loop *l = io_loop_new();
    struct end a, b;
    pair(l, &a, &b);
    char *big = malloc(8u << 20);
    memset(big, 'x', 8u << 20);
    str part = str_n(big, 8u << 20);
    CHECK_FALSE(io_stream_write_borrowed(a.s, &part, 1));
    WHILE(l, !a.drained);
    CHECK_UINT(0, io_stream_queued(a.s));
    CHECK_TRUE(io_stream_write_borrowed(a.s, (str[]){ S("end") }, 1));
    /* Closing with borrowed bytes under way lets go of them at once. */
    io_stream_read(b.s, false);
    CHECK_FALSE(io_stream_write_borrowed(a.s, &part, 1));
    io_stream_close(a.s);
    free(big);
    drop(l, &a);
    drop(l, &b);
    io_loop_free(l);
}

TEST(writes_made_while_reading_are_gathered)
{
    struct io_loop *l = io_loop_new();
    struct end a, b, c, d;
    pair(l, &a, &b);
    pair(l, &c, &d);
    b.sink = &c;
    for (int i = 0; i < 100; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "%d,", i);
        io_stream_write(a.s, (str[]){ str_n(text, (size_t)n) }, 1);
    }
    WHILE(l, !d.got.len);
    CHECK_TRUE(str_starts(strbuf_str(&d.got), S("<0,1,")));
    CHECK_TRUE(str_ends(strbuf_str(&d.got), S("99,>")));
    /* A whole read buffer, more than the kernel takes, and large foreign parts in between. */
    static char block[1 << 20];
    memset(block, 'z', sizeof block);
    io_stream_write(a.s, (str[]){ str_n(block, sizeof block) }, 1);
    io_stream_write(a.s, (str[]){ S("!") }, 1);
    WHILE(l, !str_ends(strbuf_str(&d.got), S("!>")));
    CHECK_UINT(0, io_stream_queued(c.s));
    drop(l, &a);
    drop(l, &b);
    drop(l, &c);
    drop(l, &d);
    io_loop_free(l);
}

TEST(reading_can_be_turned_off_inside_data)
{
    struct io_loop *l = io_loop_new();
    struct end a, b;
    pair(l, &a, &b);
    b.stop = true;
    io_stream_write(a.s, (str[]){ S("one") }, 1);
    WHILE(l, !b.datas);
    io_stream_write(a.s, (str[]){ S("two") }, 1);
    io_stream_finish(a.s);
    struct io_timer *t = io_timer_new(l, "pause", on_drained, &a);
    io_timer_set(t, 10);
    WHILE(l, !a.drained);
    CHECK_INT(1, b.datas);
    CHECK_INT(0, b.eof);
    b.stop = false;
    io_stream_read(b.s, true);
    WHILE(l, !b.eof);
    CHECK_STR("onetwo", strbuf_str(&b.got));
    io_timer_free(t);
    drop(l, &a);
    drop(l, &b);
    io_loop_free(l);
}

TEST(a_write_to_a_closed_peer_is_an_error_told_later)
{
    struct io_loop *l = io_loop_new();
    struct end a, b;
    pair(l, &a, &b);
    io_stream_read(a.s, false);
    drop(l, &b);
    io_stream_write(a.s, (str[]){ S("x") }, 1);
    CHECK_INT(0, a.error);
    WHILE(l, !a.error);
    io_stream_write(a.s, (str[]){ S("y") }, 1); /* harmless */
    CHECK_INT(1, a.error);
    drop(l, &a);
    io_loop_free(l);
}

/* --- listening and dialling --- */

struct meeting {
    struct io_loop *l;
    struct io_stream *in[8], *out;
    int n, failed;
    struct error e;
};

static void on_accept(void *ud, struct io_stream *s)
{
    struct meeting *m = ud;
    m->in[m->n++] = s;
}

static void on_dial(void *ud, struct io_stream *s, const struct error *e)
{
    struct meeting *m = ud;
    m->out = s;
    if (!s) {
        m->failed++;
        m->e = *e;
    }
}

static void meet(const char *listen_at, const char *dial_to)
{
    struct meeting m = { .l = io_loop_new() };
    struct error e;
    struct io_listener *ls = io_listen(m.l, str_c(listen_at), on_accept, &m, &e);
    if (!ls)
        spec_miss(__FILE__, __LINE__, "%s", e.msg);
    io_dial(m.l, str_c(dial_to), io_listener_port(ls), 2000, 30, on_dial, &m);
    while (!m.out || !m.n) {
        if (m.failed || !io_loop_turn(m.l))
            spec_miss(__FILE__, __LINE__, "%s to %s: %s", dial_to, listen_at, m.e.msg);
    }
    CHECK_TRUE(io_stream_peer(m.in[0]).len > 0);
    io_stream_close(m.in[0]);
    io_stream_reset(m.out);
    io_listener_close(ls);
    io_listener_close(ls);
    io_loop_free(m.l);
}

TEST(listening_and_dialling_over_every_family)
{
    char path[] = "/tmp/luaswap-spec-XXXXXX", addr[64];
    meet("127.0.0.1:0", "127.0.0.1");
    meet("127.0.0.1:0", "localhost");
    meet(":0", "127.0.0.1");
    CHECK_TRUE(mkdtemp(path) != NULL);
    snprintf(addr, sizeof addr, "unix:%s/s", path);
    meet(addr, addr);
    meet(addr, addr); /* the file went with the listener */
    CHECK_INT(0, rmdir(path));
}

TEST(a_stale_socket_file_is_replaced_a_live_one_is_not)
{
    char path[] = "/tmp/luaswap-spec-XXXXXX", addr[64], file[64];
    CHECK_TRUE(mkdtemp(path) != NULL);
    snprintf(addr, sizeof addr, "unix:%s/s", path);
    snprintf(file, sizeof file, "%s/s", path);
    struct io_loop *l = io_loop_new();
    struct meeting m = { .l = l };
    struct error e;
    struct io_listener *one = io_listen(l, str_c(addr), on_accept, &m, &e);
    CHECK_TRUE(one != NULL);
    CHECK_NULL(io_listen(l, str_c(addr), on_accept, &m, &e));
    CHECK_TRUE(strstr(e.msg, file) != NULL);
    io_listener_close(one);
    io_loop_run(l);
    unlink(file);
    io_loop_free(l);
    CHECK_INT(0, rmdir(path));
}

TEST(bad_listen_addresses_are_named)
{
    static const char *const bad[] = { "", "8080", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "::1:80", "unix:",
                                       "fd:x", "fd:1000", "unix:/nonexistent/dir/s" };
    struct io_loop *l = io_loop_new();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error e = { 0 };
        CHECK_NULL(io_listen(l, str_c(bad[i]), on_accept, NULL, &e));
        CHECK_TRUE(e.code < 0 && e.msg[0]);
    }
    /* Somebody has the port already. */
    struct error e = { 0 };
    struct io_listener *ls = io_listen(l, S("127.0.0.1:0"), on_accept, NULL, &e);
    CHECK_TRUE(ls != NULL);
    CHECK_NULL(io_listen(l, io_listener_addr(ls), on_accept, NULL, &e));
    CHECK_TRUE(strstr(e.msg, "address already in use") || strstr(e.msg, "Address already in use"));
    io_listener_close(ls);
    io_loop_free(l);
}

TEST(an_inherited_descriptor_can_be_listened_on)
{
    struct meeting m = { .l = io_loop_new() };
    struct error e;
    struct io_listener *first = io_listen(m.l, S("127.0.0.1:0"), on_accept, &m, &e);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_TRUE(fd >= 0);
    CHECK_INT(0, listen(fd, 8)); /* binds to a free port of any address */
    char addr[16];
    snprintf(addr, sizeof addr, "fd:%d", fd);
    struct io_listener *ls = io_listen(m.l, str_c(addr), on_accept, &m, &e);
    if (!ls)
        spec_miss(__FILE__, __LINE__, "%s", e.msg);
    io_dial(m.l, S("127.0.0.1"), io_listener_port(ls), 0, 0, on_dial, &m);
    WHILE(m.l, !m.out || !m.n);
    io_stream_close(m.in[0]);
    io_stream_close(m.out);
    io_listener_close(ls);
    io_listener_close(first);
    io_loop_free(m.l);
}

TEST(a_paused_listener_leaves_connections_waiting)
{
    struct meeting m = { .l = io_loop_new() };
    struct error e;
    struct io_listener *ls = io_listen(m.l, S("127.0.0.1:0"), on_accept, &m, &e);
    io_listener_pause(ls, true);
    struct io_stream *out[3];
    for (int i = 0; i < 3; i++) {
        m.out = NULL;
        io_dial(m.l, S("127.0.0.1"), io_listener_port(ls), 0, 0, on_dial, &m);
        WHILE(m.l, !m.out);
        out[i] = m.out;
    }
    CHECK_INT(0, m.n);
    io_listener_pause(ls, false);
    WHILE(m.l, m.n < 3);
    for (int i = 0; i < 3; i++) {
        io_stream_close(out[i]);
        io_stream_close(m.in[i]);
    }
    io_listener_close(ls);
    io_loop_free(m.l);
}

TEST(a_dial_fails_later_or_is_cancelled)
{
    struct meeting m = { .l = io_loop_new() };
    io_dial(m.l, S("unix:/nonexistent/s"), 0, 0, 0, on_dial, &m);
    CHECK_INT(0, m.failed);
    WHILE(m.l, !m.failed);
    CHECK_INT(ERR_REFUSED, m.e.code);
    io_dial(m.l, S(""), 1, 0, 0, on_dial, &m);
    WHILE(m.l, m.failed < 2);
    io_dial(m.l, S("a..b"), 1, 5000, 0, on_dial, &m);
    WHILE(m.l, m.failed < 3);
    CHECK_INT(ERR_NOTFOUND, m.e.code);
    io_dial_cancel(io_dial(m.l, S("127.0.0.1"), 1, 5000, 0, on_dial, &m));
    io_dial_cancel(io_dial(m.l, S("a..b"), 1, 5000, 0, on_dial, &m));
    io_loop_run(m.l);
    CHECK_INT(3, m.failed);
    io_loop_free(m.l);
}

TEST(a_loop_may_end_while_a_name_is_looked_up)
{
    struct meeting m = { .l = io_loop_new() };
    io_dial_cancel(io_dial(m.l, S("a..b"), 1, 5000, 0, on_dial, &m));
    io_loop_free(m.l);
    CHECK_INT(0, m.failed);
}

/* --- pool jobs --- */

struct task {
    int ran, done;
};

static void run(void *ud)
{
    ((struct task *)ud)->ran++;
}

static void done(void *ud, bool cancelled)
{
    (void)cancelled;
    ((struct task *)ud)->done++;
}

TEST(a_pool_job_runs_and_is_done_on_the_loop)
{
    struct io_loop *l = io_loop_new();
    struct task t = { 0 };
    io_work_start(l, run, done, &t);
    CHECK_INT(0, t.done);
    io_loop_run(l);
    CHECK_INT(1, t.ran);
    CHECK_INT(1, t.done);
    io_loop_free(l);
}
