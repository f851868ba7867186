/* load.c: the steps of a load, in the order of config.md section 2; see config.h and load.h. */
#include "config/schema.h"

#include "base/check.h"
#include "sched/matrix.h"

#define SCRATCH_MAX ((size_t)256 << 20)
#define SNAPSHOT_MAX ((size_t)64 << 20)

static struct config *new_config(void)
{
    struct config *c = mem_zalloc(sizeof *c);
    c->refs = 1;
    arena_init(&c->arena, SNAPSHOT_MAX);
    map_init(&c->model_by_name);
    map_init(&c->peer_by_fqn);
    map_init(&c->peer_by_model);
    map_init(&c->selector_by_id);
    schema_defaults(SEC_ROOT, c);
    c->log_level = CONFIG_LOG_INFO;
    c->log_level_text = S("info");
    c->performance_every_ns = 5000000000;
    return c;
}

static const struct ynode *empty_map(struct loader *l)
{
    struct ynode *n = ARENA_NEW(&l->scratch, struct ynode);
    n->type = YN_MAP;
    n->file = UINT16_MAX;
    return n;
}

/* Global macros into everything but `models`, and the `macros` block out of the tree. */
static const struct ynode *expand_globals(struct loader *l, const struct ynode *root)
{
    root = tree_set(l, root, S("macros"), NULL);
    for (uint32_t i = 0; i < root->n && !l->full; i++) {
        const struct ypair *p = &root->pairs[i];
        if (str_eq(p->key, S("models")))
            continue;
        const struct ynode *v = macros_apply(l, p->value, &l->globals);
        if (v != p->value)
            root = tree_set(l, root, p->key, v);
    }
    return root;
}

static int64_t start_port(struct loader *l, const struct ynode *root)
{
    const struct ynode *n = ynode_get(root, S("startPort"));
    const struct cpath *path = CPATH(NULL, S("startPort"));
    int64_t v = l->cfg->start_port;
    if (!n || !decode_int(l, n, path, &v))
        return v;
    if (v < 1) {
        load_error(l, n, path, NULL, "startPort must be greater than 1");
        return l->cfg->start_port;
    }
    return v;
}

static void fill(struct loader *l, const struct ynode *root)
{
    struct lmodels models;
    macros_declare(l, ynode_get(root, S("macros")), STR_NONE, CPATH(NULL, S("macros")),
                   &l->globals);
    root = expand_globals(l, root);
    int64_t port = start_port(l, root);
    models_expand(l, root, port, &models);
    leftovers_check(l, root, &models);
    if (l->full)
        return;
    schema_read(l, SEC_ROOT, l->cfg, root, NULL);
    check_globals(l, root);
    check_peers(l, root);
    check_models(l, &models);
    check_aliases(l, &models);
    check_routing(l, root);
    check_scheduler(l, root);
    check_names(l, root);
    check_selectors(l, root);
    check_profiles(l, root);
    check_policies(l, root);
}

static void keep_files(struct loader *l)
{
    str *at = load_keep_array(l, l->n_files, sizeof *at);
    for (size_t i = 0; at && i < l->n_files; i++)
        at[i] = load_keep(l, l->files[i].name);
    l->cfg->files = at;
    l->cfg->n_files = at ? l->n_files : 0;
}

static void run(struct loader *l)
{
    const struct ynode *root = merge_files(l);
    if (!root && l->report->errors)
        return;
    if (!root)
        root = empty_map(l);
    root = env_tree(l, root);
    keep_files(l);
    fill(l, root);
}

static int load(struct loader *l, struct config **ret)
{
    int r = ERR_CONFIG;
    if (l->report->errors == 0)
        run(l);
    if (l->report->errors == 0) {
        *ret = l->cfg;
        r = 0;
    } else {
        config_unref(l->cfg);
    }
    matrix_free(l->matrix);
    for (size_t i = 0; i < l->n_files; i++)
        free(l->files[i].shifts);
    free(l->files);
    arena_fini(&l->scratch);
    return r;
}

static void start(struct loader *l, const struct config_sources *src, struct config_report *report)
{
    *l = (struct loader){ .src = src, .report = report, .cfg = new_config() };
    l->out = &l->cfg->arena;
    arena_init(&l->scratch, SCRATCH_MAX);
}

int config_load(const struct config_sources *src, struct config **ret, struct config_report *report)
{
    struct loader l;
    ASSERT(report->errors == 0);
    start(&l, src, report);
    l.probe_store = true;
    source_read(&l);
    return load(&l, ret);
}

int config_load_text(str text, str name, const struct config_sources *src, struct config **ret,
                     struct config_report *report)
{
    struct loader l;
    ASSERT(report->errors == 0);
    start(&l, src, report);
    l.files = mem_zalloc(sizeof *l.files);
    l.files[0] = (struct cfile){ .name = name, .text = text };
    l.n_files = 1;
    return load(&l, ret);
}
