/* Lookups and the life of a snapshot, on pointers. */
#include "config/config.h"
#include "spec.h"

static struct config *load(const char *text)
{
    struct config_report r;
    struct config *c = NULL;
    config_report_init(&r);
    int rc = config_load_text(str_c(text), S("t.yaml"), NULL, &c, &r);
    config_report_fini(&r);
    CHECK_INT(0, rc);
    return c;
}

TEST(config_finds_models_by_id_and_alias)
{
    struct config *c =
        load("models:\n  b: {cmd: 'x ${PORT}', aliases: [q, a]}\n  a: {cmd: 'y ${PORT}'}\n");
    CHECK_UINT(2, c->n_models);
    CHECK_STR("a", c->models[0].id);
    CHECK_UINT(0, config_find_model(c, S("a"))); /* the id wins over b's alias */
    CHECK_UINT(1, config_find_model(c, S("b")));
    CHECK_UINT(1, config_find_model(c, S("q")));
    CHECK_UINT(1, config_find_model_id(c, S("b")));
    CHECK_TRUE(config_find_model_id(c, S("q")) == CONFIG_NONE);
    CHECK_TRUE(config_find_model(c, S("")) == CONFIG_NONE);
    CHECK_UINT(5800, c->models[0].port);
    CHECK_UINT(5801, c->models[1].port);
    CHECK_UINT(5801, c->models[1].proxy_url.port_num);
    CHECK_STR("localhost", c->models[1].proxy_url.host);
    CHECK_INT(120000, c->models[0].health_timeout_ms);
    CHECK_INT(10000, c->models[0].unload_timeout_ms);
    config_unref(c);
}

TEST(config_finds_peers_by_full_and_unique_bare_name)
{
    struct config *c = load("peers:\n  p: {proxy: 'https://h/v1', models: [m, n, m]}\n  q: {proxy: "
                            "'http://i', models: [n]}\n");
    struct config_peer_ref ref;
    CHECK_TRUE(config_find_peer(c, S("m"), &ref));
    CHECK_STR("p", c->peers[ref.peer].id);
    CHECK_STR("m", c->peers[ref.peer].models[ref.model]);
    CHECK_FALSE(config_find_peer(c, S("n"), &ref)); /* two offer it */
    CHECK_TRUE(config_find_peer(c, S("q/n"), &ref));
    CHECK_UINT(1, ref.peer);
    CHECK_TRUE(config_base(c, S("p/m")));
    CHECK_FALSE(config_base(c, S("p/x")));
    CHECK_TRUE(c->peers[0].proxy_url.tls);
    CHECK_UINT(443, c->peers[0].proxy_url.port_num);
    CHECK_STR("/v1", c->peers[0].proxy_url.path);
    config_unref(c);
}

TEST(config_lives_until_its_last_reference)
{
    struct config *c = load("models: {a: {cmd: 'y ${PORT}'}}");
    struct config *again = config_ref(c);
    CHECK_TRUE(again == c);
    config_unref(c);
    CHECK_STR("a", again->models[0].id);
    config_unref(again);
    config_unref(NULL);
}

TEST(config_empty_text_has_all_defaults)
{
    struct config *c = load("");
    CHECK_UINT(0, c->n_models);
    CHECK_UINT(1, c->n_groups);
    CHECK_STR("(default)", c->groups[0].id);
    CHECK_INT(CONFIG_SCHED_SERIAL, c->scheduler);
    CHECK_FALSE(c->scheduler_given);
    CHECK_INT(1000, c->serial.max_queue);
    CHECK_INT(300000, c->serial.client_stall_ms);
    CHECK_INT(65536, c->limits.header_block);
    CHECK_INT(30000, c->reload_drain_ms);
    CHECK_TRUE(c->forward_auth);
    CHECK_NULL(c->log_time_layout);
    config_unref(c);
}

TEST(config_report_keeps_one_of_equal_entries)
{
    struct config_report r;
    config_report_init(&r);
    struct config_issue i = {
        .error = true, .file = S("f"), .line = 1, .col = 2, .text = S("bad")
    };
    config_report_add(&r, &i);
    config_report_add(&r, &i);
    i.col = 3;
    config_report_add(&r, &i);
    CHECK_UINT(2, r.errors);
    CHECK_UINT(2, r.len);
    config_report_fini(&r);
    config_report_fini(&r);
}
