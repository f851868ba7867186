/* record.c: see record.h. Reasons are in record_why.c, traces in record_text.c, files in record_file.c. */
#include "proxy/record.h"

#include "base/check.h"
#include "codec/http_write.h"
#include "proxy/model.h"
#include "proxy/server.h"
#include "sched/view.h"

#include <stdio.h>

#define GPU_LOOK_MS 5000

static msec now_of(const struct recorder *r)
{
    return io_loop_now(r->srv->loop);
}

/* --- names: models come and go with reloads, what is said about them stays --- */

static uint32_t name_of(struct recorder *r, str id)
{
    uintptr_t have = (uintptr_t)map_get(&r->by_name, id);
    if (have)
        return (uint32_t)have - 1;
    if (r->n_models == RECORD_MODELS)
        return RECORD_NAME_NONE;
    if (r->n_models == r->cap_models) {
        r->cap_models = r->cap_models ? r->cap_models * 2 : 16;
        r->models = mem_resize(r->models, r->cap_models, sizeof *r->models);
    }
    char *copy = mem_resize(NULL, id.len + 1, 1);
    if (id.len)
        memcpy(copy, id.ptr, id.len);
    copy[id.len] = '\0';
    struct strbuf json = STRBUF(id.len * 6 + 16); /* \u00XX at worst */
    strbuf_add_json(&json, id);
    struct record_model *m = &r->models[r->n_models++];
    *m = (struct record_model){ .name = { copy, id.len }, .json = strbuf_str(&json), .since = now_of(r) };
    (void)map_set(&r->by_name, m->name, (void *)(uintptr_t)r->n_models);
    return (uint32_t)r->n_models - 1;
}

/* By slot, which is nearly always the same name as last time. */
static uint32_t name_of_slot(struct recorder *r, model_id m, str id)
{
    if (m < r->n_slots) {
        uint32_t n = r->slots[m];
        if (n != RECORD_NAME_NONE && str_eq(r->models[n].name, id))
            return n;
    } else if (m < RECORD_MODELS) {
        size_t want = m + 16;
        r->slots = mem_resize(r->slots, want, sizeof *r->slots);
        while (r->n_slots < want)
            r->slots[r->n_slots++] = RECORD_NAME_NONE;
    }
    uint32_t n = name_of(r, id);
    if (m < r->n_slots)
        r->slots[m] = n;
    return n;
}

static uint32_t name_in(struct recorder *r, const struct sched *s, model_id m)
{
    const struct smodel *sm = view_model(s, m);
    return sm ? name_of_slot(r, m, sm->conf.id) : RECORD_NAME_NONE;
}

static struct record_model *model_at(struct recorder *r, uint32_t n)
{
    return n < r->n_models ? &r->models[n] : NULL;
}

str record_model_name(const struct recorder *r, uint32_t name)
{
    return name < r->n_models ? r->models[name].name : STR_NONE;
}

int64_t record_unix_ms(const struct recorder *r, msec t)
{
    return r->t0_unix_ms + (t - r->t0);
}

/* --- decisions and facts --- */

const char *decision_name(enum decision_kind k)
{
    static const char *const names[] = { "grant", "load", "loaded", "load_failed", "unload", "crash", "refuse", "forced", "stall",
                                         "invalid" };
    return (unsigned)k < ARRAY_LEN(names) ? names[k] : "?";
}

const char *record_fate_name(enum record_fate f)
{
    static const char *const names[] = { "waiting", "serving", "served", "refused", "cancelled", "broken" };
    return (unsigned)f < ARRAY_LEN(names) ? names[f] : "?";
}

static struct decision_record *decide(struct recorder *r, enum decision_kind kind, uint32_t model, uint64_t request)
{
    struct decision_record *d = &r->decisions[r->n_decisions++ % RECORD_DECISIONS];
    d->kind = kind;
    d->at = now_of(r);
    d->took = -1;
    d->model = model;
    d->request = request;
    d->swap = 0;
    d->text[0] = '\0';
    return d;
}

static void fact(struct recorder *r, enum record_fact_kind kind, uint32_t model, msec took)
{
    struct record_fact *f = &r->facts[r->n_facts++ % RECORD_FACTS];
    *f = (struct record_fact){ .kind = kind, .at = now_of(r), .took = took, .model = model };
    if (r->file)
        record_file_fact(r, f);
}

void record_unload(struct recorder *r, const model_id *models, size_t n)
{
    if (!r || r->srv->phase != SERVER_RUNNING)
        return;
    if (n == 0)
        fact(r, FACT_UNLOAD, RECORD_NAME_NONE, 0);
    for (size_t i = 0; i < n; i++)
        fact(r, FACT_UNLOAD, name_in(r, r->srv->dispatch.sched, models[i]), 0);
}

void record_preload(struct recorder *r, model_id m)
{
    fact(r, FACT_PRELOAD, name_in(r, r->srv->dispatch.sched, m), 0);
}

/* Memory that others use on our GPUs, where somebody watches them (policies): policies decide by it. */
static void look_at_gpus(struct recorder *r)
{
    const struct policy_host *h = &r->srv->policy.host;
    struct policy_gpu rows[16];
    if (!h->gpu || now_of(r) - r->gpu_at < GPU_LOOK_MS)
        return;
    double mb = 0;
    size_t n = h->gpu(h->ud, rows, ARRAY_LEN(rows));
    for (size_t i = 0; i < n; i++)
        mb += rows[i].foreign_mb;
    r->gpu_at = now_of(r);
    if (mb >= 0 && mb < 1e9 && (msec)mb / 64 != r->foreign_mb / 64) {
        r->foreign_mb = (msec)mb;
        fact(r, FACT_FOREIGN, RECORD_NAME_NONE, (msec)mb);
    }
}

/* --- what the scheduler tells --- */

static struct record *live(struct recorder *r, ticket_id t)
{
    struct request *req = dispatch_request(&r->srv->dispatch, t);
    return req ? req->record : NULL;
}

static void swap_begins(struct recorder *r, const struct sched *s, const struct swap *sw)
{
    uint32_t name = name_in(r, s, sw->target);
    if (name >= r->n_models)
        return;
    const struct ticket *owner = list_empty(&sw->waiters) ? NULL : LIST_ENTRY(sw->waiters.next, struct ticket, link);
    struct request *req = owner ? dispatch_request(&r->srv->dispatch, owner->id) : NULL;
    struct record_swap now = { .id = sw->id, .began = s->now, .started = MSEC_NEVER, .ready = MSEC_NEVER,
                               .owner = req ? req->id : 0, .preload = sw->by == SWAP_BY_PRELOAD };
    struct decision_record *d = decide(r, DECISION_LOAD, name, now.owner);
    struct strbuf text = STRBUF(sizeof d->text - 1);
    d->swap = sw->id;
    for (size_t i = 0; i < sw->n_evict; i++) {
        const struct smodel *v = view_model(s, sw->evict[i]);
        if (!v || !model_alive(v))
            continue;
        uint32_t victim = name_of_slot(r, sw->evict[i], v->conf.id);
        if (victim < r->n_models)
            r->models[victim].evictions++;
        if (now.n_evicted < RECORD_EVICTED)
            now.evicted[now.n_evicted++] = victim;
        strbuf_add(&text, text.len ? S(", ") : S("stops "));
        strbuf_add(&text, v->conf.id);
    }
    snprintf(d->text, sizeof d->text, STR_FMT, STR_ARG(strbuf_str(&text)));
    strbuf_fini(&text);
    r->models[name].now = now; /* the table may have moved meanwhile */
}

static void swap_ends(struct recorder *r, const struct sched *s, const struct sched_note *n)
{
    uint32_t name = name_in(r, s, n->swap->target);
    struct record_model *m = model_at(r, name);
    if (!m || m->now.id != n->swap->id)
        return;
    struct decision_record *d = decide(r, n->code ? DECISION_LOAD_FAILED : DECISION_LOADED, name, m->now.owner);
    d->swap = n->swap->id;
    d->took = s->now - m->now.began;
    if (n->code)
        snprintf(d->text, sizeof d->text, "%s", n->text ? n->text : "");
    else
        m->now.ready = s->now;
    m->last = m->now;
    m->now = (struct record_swap){ 0 };
}

static void state_changes(struct recorder *r, const struct sched *s, const struct sched_note *n)
{
    uint32_t name = name_in(r, s, n->model);
    struct record_model *m = model_at(r, name);
    if (!m)
        return;
    msec took = s->now - m->since;
    m->since = s->now;
    if (n->new == MODEL_STARTING && m->now.id && m->now.started == MSEC_NEVER)
        m->now.started = s->now;
    if (n->old == MODEL_STARTING && n->new == MODEL_READY) {
        m->loads++;
        m->load_sum += took;
        fact(r, FACT_LOAD, name, took);
    } else if (n->old == MODEL_STARTING && n->new == MODEL_STOPPED) {
        m->load_failures++;
        fact(r, FACT_LOAD_FAILED, name, took);
    } else if (n->old == MODEL_STOPPING && n->new == MODEL_STOPPED) {
        m->stops++;
        m->stop_sum += took;
        fact(r, FACT_STOP, name, took);
    } else if (n->old == MODEL_READY && n->new == MODEL_STOPPED) {
        m->crashes++;
        fact(r, FACT_CRASH, name, took);
        decide(r, DECISION_CRASH, name, 0);
    }
}

static void on_note(void *ctx, const struct sched *s, const struct sched_note *n)
{
    struct recorder *r = ctx;
    const struct record *k = n->ticket ? live(r, n->ticket->id) : NULL;
    struct decision_record *d;
    switch (n->kind) {
    case NOTE_SWAP_START: swap_begins(r, s, n->swap); return;
    case NOTE_SWAP_DONE: swap_ends(r, s, n); return;
    case NOTE_MODEL: state_changes(r, s, n); return;
    case NOTE_UNLOAD: d = decide(r, DECISION_UNLOAD, name_in(r, s, n->model), 0); break;
    case NOTE_INVALID: d = decide(r, DECISION_INVALID, name_in(r, s, n->model), k ? k->id : 0); break;
    case NOTE_STALL: d = decide(r, DECISION_STALL, RECORD_NAME_NONE, 0); break;
    case NOTE_OVERRIDE: d = decide(r, DECISION_FORCED, k ? k->model : RECORD_NAME_NONE, k ? k->id : 0); break;
    default: return;
    }
    snprintf(d->text, sizeof d->text, "%s", n->text ? n->text : "");
}

/* --- requests --- */

/* A key is known by a keyed hash that nobody else can compute; a number stands for it in traces. */
static uint32_t hashed(const struct request *req, str v)
{
    uint32_t h = v.len ? (uint32_t)str_hash(v, req->srv->key_seed) : 0;
    return v.len && h == 0 ? 1 : h;
}

void record_begin(struct request *req)
{
    struct recorder *r = req->srv->record;
    const struct http_head *h = http_req_head(req->http);
    if (!r || r->cap == 0)
        return;
    if (req->record) { /* a policy has it tried again */
        req->record->ticket = req->ticket;
        req->record->released = MSEC_NEVER;
        return;
    }
    struct record *k = req->record = ARENA_NEW(http_req_arena(req->http), struct record);
    k->id = req->id;
    k->ticket = req->ticket;
    k->model = req->model ? name_of_slot(r, req->model->id, req->model->name) : RECORD_NAME_NONE;
    k->arrived = now_of(r);
    k->granted = k->regranted = k->released = k->ended = MSEC_NEVER;
    k->path = record_path(h->path);
    k->stream = req->streaming;
    k->side = req->side;
    k->tokens_in = req->body.len ? (int64_t)(req->body.len / 4) : -1;
    k->deadline_s = req->policy_info ? req->policy_info->deadline_s : -1;
    str auth = http_value(h, HDR_AUTHORIZATION);
    k->key = hashed(req, auth.len ? auth : http_value(h, HDR_X_API_KEY));
    for (size_t i = 0; i < req->cfg->n_session_id && !k->session; i++) {
        const struct http_header *s = http_find_name(h, req->cfg->session_id[i]);
        k->session = s ? hashed(req, s->value) : 0;
    }
}

void record_waits(struct request *req)
{
    struct record *k = req->record;
    struct recorder *r = req->srv->record;
    if (!k || k->first.kind != WAIT_NONE)
        return;
    size_t waiting = sched_waiting(req->srv->dispatch.sched);
    k->ticket = req->ticket;
    k->ahead = waiting > 0 ? (uint32_t)waiting - 1 : 0;
    k->grants_then = r->grants;
    k->priority = req->has_policy_priority ? req->policy_priority : 0;
    k->first = record_reason(req);
}

static void note_swap(const struct recorder *r, struct record *k)
{
    if (k->model >= r->n_models)
        return;
    const struct record_model *m = &r->models[k->model];
    if (m->now.id)
        k->swap = m->now;
    else if (m->last.id && m->last.ready != MSEC_NEVER && m->last.ready >= k->arrived)
        k->swap = m->last;
}

void record_granted(struct request *req)
{
    struct record *k = req->record;
    struct recorder *r = req->srv->record;
    if (!k)
        return;
    msec now = now_of(r);
    k->fate = RECORD_ACTIVE;
    k->model = name_of_slot(r, req->model->id, req->model->name); /* a selector may have changed it */
    k->regranted = now;
    if (k->granted == MSEC_NEVER) {
        k->granted = now;
        k->served_before = k->first.kind != WAIT_NONE ? (uint32_t)(r->grants - k->grants_then) : 0;
        r->wait_ms_sum += (uint64_t)(now - k->arrived);
    }
    r->grants++;
    note_swap(r, k);
    decide(r, DECISION_GRANT, k->model, k->id)->took = now - k->arrived;
}

void record_released(struct request *req)
{
    struct record *k = req->record;
    if (k && k->released == MSEC_NEVER)
        k->released = now_of(req->srv->record);
}

void record_refused(struct request *req, const char *text)
{
    struct record *k = req->record;
    struct recorder *r = req->srv->record;
    if (!k || k->fate >= RECORD_SERVED)
        return;
    record_released(req);
    if (k->granted == MSEC_NEVER) /* it left the line now */
        note_swap(r, k);
    k->fate = RECORD_REFUSED;
    k->refusal = arena_dup(http_req_arena(req->http), str_c(text)).ptr;
    struct decision_record *d = decide(r, DECISION_REFUSE, k->model, k->id);
    snprintf(d->text, sizeof d->text, "%s", text);
}

void record_turned_away(struct request *req, const char *policy, const char *text)
{
    char why[320];
    if (!req->record)
        record_begin(req);
    snprintf(why, sizeof why, "%s%s%s%s", policy[0] ? "by policy " : "", policy, policy[0] ? ": " : "", text);
    record_refused(req, why);
}

void record_ended(struct request *req, bool whole)
{
    struct record *k = req->record;
    struct recorder *r = req->srv->record;
    if (!k || k->ended_once)
        return;
    k->ended_once = true;
    record_released(req);
    k->ended = now_of(r);
    k->status = http_req_status(req->http);
    if (k->fate == RECORD_WAITS)
        note_swap(r, k);
    if (k->fate == RECORD_WAITS && whole && k->status >= 400) { /* a policy, or a person */
        k->fate = RECORD_REFUSED;
        k->refusal = "refused before its turn came";
    } else if (k->fate == RECORD_WAITS) {
        k->fate = RECORD_LEFT;
    } else if (k->fate == RECORD_ACTIVE) {
        k->fate = req->upstream_done ? RECORD_SERVED : whole || req->cut ? RECORD_BROKEN : RECORD_LEFT;
    }
    look_at_gpus(r);
    r->fates[k->fate]++;
    r->by_status[k->status >= 100 && k->status < 600 ? k->status / 100 : 0]++;
    if (k->regranted != MSEC_NEVER)
        r->serve_ms_sum += (uint64_t)(k->released - k->regranted);
    if (r->cap > 0) { /* a reload may have switched the memory off meanwhile */
        struct record *slot = &r->ring[r->n++ % r->cap];
        free((void *)(uintptr_t)slot->refusal);
        *slot = *k;
        slot->refusal = k->refusal ? mem_strdup(k->refusal) : NULL;
    }
    if (r->file)
        record_file_add(r, k);
    req->record = NULL;
}

void record_header(const struct request *req, struct strbuf *head)
{
    if (req->record)
        http_head_addu(head, S("X-Luaswap-Request"), req->id);
}

const struct record *record_find(const struct recorder *r, uint64_t id)
{
    static const enum req_state states[] = { REQ_QUEUED, REQ_SEND, REQ_STREAM, REQ_FLUSH, REQ_REPLY };
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        for (struct list *it = r->srv->by_state[states[i]].next; it != &r->srv->by_state[states[i]]; it = it->next) {
            const struct request *req = LIST_ENTRY(it, struct request, node);
            if (req->id == id)
                return req->record;
        }
    uint64_t have = r->n < r->cap ? r->n : r->cap;
    for (uint64_t i = 1; i <= have; i++)
        if (r->ring[(r->n - i) % r->cap].id == id)
            return &r->ring[(r->n - i) % r->cap];
    return NULL;
}

/* --- life --- */

/* Another size: the newest records that fit are kept. */
static void resize(struct recorder *r, size_t cap)
{
    if (cap == r->cap)
        return;
    struct record *ring = cap ? mem_calloc(cap, sizeof *ring) : NULL;
    uint64_t have = r->n < r->cap ? r->n : r->cap, keep = have < cap ? have : cap;
    for (uint64_t i = 0; i < have; i++) {
        const struct record *k = &r->ring[(r->n - have + i) % r->cap];
        if (i < have - keep)
            free((void *)(uintptr_t)k->refusal);
        else
            ring[i - (have - keep)] = *k;
    }
    free(r->ring);
    r->ring = ring;
    r->cap = cap;
    r->n = keep;
}

struct recorder *record_new(struct server *srv)
{
    struct wall w = clock_wall();
    struct recorder *r = mem_zalloc(sizeof *r);
    r->srv = srv;
    r->t0 = io_loop_now(srv->loop);
    r->t0_unix_ms = w.sec * 1000 + w.nsec / 1000000;
    map_init(&r->by_name);
    sched_observe(srv->dispatch.sched,
                  1u << NOTE_SWAP_START | 1u << NOTE_SWAP_DONE | 1u << NOTE_MODEL | 1u << NOTE_UNLOAD | 1u << NOTE_INVALID |
                      1u << NOTE_STALL | 1u << NOTE_OVERRIDE,
                  on_note, r);
    record_reconf(r);
    return r;
}

void record_reconf(struct recorder *r)
{
    resize(r, (size_t)r->srv->cfg->recording.requests);
    record_file_reconf(r);
}

void record_stop(struct recorder *r)
{
    if (r)
        record_file_stop(r);
}

void record_fini(struct recorder *r)
{
    if (!r)
        return;
    sched_observe(r->srv->dispatch.sched, 0, NULL, NULL);
    record_file_fini(r);
    for (size_t i = 0; i < r->n_models; i++) {
        free((void *)(uintptr_t)r->models[i].name.ptr);
        free((void *)(uintptr_t)r->models[i].json.ptr);
    }
    resize(r, 0);
    free(r->models);
    free(r->slots);
    map_fini(&r->by_name);
    free(r);
}
