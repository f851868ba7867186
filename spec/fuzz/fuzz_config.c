/* fuzz_config.c: any bytes as a configuration: no crash; what loads keeps its promises, can be
 * shown, and does not differ from itself.
 */
#include "config/config.h"

#include "base/check.h"
#include "base/utf8.h"

static const char *env(void *ud, const char *name)
{
    (void)ud;
    switch (name[0]) {
    case 'A':
        return "plain";
    case 'B':
        return "q\"uo\\te: [x";
    case 'C':
        return "${env.A} ${PORT} ${X}";
    case 'D':
        return "5";
    case 'E':
        return "";
    case 'F':
        return "new\nline";
    default:
        return NULL;
    }
}

static void check_models(const struct config *c)
{
    for (size_t i = 0; i < c->n_models; i++) {
        const struct config_model *m = &c->models[i];
        ASSERT(i == 0 || str_cmp(c->models[i - 1].id, m->id) < 0);
        ASSERT(config_find_model_id(c, m->id) == i && config_find_model(c, m->id) == i);
        ASSERT(m->health_timeout_ms >= 15000 && m->unload_timeout_ms > 0 && m->ttl_ms >= 0);
        ASSERT(m->n_written_aliases <= m->n_aliases);
        for (size_t k = 0; k < m->n_aliases; k++)
            ASSERT(config_base(c, m->aliases[k]));
        ASSERT((c->router == CONFIG_ROUTER_MATRIX) == (m->group == CONFIG_NONE));
        for (size_t k = 1; k < m->metadata.len; k++)
            ASSERT(str_cmp(m->metadata.at[k - 1].name, m->metadata.at[k].name) < 0);
    }
    size_t members = 0;
    for (size_t g = 0; g < c->n_groups; g++)
        for (size_t k = 0; k < c->groups[g].n_members; k++, members++)
            ASSERT(c->models[c->groups[g].members[k]].group == g);
    ASSERT(members == (c->router == CONFIG_ROUTER_MATRIX ? 0 : c->n_models));
}

static void check_rest(const struct config *c)
{
    for (size_t i = 0; i < c->n_selectors; i++) {
        ASSERT(config_find_selector(c, c->selectors[i].id) == i && c->selectors[i].n_targets > 0);
        for (size_t k = 0; k < c->selectors[i].n_targets; k++)
            ASSERT(config_base(c, c->selectors[i].targets[k]));
    }
    for (size_t i = 0; i < c->n_api_keys; i++)
        ASSERT(c->api_keys[i].len > 0);
    for (size_t i = 0; i < c->n_preload; i++)
        ASSERT(c->preload[i] < c->n_models);
    ASSERT(c->performance_every_ns >= 5000000000 && c->n_ignore_paths > 0 && c->start_port >= 1);
    ASSERT(c->limits.connections >= 1 && c->reload_drain_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_sources src = { .getenv = env };
    struct config_report report;
    struct config *c = NULL;
    struct strbuf out = STRBUF((size_t)32 << 20);
    config_report_init(&report);
    int r = config_load_text(str_n((const char *)data, size), S("fuzz.yaml"), &src, &c, &report);
    ASSERT((r == 0) == (report.errors == 0));
    config_report_print(&report, &out);
    ASSERT(utf8_valid(strbuf_str(&out)) || !utf8_valid(str_n((const char *)data, size)) ||
           out.full);
    if (r == 0) {
        struct arena a;
        struct config_diff d;
        check_models(c);
        check_rest(c);
        strbuf_clear(&out);
        ASSERT(config_dump_json(c, &out) || out.full);
        ASSERT(utf8_valid(strbuf_str(&out)) || out.full);
        arena_init(&a, (size_t)64 << 20);
        config_diff(c, c, &a, &d);
        ASSERT(d.n_keys == 0 && d.n_models == c->n_models);
        for (size_t i = 0; i < d.n_models; i++)
            ASSERT(d.models[i].change == CONFIG_SAME);
        arena_fini(&a);
        config_unref(c);
    }
    strbuf_fini(&out);
    config_report_fini(&report);
    return 0;
}
