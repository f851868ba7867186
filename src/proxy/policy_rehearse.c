#include "proxy/policy_rehearse.h"

#include "base/check.h"
#include "io/work.h"
#include "proxy/server.h"

/* Of what is remembered: enough to meet every model and kind of request, little enough for one turn of the loop. */
#define RECENT_MS (30 * 60 * 1000)
#define RECENT_REQUESTS 500
#define TRACE_BYTES (4u << 20)

struct job {
    struct server *srv;
    struct config *cfg;
    const struct config_policy *at[POLICIES_MAX];
    uint64_t known[POLICIES_MAX];
    size_t n;
    void *traffic;
    int rc;
    struct error e;
    void (*done)(void *ud, int rc, const char *why);
    void *ud;
};

static void on_work(void *ud)
{
    struct job *j = ud;
    for (size_t i = 0; i < j->n && !j->rc; i++) {
        j->rc = j->srv->rehearser.run(j->traffic, j->at[i], j->known[i], &j->e);
        if (j->rc)
            j->rc = error_wrap(&j->e, STR_FMT, STR_ARG(j->at[i]->file));
    }
}

static void on_done(void *ud, bool cancelled)
{
    struct job *j = ud;
    (void)cancelled;
    j->srv->rehearser.traffic_free(j->traffic);
    j->done(j->ud, j->rc, j->e.msg);
    config_unref(j->cfg);
    free(j);
}

/* The same file under the same conditions as one that runs? Then its text decides: its hash. */
static uint64_t known_hash(const struct server *srv, const struct config_policy *f)
{
    const struct config *old = srv->policy.cfg;
    for (size_t i = 0; old && i < old->n_policies; i++) {
        const struct config_policy *o = &old->policies[i];
        if (str_eq(o->file, f->file) && str_eq(o->settings_json, f->settings_json) && o->instructions == f->instructions &&
            o->memory_mb == f->memory_mb && o->hold_limit_ms == f->hold_limit_ms && o->starve_after_ms == f->starve_after_ms)
            return policies_hash(srv->policy.ps, f->file);
    }
    return 0;
}

static bool start(struct job *j)
{
    struct server *srv = j->srv;
    if (j->n == 0 || !srv->rehearser.run) {
        free(j);
        return false;
    }
    config_ref(j->cfg);
    msec now = io_loop_now(srv->loop);
    struct strbuf trace = STRBUF(TRACE_BYTES);
    record_trace(srv->record, now > RECENT_MS ? now - RECENT_MS : 0, RECENT_REQUESTS, &trace);
    if (!trace.full)
        j->traffic = srv->rehearser.traffic(strbuf_str(&trace));
    strbuf_fini(&trace);
    (void)io_work_start(srv->loop, on_work, on_done, j);
    return true;
}

bool policy_rehearse_config(struct server *srv, struct config *cfg, void (*done)(void *ud, int rc, const char *why), void *ud)
{
    struct job *j = mem_zalloc(sizeof *j);
    *j = (struct job){ .srv = srv, .cfg = cfg, .done = done, .ud = ud };
    for (size_t i = 0; i < cfg->n_policies && j->n < POLICIES_MAX; i++) {
        if (cfg->policies[i].mode == CONFIG_POLICY_OFF)
            continue;
        j->known[j->n] = known_hash(srv, &cfg->policies[i]);
        j->at[j->n++] = &cfg->policies[i];
    }
    return start(j);
}

bool policy_rehearse_one(struct server *srv, str name, bool changed, void (*done)(void *ud, int rc, const char *why), void *ud)
{
    struct config *cfg = srv->policy.cfg;
    str file = policies_file(srv->policy.ps, name);
    struct job *j = mem_zalloc(sizeof *j);
    *j = (struct job){ .srv = srv, .cfg = cfg, .done = done, .ud = ud };
    for (size_t i = 0; cfg && file.len && i < cfg->n_policies && j->n == 0; i++)
        if (str_eq(cfg->policies[i].file, file) && cfg->policies[i].mode != CONFIG_POLICY_OFF) {
            j->known[j->n] = changed ? policies_hash(srv->policy.ps, file) : 0;
            j->at[j->n++] = &cfg->policies[i];
        }
    return start(j);
}
