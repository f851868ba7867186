/* reload.c: see reload.h. */
#include "proxy/reload.h"

#include "base/check.h"
#include "proxy/model.h"
#include "proxy/sched_conf.h"
#include "proxy/server.h"

#define NAMES_MAX 1000 /* of the text that names models in a log line */
#define ARENA_MAX ((size_t)256 << 20)

struct plan {
    struct arena arena;
    struct config_diff diff;
    struct sched_setup setup;
    model_id *slot_of;
    size_t n_slots;
    bool crossing; /* some port goes from one process to another */
};

/* One SCHED_RECYCLE that is under way. */
struct renewal {
    struct list node; /* in the server; freed there if the program ends first */
    struct unload_op op;
    struct server *srv;
    size_t n;
    model_id models[];
};

/* --- slots --- */

static struct model *retired_of(const struct server *srv, str id)
{
    for (size_t i = 0; srv->n_retired > 0 && i < srv->n_models; i++)
        if (srv->models[i] && srv->models[i]->retired && str_eq(srv->models[i]->name, id))
            return srv->models[i];
    return NULL;
}

/* Models keep their slots; one that comes back while its former life has not ended takes that one's; new ones take
 * free slots, then new ones. */
static void plan_slots(struct plan *p, const struct server *srv, const struct config *next)
{
    p->slot_of = mem_calloc(next->n_models, sizeof *p->slot_of);
    p->n_slots = srv->n_models;
    size_t free_slot = 0;
    for (size_t i = 0; i < p->diff.n_models; i++) {
        const struct config_model_diff *d = &p->diff.models[i];
        if (d->change == CONFIG_REMOVED)
            continue;
        if (d->change != CONFIG_ADDED) {
            p->slot_of[d->after] = srv->slot_of[d->before];
            continue;
        }
        const struct model *former = retired_of(srv, d->id);
        if (former) {
            p->slot_of[d->after] = former->id;
            continue;
        }
        while (free_slot < srv->n_models && srv->models[free_slot])
            free_slot++;
        p->slot_of[d->after] = free_slot < srv->n_models ? (model_id)free_slot++ : (model_id)p->n_slots++;
    }
}

static int plan_sched(struct plan *p, const struct server *srv, const struct config *next, struct error *e)
{
    sched_setup_init(&p->setup, next, p->slot_of, p->n_slots);
    for (size_t i = 0; i < srv->n_models; i++) {
        const struct model *m = srv->models[i];
        if (m && p->setup.models[i].retired)
            sched_setup_retired(&p->setup, (model_id)i, next, m->cfg, (size_t)(m->conf - m->cfg->models));
    }
    return sched_setup_fill(&p->setup, next, e);
}

/* Its process, or what is left of it, goes now. */
static bool goes(const struct model *m, const struct config_model_diff *d)
{
    return m->retired || m->recycled_by > 0 || !d || d->change == CONFIG_HARD || d->change == CONFIG_REMOVED;
}

/* Would a process that begins meet one that goes on its port? */
static void plan_ports(struct plan *p, const struct server *srv, const struct config *next)
{
    const struct config_model_diff **of_slot = arena_calloc(&p->arena, p->n_slots + 1, sizeof(*of_slot));
    for (size_t i = 0; i < p->diff.n_models; i++) {
        const struct config_model_diff *d = &p->diff.models[i];
        of_slot[d->before != CONFIG_NONE ? srv->slot_of[d->before] : p->slot_of[d->after]] = d;
    }
    for (size_t i = 0; i < p->diff.n_models && !p->crossing; i++) {
        const struct config_model_diff *d = &p->diff.models[i];
        if (d->change != CONFIG_HARD && d->change != CONFIG_ADDED)
            continue;
        for (size_t k = 0; k < srv->n_models && !p->crossing; k++) {
            const struct model *m = srv->models[k];
            p->crossing = m && k != p->slot_of[d->after] && goes(m, of_slot[k]) &&
                          m->conf->proxy_url.port_num == next->models[d->after].proxy_url.port_num;
        }
    }
}

/* --- replacing --- */

static void retire(struct server *srv, struct model *m)
{
    m->retired = true;
    srv->n_retired++;
}

/* Each model gets its entry, at once or for later. */
static void apply_models(struct plan *p, struct server *srv, struct config *next)
{
    srv->models = mem_resize(srv->models, p->n_slots ? p->n_slots : 1, sizeof(*srv->models));
    for (size_t i = srv->n_models; i < p->n_slots; i++)
        srv->models[i] = NULL;
    srv->n_models = p->n_slots;
    for (size_t i = 0; i < p->diff.n_models; i++) {
        const struct config_model_diff *d = &p->diff.models[i];
        if (d->change == CONFIG_REMOVED) {
            retire(srv, srv->models[srv->slot_of[d->before]]);
            continue;
        }
        struct model **m = &srv->models[p->slot_of[d->after]];
        if (!*m) {
            *m = model_new(srv, p->slot_of[d->after], next, d->after);
        } else if (d->change == CONFIG_ADDED) { /* back before its former life has ended */
            (*m)->retired = false;
            srv->n_retired--;
            model_reconf_later(*m, next, d->after);
        } else if (d->change == CONFIG_HARD || (*m)->next) {
            model_reconf_later(*m, next, d->after);
        } else {
            model_reconf(*m, next, d->after);
        }
    }
}

static bool stopped(const struct model *m)
{
    return sched_model_state(m->srv->dispatch.sched, m->id) == MODEL_STOPPED &&
           (model_state(m) == PROC_STOPPED || model_state(m) == PROC_SHUTDOWN);
}

/* The processes are gone, and nothing has been started yet. */
static void renewed(void *ud)
{
    struct renewal *r = ud;
    struct server *srv = r->srv;
    for (size_t i = 0; i < r->n; i++) {
        struct model *m = srv->models[r->models[i]];
        m->recycled_by--;
        if (m->next && !m->retired && srv->phase == SERVER_RUNNING && stopped(m))
            model_renew(m); /* else before its next start */
        if (r->op.code < 0 && model_state(m) == PROC_STOPPING)
            log_error(m->log_scope, "the process does not end; no other one is started in its place before it does");
    }
    if (srv->n_retired > 0)
        dispatch_soon(&srv->dispatch);
    list_remove(&r->node);
    free(r);
}

static void renew(struct server *srv, const model_id *models, size_t n)
{
    struct renewal *r = mem_zalloc(sizeof(*r) + n * sizeof(*models));
    r->srv = srv;
    r->n = n;
    r->op.done = renewed;
    r->op.ud = r;
    for (size_t i = 0; i < n; i++) {
        r->models[i] = models[i];
        srv->models[models[i]]->recycled_by++;
    }
    list_push_back(&srv->renewals, &r->node);
    dispatch_recycle(&srv->dispatch, &r->op, models, n, srv->cfg->reload_drain_ms);
}

static void renew_all(struct plan *p, struct server *srv)
{
    model_id *some = arena_calloc(&p->arena, srv->n_models + 1, sizeof(*some));
    size_t n = 0;
    if (p->crossing) {
        for (size_t i = 0; i < p->diff.n_models; i++)
            if (p->diff.models[i].change == CONFIG_ADDED)
                some[n++] = srv->slot_of[p->diff.models[i].after];
        for (size_t i = 0; i < srv->n_models; i++) {
            const struct model *m = srv->models[i];
            bool listed = false;
            for (size_t k = 0; k < n && !listed; k++)
                listed = some[k] == i;
            if (m && !listed && (m->next || m->recycled_by > 0 || (m->retired && !stopped(m))))
                some[n++] = (model_id)i;
        }
        if (n > 0)
            renew(srv, some, n);
        return;
    }
    for (size_t i = 0; i < srv->n_models; i++) {
        struct model *m = srv->models[i];
        if (!m || (!m->next && !m->retired) || m->recycled_by > 0)
            continue; /* who is being replaced already takes the newest entry then */
        model_id id = (model_id)i;
        if (!stopped(m))
            renew(srv, &id, 1);
        else if (!m->retired)
            model_renew(m);
    }
}

void reload_forget(struct server *srv)
{
    LIST_FOREACH(it, &srv->renewals)
        free(LIST_ENTRY(it, struct renewal, node));
}

void reload_sweep(struct server *srv)
{
    for (size_t i = 0; i < srv->n_models; i++) {
        struct model *m = srv->models[i];
        if (!m || !m->retired || m->recycled_by > 0)
            continue;
        if (sched_model_state(srv->dispatch.sched, m->id) != MODEL_STOPPED || sched_inflight(srv->dispatch.sched, m->id) > 0)
            continue;
        if (m->proc) {
            proc_close(m->proc); /* looked at again when that is over */
        } else if (m->procs == 0 && m->refs == 0) {
            srv->models[i] = NULL;
            srv->n_retired--;
            model_free(m);
        }
    }
}

/* --- the rest of a snapshot --- */

static void apply_rest(struct plan *p, struct server *srv, struct config *next)
{
    struct config *old = srv->cfg;
    struct peers *old_peers = srv->peers;
    srv->cfg = config_ref(next);
    free(srv->slot_of);
    srv->slot_of = p->slot_of;
    p->slot_of = NULL;
    srv->peers = peers_new(srv->loop, next);
    srv->profile = CONFIG_NONE;
    logmon_set_time_format(&srv->log, next->log_time_format);
    log_set_level((enum log_level)next->log_level);
    server_reconf_http(srv);
    record_reconf(srv->record);
    if (old->scheduler != next->scheduler)
        server_say_scheduler(srv);
    peers_unref(old_peers);
    config_unref(old);
}

void reload_preload(struct server *srv)
{
    for (size_t i = 0; i < srv->cfg->n_preload; i++) {
        record_preload(srv->record, srv->slot_of[srv->cfg->preload[i]]);
        struct sched_event ev = { .kind = SCHED_PRELOAD, .model = srv->slot_of[srv->cfg->preload[i]] };
        dispatch_post(&srv->dispatch, &ev);
    }
}

/* --- what people are told --- */

static void add_names(struct strbuf *out, const struct config_diff *diff, enum config_change which)
{
    size_t n = 0;
    for (size_t i = 0; i < diff->n_models; i++) {
        if (diff->models[i].change != which)
            continue;
        if (n > 0 && out->len > NAMES_MAX) {
            strbuf_add(out, S(" ..."));
            break;
        }
        strbuf_add(out, n++ ? S(", ") : S(" ("));
        strbuf_add(out, diff->models[i].id);
        if (diff->models[i].key[0])
            strbuf_addf(out, ": %s", diff->models[i].key);
    }
    if (n > 0)
        strbuf_addc(out, ')');
}

static void tell(const struct config_diff *diff)
{
    static const struct {
        enum config_change change;
        const char *text;
    } parts[] = {
        { CONFIG_SAME, "unchanged" },
        { CONFIG_SOFT, "changed in place" },
        { CONFIG_HARD, "to be restarted" },
        { CONFIG_ADDED, "added" },
        { CONFIG_REMOVED, "removed" },
    };
    struct strbuf line = STRBUF(64u * 1024);
    strbuf_add(&line, S("reloaded; models: "));
    for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
        size_t n = 0;
        for (size_t i = 0; i < diff->n_models; i++)
            n += diff->models[i].change == parts[k].change;
        strbuf_addf(&line, "%s%zu %s", k ? ", " : "", n, parts[k].text);
        if (parts[k].change != CONFIG_SAME)
            add_names(&line, diff, parts[k].change);
    }
    log_info("config", STR_FMT, STR_ARG(strbuf_str(&line)));
    strbuf_fini(&line);
    for (size_t i = 0; i < diff->n_keys; i++)
        if (!diff->keys[i].live)
            log_warn("config", "%s has changed, but takes effect at the next start only", diff->keys[i].path);
}

int server_reload(struct server *srv, struct config *next, struct error *e)
{
    if (srv->phase != SERVER_RUNNING)
        return error_set(e, ERR_SHUTDOWN, NULL);
    struct plan p = { 0 };
    arena_init(&p.arena, ARENA_MAX);
    config_diff(srv->cfg, next, &p.arena, &p.diff);
    plan_slots(&p, srv, next);
    int rc = plan_sched(&p, srv, next, e);
    if (rc == 0)
        rc = policy_glue_check(&srv->policy, next, e);
    if (rc == 0) { /* from here on nothing fails */
        plan_ports(&p, srv, next);
        apply_models(&p, srv, next);
        dispatch_reconf(&srv->dispatch, &p.setup.conf);
        matrix_free(srv->matrix);
        srv->matrix = p.setup.matrix;
        p.setup.matrix = NULL;
        tell(&p.diff);
        apply_rest(&p, srv, next);
        if (policy_glue_reconfigure(&srv->policy, e) < 0)
            log_error("policy", "the policies stay as they were: %s", e->msg);
        renew_all(&p, srv);
        reload_preload(srv);
        srv->reloads++;
    }
    sched_setup_fini(&p.setup);
    free(p.slot_of);
    arena_fini(&p.arena);
    return rc;
}
