/* resolve.c: see resolve.h. */
#include "route/resolve.h"

#include "base/check.h"

struct selector_slots {
    size_t *held; /* reservations of each target */
    uint64_t turn;
};

struct resolve_slots {
    size_t out; /* reservations in all */
    bool dead;
    size_t n;
    struct selector_slots sel[];
};

struct resolve_slots *resolve_slots_new(const struct config *cfg)
{
    struct resolve_slots *s =
        mem_zalloc(sizeof *s + cfg->n_selectors * sizeof(struct selector_slots));
    s->n = cfg->n_selectors;
    for (size_t i = 0; i < s->n; i++)
        s->sel[i].held = mem_calloc(cfg->selectors[i].n_targets + 1, sizeof(size_t));
    return s;
}

static void destroy(struct resolve_slots *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->sel[i].held);
    free(s);
}

void resolve_slots_free(struct resolve_slots *s)
{
    if (!s)
        return;
    ASSERT(!s->dead);
    s->dead = true;
    if (s->out == 0)
        destroy(s);
}

static void reserve(struct resolve_slots *s, struct resolve_target *t, size_t target)
{
    s->sel[t->selector].held[target]++;
    s->out++;
    t->slots = s;
    t->slot = target;
}

void resolve_release(struct resolve_target *t)
{
    struct resolve_slots *s = t->slots;
    if (!s)
        return;
    ASSERT(s->out > 0 && s->sel[t->selector].held[t->slot] > 0);
    s->sel[t->selector].held[t->slot]--;
    t->slots = NULL;
    if (--s->out == 0 && s->dead)
        destroy(s);
}

/* ---- pins ---- */

static const struct config_pair *find_pin(const struct config *cfg, size_t profile, str name)
{
    if (profile == CONFIG_NONE)
        return NULL;
    const struct config_profile *p = &cfg->profiles[profile];
    size_t low = 0, high = p->n_pins;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = str_cmp(p->pins[mid].key, name);
        if (c == 0)
            return &p->pins[mid];
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* ---- selectors ---- */

static enum resolve_state state_of(const struct resolve_ctx *ctx, size_t model)
{
    return ctx->state ? ctx->state(ctx->ud, model) : RESOLVE_STOPPED;
}

/* The first target that is ready, else that is starting, else the first. */
static size_t pick_warm(const struct resolve_ctx *ctx, const struct config_selector *sel)
{
    size_t starting = CONFIG_NONE;
    for (size_t i = 0; i < sel->n_targets; i++) {
        size_t model = config_find_model(ctx->cfg, sel->targets[i]);
        if (model == CONFIG_NONE)
            continue;
        enum resolve_state s = state_of(ctx, model);
        if (s == RESOLVE_READY)
            return i;
        if (s == RESOLVE_STARTING && starting == CONFIG_NONE)
            starting = i;
    }
    return starting == CONFIG_NONE ? 0 : starting;
}

enum warmth { UNUSABLE, COLD, ACTIVE };

static enum warmth warmth_of(const struct resolve_ctx *ctx, str target, size_t held)
{
    size_t model = config_find_model(ctx->cfg, target);
    if (model == CONFIG_NONE)
        return held ? ACTIVE : COLD;
    switch (state_of(ctx, model)) {
    case RESOLVE_READY:
    case RESOLVE_STARTING:
        return ACTIVE;
    case RESOLVE_STOPPED:
        return held ? ACTIVE : COLD;
    default:
        return UNUSABLE;
    }
}

/* Least loaded of the active targets while that is below the threshold, then the first cold one,
 * then the least loaded again; those that are equal take turns. CONFIG_NONE if there is nothing
 * (config.md 6.5). */
static size_t pick_spillover(const struct resolve_ctx *ctx, const struct config_selector *sel,
                             struct selector_slots *slots)
{
    size_t cold = CONFIG_NONE, least = SIZE_MAX, equals = 0;
    for (size_t i = 0; i < sel->n_targets; i++) {
        size_t held = slots ? slots->held[i] : 0;
        enum warmth w = warmth_of(ctx, sel->targets[i], held);
        if (w == COLD && cold == CONFIG_NONE)
            cold = i;
        if (w != ACTIVE || held > least)
            continue;
        equals = held < least ? 1 : equals + 1;
        least = held;
    }
    if (equals == 0 || (cold != CONFIG_NONE && least >= (uint64_t)sel->spillover))
        return cold;
    size_t turn = slots ? (size_t)(slots->turn++ % equals) : 0;
    for (size_t i = 0;; i++) {
        size_t held = slots ? slots->held[i] : 0;
        if (held == least && warmth_of(ctx, sel->targets[i], held) == ACTIVE && turn-- == 0)
            return i;
    }
}

static int run_selector(const struct resolve_ctx *ctx, struct resolve_target *t, struct error *e)
{
    const struct config_selector *sel = &ctx->cfg->selectors[t->selector];
    size_t target = 0;
    if (sel->strategy == CONFIG_WARM) {
        target = pick_warm(ctx, sel);
    } else if (sel->strategy == CONFIG_SPILLOVER) {
        ASSERT(!ctx->slots || ctx->slots->n == ctx->cfg->n_selectors);
        target = pick_spillover(ctx, sel, ctx->slots ? &ctx->slots->sel[t->selector] : NULL);
        if (target == CONFIG_NONE)
            return error_set(e, ERR_AGAIN, "selector " STR_FMT ": no available spillover targets",
                             STR_ARG(sel->id));
        if (ctx->slots)
            reserve(ctx->slots, t, target);
    }
    t->name = sel->targets[target];
    return 0;
}

/* ---- names ---- */

/* Fills in kind and place of t->name. */
static bool find_base(const struct config *cfg, struct resolve_target *t)
{
    t->model = config_find_model(cfg, t->name);
    t->kind = t->model != CONFIG_NONE ? RESOLVE_LOCAL : RESOLVE_PEER;
    return t->model != CONFIG_NONE || config_find_peer(cfg, t->name, &t->peer);
}

static struct resolve_target target_named(str name)
{
    return (struct resolve_target){ .name = name, .model = CONFIG_NONE, .selector = CONFIG_NONE };
}

static int unknown(const struct resolve_target *t, struct error *e)
{
    return error_set(e, ERR_UNKNOWN_MODEL, "no router for requested model " STR_FMT,
                     STR_ARG(t->name));
}

int resolve(const struct resolve_ctx *ctx, str name, struct resolve_target *ret, struct error *e)
{
    *ret = target_named(name);
    const struct config_pair *pin = find_pin(ctx->cfg, ctx->profile, name);
    if (pin)
        ret->name = pin->value;
    if (ret->name.len == 0)
        return error_set(e, ERR_NOMODEL, NULL);
    ret->selector = config_find_selector(ctx->cfg, ret->name);
    if (ret->selector != CONFIG_NONE) {
        int rc = run_selector(ctx, ret, e);
        if (rc)
            return rc;
    }
    if (find_base(ctx->cfg, ret))
        return 0;
    resolve_release(ret);
    return unknown(ret, e);
}

void resolve_again(const struct resolve_ctx *ctx, struct resolve_target *t)
{
    if (t->selector == CONFIG_NONE || ctx->cfg->selectors[t->selector].strategy != CONFIG_WARM)
        return;
    const struct config_selector *sel = &ctx->cfg->selectors[t->selector];
    struct resolve_target now = *t;
    now.name = sel->targets[pick_warm(ctx, sel)];
    if (find_base(ctx->cfg, &now))
        *t = now;
}

str resolve_peer_model(const struct config *cfg, const struct resolve_target *t)
{
    ASSERT(t->kind == RESOLVE_PEER);
    return cfg->peers[t->peer.peer].models[t->peer.model];
}

str resolve_peer_fqn(const struct config *cfg, const struct resolve_target *t, struct arena *a)
{
    str model = resolve_peer_model(cfg, t), peer = cfg->peers[t->peer.peer].id;
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(peer), STR_ARG(model));
}

/* ---- paths ---- */

static void note_length(size_t *longest, size_t len)
{
    if (len > *longest)
        *longest = len;
}

/* Bytes of the longest name that can stand in a path. */
static size_t longest_name(const struct config *cfg, bool peers)
{
    size_t longest = 0;
    for (size_t i = 0; i < cfg->n_models; i++) {
        note_length(&longest, cfg->models[i].id.len);
        for (size_t k = 0; k < cfg->models[i].n_aliases; k++)
            note_length(&longest, cfg->models[i].aliases[k].len);
    }
    for (size_t i = 0; peers && i < cfg->n_peers; i++)
        for (size_t k = 0; k < cfg->peers[i].n_models; k++)
            note_length(&longest, cfg->peers[i].id.len + 1 + cfg->peers[i].models[k].len);
    return longest;
}

static bool known_local(void *ud, str name, str *ret_id)
{
    const struct config *cfg = ud;
    size_t model = config_find_model(cfg, name);
    if (model == CONFIG_NONE)
        return false;
    *ret_id = cfg->models[model].id;
    return true;
}

static bool known_base(void *ud, str name, str *ret_id)
{
    struct config_peer_ref peer;
    if (known_local(ud, name, ret_id))
        return true;
    *ret_id = name;
    return config_find_peer(ud, name, &peer);
}

struct pins {
    const struct config *cfg;
    size_t profile;
};

static bool known_pin(void *ud, str name, str *ret_id)
{
    const struct pins *p = ud;
    const struct config_pair *pin = find_pin(p->cfg, p->profile, name);
    if (!pin)
        return false;
    *ret_id = pin->value;
    return true;
}

static int not_found(struct error *e)
{
    return error_set(e, ERR_NOTFOUND, "model not found");
}

/* If a pin is at the begin of the tail, the tail with its target instead. */
static int rewrite_tail(const struct resolve_ctx *ctx, struct arena *a, str tail, str *ret,
                        struct error *e)
{
    struct pins pins = { ctx->cfg, ctx->profile };
    struct path_names names = { .known = known_pin, .ud = &pins };
    struct path_match m;
    *ret = tail;
    if (ctx->profile == CONFIG_NONE)
        return 0;
    const struct config_profile *p = &ctx->cfg->profiles[ctx->profile];
    for (size_t i = 0; i < p->n_pins; i++)
        note_length(&names.longest, p->pins[i].key.len);
    int rc = path_lookup(a, tail, &names, &m, e);
    if (rc == ERR_NOTFOUND)
        return 0;
    if (rc)
        return rc;
    if (m.id.len == 0)
        return not_found(e);
    struct strbuf b = STRBUF(tail.len + m.id.len * 3);
    path_encode(&b, m.id);
    if (!m.bare)
        strbuf_add(&b, m.forward);
    *ret = arena_try_dup(a, strbuf_str(&b));
    strbuf_fini(&b);
    return ret->ptr ? 0 : error_set(e, ERR_LIMIT, NULL);
}

int resolve_path(const struct resolve_ctx *ctx, struct arena *a, str tail,
                 struct resolve_target *ret, struct path_match *ret_match, struct error *e)
{
    /* The callback's user pointer is only read through. */
    struct path_names names = { .known = known_base, .ud = (void *)(uintptr_t)ctx->cfg };
    int rc = rewrite_tail(ctx, a, tail, &tail, e);
    if (rc)
        return rc;
    names.longest = longest_name(ctx->cfg, true);
    rc = path_lookup(a, tail, &names, ret_match, e);
    if (rc)
        return rc;
    *ret = target_named(ret_match->name);
    return find_base(ctx->cfg, ret) ? 0 : not_found(e);
}

int resolve_path_local(const struct config *cfg, struct arena *a, str tail, size_t *ret_model,
                       struct path_match *ret_match, struct error *e)
{
    struct path_names names = { .known = known_local, .ud = (void *)(uintptr_t)cfg };
    names.longest = longest_name(cfg, false);
    int rc = path_lookup(a, tail, &names, ret_match, e);
    if (rc)
        return rc;
    *ret_model = config_find_model(cfg, ret_match->name);
    return 0;
}
