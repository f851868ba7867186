#include "sim/rehearse.h"

#include <stdio.h>

static void keep_first(void *ud, const char *policy, const char *text)
{
    struct rehearsal *r = ud;
    if (!r->first_error[0] && !strstr(text, "ejected") && text[0] != '{')
        snprintf(r->first_error, sizeof(r->first_error), "%s", text);
}

static void fill(struct replay *r, unsigned world)
{
    static const char *const models[] = { "a", "b", "c", "d" };
    static const char *const keys[] = { "k1", "k2", "k3" };
    size_t n = world == 2 ? 300 : 120;
    for (size_t i = 0; i < n; i++) {
        msec at = world == 0 ? (msec)i * 1300 : world == 1 ? (msec)(i / 8) * 9000 : (msec)i * 150;
        struct replay_request q = { .model = str_c(models[(i * 7 + i / 5) % 4]), .key = str_c(keys[i % 3]), .session = str_c(keys[i % 2]),
                                    .path = S("/v1/chat/completions"), .kind = S("chat"), .tokens_in = (int64_t)(i * 37 % 900),
                                    .tokens_out = (int64_t)(i * 53 % 400), .serve_ms = (msec)(300 + i * 271 % 4000),
                                    .cancel_ms = i % 17 == 5 ? (msec)(i * 91 % 4000) : -1, .deadline_s = i % 11 == 0 ? 120 : -1 };
        replay_add(r, at, &q);
    }
    replay_unload(r, 60000, "a");
    replay_crash(r, 90000, "b");
}

static struct config_policy harmless(const struct config_policy *f)
{
    struct config_policy own = *f;
    own.state_file = STR_NONE; /* a rehearsal leaves no trace */
    own.mode = CONFIG_POLICY_ENFORCE;
    own.on_eject = CONFIG_EJECT_BUILTIN;
    return own;
}

int rehearse_world(const struct config_policy *f, unsigned world, enum policy_pairs pairs, struct rehearsal *ret,
                   struct strbuf *log, struct error *e)
{
    *ret = (struct rehearsal){ 0 };
    struct replay_model models[4] = {
        { .id = S("a"), .load_s = 20, .stop_s = 1, .vram_mb = 16000, .limit = 1000 },
        { .id = S("b"), .load_s = 12, .stop_s = 1, .vram_mb = 12000, .limit = 1000 },
        { .id = S("c"), .load_s = 6, .stop_s = 0.5, .vram_mb = 8000, .limit = 1000 },
        { .id = S("d"), .load_s = 2, .stop_s = 0.2, .vram_mb = 3000, .limit = 1000 },
    };
    for (size_t i = 0; i < 4; i++)
        models[i].group_swap = models[i].group_exclusive = world == 1;
    struct config_policy own = harmless(f);
    struct replay_conf c = { .kind = SCHED_KIND_FIFO, .models = models, .n_models = 4, .gpu_mb = 24000, .seed = 7, .files = &own,
                             .n_files = 1, .pairs = pairs, .keep_log = log != NULL, .log = keep_first, .log_ud = ret,
                             .start_unix = 1785747600, .instructions = REHEARSE_INSTRUCTIONS };
    struct replay *r;
    int rc = replay_new(&c, &r, e);
    if (rc)
        return rc;
    fill(r, world);
    rc = replay_run(r, SIM_FOREVER, e);
    replay_result(r, &ret->result);
    if (log)
        strbuf_add(log, replay_log(r));
    replay_free(r);
    return rc;
}

static int judge(const char *where, const struct rehearsal *r, struct error *e)
{
    const struct policies_stats *s = &r->result.policy;
    if (s->errors + s->budget + s->memory + s->invalid + s->ejections == 0)
        return 0;
    return error_set(e, ERR_CONFIG, "rehearsal %s: %.180s", where,
                     r->first_error[0] ? r->first_error : "an answer broke a rule, or nobody was served");
}

int rehearse_file(void *unused, const struct config_policy *f, struct error *e)
{
    int rc = 0;
    for (unsigned w = 0; !rc && w < REHEARSE_WORLDS; w++) {
        struct rehearsal r;
        char where[8];
        snprintf(where, sizeof(where), "%u", w + 1);
        rc = rehearse_world(f, w, POLICY_PAIRS_SORTED, &r, NULL, e);
        rc = rc ? rc : judge(where, &r, e);
    }
    return rc;
}

/* ---- recorded traffic ---- */

void *rehearse_traffic(str trace)
{
    struct sim_trace *t = mem_zalloc(sizeof(*t));
    if (sim_trace_parse(trace, t, NULL) == 0) {
        if (t->n_requests > 0)
            return t;
        sim_trace_fini(t);
    }
    free(t);
    return NULL;
}

void rehearse_traffic_free(void *traffic)
{
    if (traffic)
        sim_trace_fini(traffic);
    free(traffic);
}

static int on_traffic(const struct sim_trace *t, const struct config_policy *f, struct error *e)
{
    struct rehearsal r = { 0 };
    struct config_policy own = harmless(f);
    /* Under serial a policy may only watch; asked all the same, it shows what is wrong with it. */
    struct replay_conf c = { .kind = t->kind, .serial_reorder = true, .seed = 7, .files = &own, .n_files = 1,
                             .pairs = POLICY_PAIRS_SORTED, .log = keep_first, .log_ud = &r,
                             .instructions = REHEARSE_INSTRUCTIONS };
    struct replay *run;
    int rc = sim_trace_replay(t, &c, &run, e);
    if (rc)
        return rc;
    rc = replay_run(run, SIM_FOREVER, e);
    replay_result(run, &r.result);
    replay_free(run);
    return rc ? rc : judge("on recorded traffic", &r, e);
}

static uint64_t hash_of(const struct config_policy *f)
{
    struct config_policy own = harmless(f);
    struct policy_host host = { 0 };
    struct policies_conf c = { .files = &own, .n_files = 1, .scheduler = "fifo", .seed = 7, .virtual_time = true, .no_gpu = true,
                               .host = &host };
    struct policies *ps;
    if (policies_new(&c, false, 0, &ps, NULL) < 0)
        return 0;
    uint64_t hash = policies_hash(ps, f->file);
    policies_free(ps);
    return hash;
}

int rehearse_run(void *traffic, const struct config_policy *f, uint64_t known, struct error *e)
{
    if (known != 0 && hash_of(f) == known)
        return 0;
    int rc = rehearse_file(NULL, f, e);
    if (!rc && traffic)
        rc = on_traffic(traffic, f, e);
    return rc;
}
