/* config.c: life of a snapshot and the lookups in it; see config.h. */
#include "config/config.h"

#include "base/check.h"

struct config *config_ref(struct config *cfg)
{
    ASSERT(cfg->refs > 0);
    cfg->refs++;
    return cfg;
}

static void wipe(str secret)
{
    if (secret.len)
        mem_wipe((char *)(uintptr_t)secret.ptr, secret.len);
}

void config_unref(struct config *cfg)
{
    if (!cfg)
        return;
    ASSERT(cfg->refs > 0);
    if (--cfg->refs > 0)
        return;
    for (size_t i = 0; i < cfg->n_peers; i++)
        wipe(cfg->peers[i].api_key);
    for (size_t i = 0; i < cfg->n_api_keys; i++)
        wipe(cfg->api_keys[i]);
    map_fini(&cfg->model_by_name);
    map_fini(&cfg->peer_by_fqn);
    map_fini(&cfg->peer_by_model);
    map_fini(&cfg->selector_by_id);
    arena_fini(&cfg->arena);
    free(cfg);
}

static size_t index_in(const struct map *m, str key)
{
    uintptr_t v = (uintptr_t)map_get(m, key);
    return v ? (size_t)v - 1 : CONFIG_NONE;
}

size_t config_find_model(const struct config *cfg, str name)
{
    return index_in(&cfg->model_by_name, name);
}

size_t config_find_model_id(const struct config *cfg, str id)
{
    size_t i = index_in(&cfg->model_by_name, id);
    return i != CONFIG_NONE && str_eq(cfg->models[i].id, id) ? i : CONFIG_NONE;
}

bool config_find_peer(const struct config *cfg, str name, struct config_peer_ref *ret)
{
    const struct config_peer_ref *ref = map_get(&cfg->peer_by_fqn, name);
    if (!ref)
        ref = map_get(&cfg->peer_by_model, name);
    if (!ref || ref->peer == CONFIG_NONE)
        return false;
    *ret = *ref;
    return true;
}

size_t config_find_selector(const struct config *cfg, str id)
{
    return index_in(&cfg->selector_by_id, id);
}

size_t config_find_profile(const struct config *cfg, str id)
{
    for (size_t i = 0; i < cfg->n_profiles; i++)
        if (str_eq(cfg->profiles[i].id, id))
            return i;
    return CONFIG_NONE;
}

bool config_base(const struct config *cfg, str name)
{
    struct config_peer_ref ref;
    return config_find_model(cfg, name) != CONFIG_NONE || config_find_peer(cfg, name, &ref);
}

const char *config_strategy_name(enum config_strategy s)
{
    static const char *const names[] = { "pin", "warm", "spillover" };
    return names[s];
}

const char *config_change_name(enum config_change c)
{
    static const char *const names[] = { "same", "soft", "hard", "added", "removed" };
    return names[c];
}
