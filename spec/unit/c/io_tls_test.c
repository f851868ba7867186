/* TLS under io_stream: the same promises as without it (io_stream_test.c), over both of its ends. */
#include "base/rand.h"
#include "io/dial.h"
#include "io/listen.h"
#include "io/timer.h"

#include "spec.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WHILE(l, cond)                                                                             \
    do {                                                                                           \
        while (cond)                                                                               \
            if (!io_loop_turn(l) && (cond))                                                        \
                spec_miss(__FILE__, __LINE__, "waits for nothing: %s", #cond);                     \
    } while (0)

struct end {
    struct io_stream *s;
    struct strbuf got;
    int eof, error, drained, closed, secured;
    struct error why;
    bool busy;   /* inside an io_stream_* call: no callback may come */
    bool toggle; /* reading goes off after each piece of data */
    bool lent;   /* borrowed bytes are out */
};

struct rig {
    struct io_loop *l;
    struct io_tls_server *tls;
    char dir[64], cert[96], key[96];
    struct end client, server;
};

static void on_data(void *ud, str bytes)
{
    struct end *e = ud;
    CHECK_FALSE(e->busy || e->eof || e->closed);
    strbuf_add(&e->got, bytes);
    if (e->toggle)
        io_stream_read(e->s, false);
}

static void on_eof(void *ud)
{
    struct end *e = ud;
    CHECK_FALSE(e->busy);
    e->eof++;
}

static void on_error(void *ud, int sys)
{
    struct end *e = ud;
    CHECK_FALSE(e->busy);
    e->error = sys;
}

static void on_drained(void *ud)
{
    struct end *e = ud;
    CHECK_FALSE(e->busy);
    CHECK_UINT(0, io_stream_queued(e->s));
    e->lent = false;
    e->drained++;
}

static void on_closed(void *ud)
{
    ((struct end *)ud)->closed++;
}

static void on_secured(void *ud, const struct error *err)
{
    struct end *e = ud;
    e->secured++;
    if (err)
        e->why = *err;
}

static const struct io_stream_cb cb = { on_data, on_eof, on_error, on_drained, on_closed };

static void extend(X509 *x, int nid, const char *value)
{
    X509V3_CTX c;
    X509V3_set_ctx_nodb(&c);
    X509V3_set_ctx(&c, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* A certificate that is its own authority. */
static void make_cert(struct rig *r)
{
    EVP_PKEY *pk = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, pk);
    extend(x, NID_subject_alt_name, "DNS:localhost,DNS:*.example.org,IP:127.0.0.1,IP:::1");
    X509_sign(x, pk, EVP_sha256());
    FILE *c = fopen(r->cert, "w"), *k = fopen(r->key, "w");
    CHECK_TRUE(c && k && PEM_write_X509(c, x) && PEM_write_PrivateKey(k, pk, NULL, NULL, 0, NULL, NULL));
    fclose(c);
    fclose(k);
    X509_free(x);
    EVP_PKEY_free(pk);
}

static void rig_init(struct rig *r)
{
    struct error e = { 0 };
    *r = (struct rig){ .l = io_loop_new() };
    snprintf(r->dir, sizeof r->dir, "/tmp/luaswap-tls-XXXXXX");
    CHECK_TRUE(mkdtemp(r->dir) != NULL);
    snprintf(r->cert, sizeof r->cert, "%s/cert", r->dir);
    snprintf(r->key, sizeof r->key, "%s/key", r->dir);
    make_cert(r);
    setenv("SSL_CERT_FILE", r->cert, 1);
    r->tls = io_tls_server_new(r->cert, r->key, &e);
    CHECK_STR("", e.msg);
}

static void adopt(struct end *e, struct io_stream *s)
{
    *e = (struct end){ .s = s, .got = STRBUF(256u << 20) };
    io_stream_set_cb(s, &cb, e);
}

/* Two connected ends; no step of the handshake was made yet. */
static void join(struct rig *r, const char *host, int domain)
{
    int fd[2];
    CHECK_INT(0, socketpair(domain, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
    adopt(&r->client, io_stream_from_fd(r->l, fd[0], NULL));
    adopt(&r->server, io_stream_from_fd(r->l, fd[1], NULL));
    io_stream_tls_accept(r->server.s, r->tls, 5000);
    io_stream_tls_connect(r->client.s, str_c(host), 5000, on_secured, &r->client);
    io_stream_read(r->client.s, true);
    io_stream_read(r->server.s, true);
}

static void part(struct rig *r)
{
    if (!r->client.closed)
        io_stream_close(r->client.s);
    if (!r->server.closed)
        io_stream_close(r->server.s);
    WHILE(r->l, !r->client.closed || !r->server.closed);
    strbuf_fini(&r->client.got);
    strbuf_fini(&r->server.got);
}

static void rig_fini(struct rig *r)
{
    io_tls_server_free(r->tls);
    io_loop_free(r->l);
    unlink(r->cert);
    unlink(r->key);
    rmdir(r->dir);
    unsetenv("SSL_CERT_FILE");
}

TEST(tls_carries_bytes_and_a_finish_is_an_eof)
{
    struct rig r;
    rig_init(&r);
    join(&r, "localhost", AF_UNIX);
    str parts[2] = { S("hello "), S("world") };
    io_stream_write(r.client.s, parts, 2); /* waits for the handshake */
    CHECK_UINT(11, io_stream_queued(r.client.s));
    io_stream_finish(r.client.s);
    WHILE(r.l, !r.server.eof);
    CHECK_STR("hello world", strbuf_str(&r.server.got));
    CHECK_INT(1, r.client.secured);
    CHECK_INT(1, r.client.drained);
    io_stream_write(r.server.s, parts, 1); /* the other way is still open */
    WHILE(r.l, !r.client.got.len);
    CHECK_INT(0, r.client.error);
    part(&r);
    rig_fini(&r);
}

TEST(tls_checks_names_and_addresses)
{
    static const struct {
        const char *host, *why;
    } cases[] = {
        { "localhost", "" },
        { "127.0.0.1", "" },
        { "::1", "" },
        { "a.example.org", "" },
        { "example.org", "certificate of host example.org is not trusted: hostname mismatch" },
        { "a.b.example.org", "certificate of host a.b.example.org is not trusted: hostname mismatch" },
        { "127.0.0.2", "certificate of host 127.0.0.2 is not trusted: IP address mismatch" },
        { "test", "certificate of host test is not trusted: hostname mismatch" }, /* the subject counts for nothing */
    };
    struct rig r;
    rig_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        join(&r, cases[i].host, AF_UNIX);
        WHILE(r.l, !r.client.secured);
        CHECK_STR(cases[i].why, r.client.why.msg);
        if (cases[i].why[0])
            WHILE(r.l, !r.server.error); /* the alert */
        CHECK_INT(1, r.client.secured);
        part(&r);
    }
    rig_fini(&r);
}

TEST(tls_end_without_close_notify_is_an_error)
{
    struct rig r;
    rig_init(&r);
    int fd[2];
    CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
    adopt(&r.client, io_stream_from_fd(r.l, fd[0], NULL));
    adopt(&r.server, io_stream_from_fd(r.l, fd[1], NULL));
    io_stream_tls_accept(r.server.s, r.tls, 0);
    io_stream_tls_connect(r.client.s, S("localhost"), 0, on_secured, &r.client);
    io_stream_read(r.client.s, true);
    io_stream_read(r.server.s, true);
    str a = S("part");
    io_stream_write(r.server.s, &a, 1);
    WHILE(r.l, r.client.got.len < 4);
    shutdown(fd[1], SHUT_WR); /* the bare end of the connection */
    WHILE(r.l, !r.client.error);
    CHECK_INT(0, r.client.eof);
    CHECK_INT(-ECONNRESET, r.client.error);
    part(&r);
    rig_fini(&r);
}

TEST(tls_reset_is_an_error_and_close_an_eof)
{
    struct rig r;
    rig_init(&r);
    for (int round = 0; round < 2; round++) {
        struct io_loop *l = r.l;
        join(&r, "localhost", AF_UNIX);
        WHILE(l, !r.client.secured);
        str a = S("x");
        io_stream_write(r.client.s, &a, 1);
        WHILE(l, !r.server.got.len);
        if (round == 0)
            io_stream_close(r.server.s);
        else
            io_stream_reset(r.server.s);
        WHILE(l, !r.client.eof && !r.client.error);
        CHECK_INT(round == 0, r.client.eof);
        CHECK_INT(round == 1, r.client.error != 0);
        part(&r);
    }
    rig_fini(&r);
}

TEST(tls_handshake_has_a_time_limit)
{
    struct rig r;
    rig_init(&r);
    int fd[2];
    CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
    adopt(&r.client, io_stream_from_fd(r.l, fd[0], NULL));
    adopt(&r.server, io_stream_from_fd(r.l, dup(fd[0]), NULL));
    io_stream_close(r.server.s);
    io_stream_tls_connect(r.client.s, S("localhost"), 20, on_secured, &r.client);
    WHILE(r.l, !r.client.secured);
    CHECK_STR("timed out in the TLS handshake with host localhost", r.client.why.msg);
    CHECK_INT(ERR_TIMEOUT, r.client.why.code);
    part(&r);
    adopt(&r.client, io_stream_from_fd(r.l, fd[1], NULL));
    int other[2];
    CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other));
    adopt(&r.server, io_stream_from_fd(r.l, other[0], NULL));
    io_stream_tls_accept(r.server.s, r.tls, 20);
    io_stream_read(r.server.s, true);
    WHILE(r.l, !r.server.error);
    CHECK_INT(-ETIMEDOUT, r.server.error);
    part(&r);
    close(other[1]);
    rig_fini(&r);
}

TEST(tls_noise_is_refused)
{
    struct rig r;
    struct rand_state rnd;
    rig_init(&r);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        char noise[700];
        int fd[2];
        rand_seed(&rnd, seed);
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (char)rand_u64(&rnd);
        if (seed % 2) { /* begins as a record does */
            noise[0] = 22;
            noise[1] = 3;
            noise[2] = (char)rand_below(&rnd, 4);
            noise[3] = (char)rand_below(&rnd, 3);
        }
        CHECK_INT(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
        struct end *e = seed % 4 < 2 ? &r.client : &r.server;
        adopt(e, io_stream_from_fd(r.l, fd[0], NULL));
        if (e == &r.client)
            io_stream_tls_connect(e->s, S("localhost"), 0, on_secured, e);
        else
            io_stream_tls_accept(e->s, r.tls, 0);
        io_stream_read(e->s, true);
        CHECK_INT(sizeof noise, write(fd[1], noise, sizeof noise));
        shutdown(fd[1], SHUT_WR);
        WHILE(r.l, !e->error && !e->why.msg[0]);
        io_stream_close(e->s);
        WHILE(r.l, !e->closed);
        strbuf_fini(&e->got);
        close(fd[1]);
    }
    rig_fini(&r);
}

/* A certificate that cannot be used changes nothing. */
TEST(tls_server_reload_keeps_the_old_pair)
{
    struct rig r;
    struct error e = { 0 };
    rig_init(&r);
    FILE *f = fopen(r.cert, "w");
    fputs("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", f);
    fclose(f);
    CHECK_TRUE(io_tls_server_reload(r.tls, &e) < 0);
    CHECK_TRUE(strstr(e.msg, "certificate file ") != NULL);
    CHECK_NULL(io_tls_server_new("/nonexistent", r.key, &e));
    CHECK_STR("certificate file /nonexistent: No such file or directory", e.msg);
    join(&r, "localhost", AF_UNIX);
    WHILE(r.l, !r.client.secured);
    /* the authority file was overwritten too: the client has nothing to trust, but it did get a certificate */
    CHECK_TRUE(strstr(r.client.why.msg, "is not trusted") != NULL);
    part(&r);
    rig_fini(&r);
}

static void nothing(void *ud)
{
    (void)ud;
}

/* A turn that does not wait. */
static void poll_once(struct io_loop *l)
{
    struct io_call c;
    io_call_init(&c, nothing, NULL);
    io_call_post(l, &c);
    io_loop_turn(l);
    io_call_cancel(&c);
}

static struct io_stream *accepted;
static void on_accept(void *ud, struct io_stream *s)
{
    (void)ud;
    accepted = s;
}

struct dialled {
    struct io_stream *s;
    struct error e;
    int n;
};

static void on_dialled(void *ud, struct io_stream *s, const struct error *e)
{
    struct dialled *d = ud;
    d->s = s;
    d->n++;
    if (e)
        d->e = *e;
}

TEST(tls_dial_gives_a_secured_stream_or_says_why_not)
{
    struct rig r;
    struct error e = { 0 };
    rig_init(&r);
    struct io_listener *ls = io_listen(r.l, S("127.0.0.1:0"), on_accept, NULL, &e);
    for (int round = 0; round < 4; round++) {
        struct dialled d = { 0 };
        accepted = NULL;
        struct io_dial *dial = io_dial(r.l, S("localhost"), io_listener_port(ls), 5000, 30, on_dialled, &d);
        io_dial_secure(dial, round == 1 ? 20 : 5000);
        WHILE(r.l, !accepted);
        adopt(&r.server, accepted);
        if (round == 0) {
            io_stream_tls_accept(r.server.s, r.tls, 0);
            io_stream_read(r.server.s, true);
            WHILE(r.l, !d.n);
            CHECK_TRUE(d.s != NULL);
            adopt(&r.client, d.s);
            part(&r);
            continue;
        }
        if (round == 2)
            io_stream_close(r.server.s);
        if (round == 3) { /* given up in the middle of the handshake */
            poll_once(r.l);
            poll_once(r.l);
            io_dial_cancel(dial);
        } else {
            WHILE(r.l, !d.n);
            CHECK_NULL(d.s);
            CHECK_INT(round == 1 ? ERR_TIMEOUT : ERR_CLOSED, d.e.code);
        }
        if (!r.server.closed)
            io_stream_close(r.server.s);
        WHILE(r.l, !r.server.closed);
        strbuf_fini(&r.server.got);
    }
    io_listener_close(ls);
    rig_fini(&r);
}

/* --- both ends at random: whatever is written arrives, in order, whole --- */

struct sent {
    struct strbuf all;
    char *lent;
    bool fin;
};

static void write_some(struct end *e, struct sent *w, struct rand_state *rnd)
{
    static char block[70000];
    size_t n = rand_below(rnd, 4) == 0 ? rand_below(rnd, sizeof block) : rand_below(rnd, 200);
    for (size_t i = 0; i < n; i++)
        block[i] = (char)('a' + (w->all.len + i) % 23);
    str parts[3];
    size_t a = rand_below(rnd, n + 1), b = a + rand_below(rnd, n - a + 1);
    parts[0] = str_n(block, a);
    parts[1] = str_n(block + a, b - a);
    parts[2] = str_n(block + b, n - b);
    e->busy = true;
    if (io_stream_queued(e->s) == 0 && !e->lent && rand_below(rnd, 3) == 0) {
        free(w->lent);
        w->lent = mem_resize(NULL, n + 1, 1);
        memcpy(w->lent, block, n);
        for (int i = 0; i < 3; i++)
            parts[i].ptr = w->lent + (parts[i].ptr - block);
        e->lent = !io_stream_write_borrowed(e->s, parts, 3);
    } else {
        io_stream_write(e->s, parts, 3);
    }
    e->busy = false;
    strbuf_add(&w->all, str_n(block, n));
}

TEST(tls_random_conversations_arrive_whole)
{
    struct rig r;
    rig_init(&r);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rand_state rnd;
        rand_seed(&rnd, seed);
        join(&r, "localhost", AF_UNIX);
        struct end *ends[2] = { &r.client, &r.server };
        struct sent sent[2] = { { .all = STRBUF(64u << 20) }, { .all = STRBUF(64u << 20) } };
        for (int i = 0; i < 2; i++)
            ends[i]->toggle = rand_below(&rnd, 2) == 0;
        for (int step = 0; step < 150; step++) {
            int i = (int)rand_below(&rnd, 2);
            switch (rand_below(&rnd, 5)) {
            case 0:
            case 1:
                if (io_stream_queued(ends[i]->s) < 300000)
                    write_some(ends[i], &sent[i], &rnd);
                break;
            case 2:
                ends[i]->busy = true;
                io_stream_read(ends[i]->s, rand_below(&rnd, 2) == 0);
                ends[i]->busy = false;
                break;
            default:
                poll_once(r.l);
            }
        }
        for (int i = 0; i < 2; i++) {
            ends[i]->toggle = false;
            ends[i]->busy = true;
            io_stream_finish(ends[i]->s);
            io_stream_read(ends[i]->s, true);
            ends[i]->busy = false;
        }
        WHILE(r.l, (!ends[0]->eof && !ends[0]->error) || (!ends[1]->eof && !ends[1]->error));
        for (int i = 0; i < 2; i++) {
            struct strbuf *got = &ends[1 - i]->got;
            if (ends[i]->error || got->len != sent[i].all.len || (got->len && memcmp(got->ptr, sent[i].all.ptr, got->len) != 0))
                spec_miss(__FILE__, __LINE__, "seed %d: error %d, %zu bytes of %zu", (int)seed, ends[i]->error, got->len,
                          sent[i].all.len);
        }
        part(&r);
        for (int i = 0; i < 2; i++) {
            strbuf_fini(&sent[i].all);
            free(sent[i].lent);
        }
    }
    rig_fini(&r);
}

/* A large body that is only lent is encrypted as it goes: memory stays small. */
TEST(tls_borrowed_bytes_are_not_copied_ahead)
{
    struct rig r;
    rig_init(&r);
    join(&r, "localhost", AF_UNIX);
    WHILE(r.l, !r.client.secured);
    size_t n = 24u << 20;
    char *big = mem_resize(NULL, n, 1);
    memset(big, 'b', n);
    str parts[2] = { S("head"), str_n(big, n) };
    io_stream_read(r.server.s, false);
    CHECK_FALSE(io_stream_write_borrowed(r.client.s, parts, 2));
    size_t queued = io_stream_queued(r.client.s);
    CHECK_TRUE(queued > n - (4u << 20) && queued < n + (1u << 20));
    io_stream_read(r.server.s, true);
    WHILE(r.l, !r.client.drained);
    WHILE(r.l, r.server.got.len < n + 4);
    CHECK_INT(1, r.client.drained);
    free(big);
    part(&r);
    rig_fini(&r);
}
