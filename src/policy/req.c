/* Records of requests: what the proxy told about them, by ticket, for as long as they live. */
#include "policy/priv.h"

#include "base/check.h"

static size_t bucket_of(const struct policies *ps, ticket_id id)
{
    uint64_t x = id * 0x9e3779b97f4a7c15u;
    return (size_t)(x ^ (x >> 32)) & ps->mask;
}

struct preq *preq_find(const struct policies *ps, ticket_id t)
{
    if (ps->hot && ps->hot->ticket == t)
        return ps->hot;
    if (!ps->buckets)
        return NULL;
    struct preq *r = ps->buckets[bucket_of(ps, t)];
    while (r && r->ticket != t)
        r = r->hash_next;
    return r;
}

struct preq *preq_by_id(const struct policies *ps, uint64_t id)
{
    for (size_t i = 0; ps->buckets && i <= ps->mask; i++)
        for (struct preq *r = ps->buckets[i]; r; r = r->hash_next)
            if (r->id == id)
                return r;
    return NULL;
}

static void grow(struct policies *ps)
{
    size_t cap = ps->buckets ? (ps->mask + 1) * 2 : 64, old_cap = ps->buckets ? ps->mask + 1 : 0;
    struct preq **old = ps->buckets;
    ps->buckets = mem_calloc(cap, sizeof(struct preq *));
    ps->mask = cap - 1;
    for (size_t i = 0; i < old_cap; i++) {
        while (old[i]) {
            struct preq *r = old[i];
            old[i] = r->hash_next;
            struct preq **at = &ps->buckets[bucket_of(ps, r->ticket)];
            r->hash_next = *at;
            *at = r;
        }
    }
    free(old);
}

static uint32_t take_slot(struct policies *ps)
{
    if (ps->n_free > 0)
        return ps->free_slots[--ps->n_free];
    ps->free_slots = mem_resize(ps->free_slots, ps->n_slots + 1, sizeof(*ps->free_slots));
    return (uint32_t)++ps->n_slots; /* 1-based: an index of a Lua table */
}

/* Copies into the record's own text. */
static str keep(char **at, str s)
{
    str r = str_n(*at, s.len);
    if (s.len)
        memcpy(*at, s.ptr, s.len);
    (*at)[s.len] = '\0';
    *at += s.len + 1;
    return s.ptr ? r : STR_NONE;
}

#define TEXT_MAX 8192 /* of one header or name; a client chooses their length */

static str cut(str s)
{
    return s.len > TEXT_MAX ? str_sub(s, 0, TEXT_MAX) : s;
}

/* Room in the record's own text. */
static char *text_for(struct preq *r, size_t room)
{
    if (room > r->text_room) {
        free(r->text);
        r->text_room = room < 1024 ? 1024 : room;
        r->text = mem_zalloc(r->text_room);
    }
    return r->text;
}

#define HEADERS_MAX 100

/* All texts of `info` become the record's own. */
static void copy_texts(struct preq *r, const struct policy_request_info *info)
{
    str texts[] = { info->model, info->asked, info->path, info->kind, info->key, info->session, info->client };
    str *to[] = { &r->model_name, &r->asked, &r->path, &r->kind, &r->key, &r->session, &r->client };
    size_t room = 1, n_headers = info->n_headers > HEADERS_MAX ? HEADERS_MAX : info->n_headers;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        room += cut(texts[i]).len + 1;
    for (size_t i = 0; i < n_headers; i++)
        room += cut(info->headers[i].name).len + cut(info->headers[i].value).len + 2;
    room += n_headers * sizeof(*r->headers);
    char *at = text_for(r, room) + n_headers * sizeof(*r->headers);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *to[i] = keep(&at, cut(texts[i]));
    r->headers = (struct policy_header *)(void *)r->text;
    r->n_headers = n_headers;
    for (size_t i = 0; i < n_headers; i++) {
        r->headers[i].name = keep(&at, cut(info->headers[i].name));
        r->headers[i].value = keep(&at, cut(info->headers[i].value));
    }
}

static void copy_facts(struct preq *r, const struct policy_request_info *info, unsigned facts)
{
    if (facts & POLICY_FACT_KIND)
        r->kind = info->kind;
    if (facts & POLICY_FACT_KEY)
        r->key = cut(info->key);
    if (facts & POLICY_FACT_SESSION)
        r->session = cut(info->session);
    if (facts & POLICY_FACT_COUNTS) {
        r->max_tokens = info->max_tokens;
        r->messages = info->messages;
    }
    if (facts & POLICY_FACT_CONTENT) {
        r->has_tools = info->has_tools;
        r->has_images = info->has_images;
    }
}

void preq_find_out(struct preq *r, unsigned facts)
{
    facts &= r->missing;
    r->source->find(r->source, facts);
    r->missing &= ~facts;
    copy_facts(r, r->source->info, facts);
}

/* Its source goes. `keep_texts`: somebody may still ask what it said. */
static void leave_source(struct preq *r, bool keep_texts)
{
    struct policy_source *source = r->source;
    if (!source)
        return;
    if (keep_texts) {
        preq_find_out(r, POLICY_FACT_ALL);
        struct policy_request_info info = *source->info;
        char *text = r->text; /* the name lies in there */
        info.model = r->model_name;
        r->text = NULL;
        r->text_room = 0;
        copy_texts(r, &info);
        free(text);
    } else {
        r->asked = r->path = r->kind = r->key = r->session = r->client = STR_NONE;
    }
    r->missing = 0;
    r->source = NULL;
    source->rec = NULL;
}

/* Texts stay where they are, but for the name: the model it belongs to may go. */
static void bind(struct preq *r, const struct policy_request_info *info)
{
    struct policy_source *s = info->source;
    if (s->rec)
        leave_source(s->rec, true);
    s->rec = r;
    r->source = s;
    r->missing = POLICY_FACT_ALL;
    str model = cut(info->model);
    char *at = text_for(r, model.len + 1);
    r->model_name = keep(&at, model);
    r->asked = cut(info->asked);
    r->path = cut(info->path);
    r->client = info->client;
}

static void learn(struct preq *r, const struct policy_request_info *info)
{
    if (info->source) {
        bind(r, info);
    } else {
        copy_texts(r, info);
        copy_facts(r, info, POLICY_FACT_COUNTS | POLICY_FACT_CONTENT);
    }
    r->id = info->id;
    r->stream = info->stream;
    r->tokens_in = info->tokens_in;
    r->bytes = info->bytes;
    r->priority = info->priority;
    r->deadline_s = info->deadline_s;
    r->attempt = info->attempt;
    r->arrived = info->arrived;
    r->known = true;
}

/* Kept records hide use after free from the sanitizers, so there are none in a build for them. */
#ifdef LUASWAP_DEBUG
#define SPARE_MAX 0
#else
#define SPARE_MAX 64
#endif

/* As new, but for its block of text. */
static void reset(struct policies *ps, struct preq *r)
{
    char *text = r->text;
    size_t room = r->text_room;
    memset(r, 0, offsetof(struct preq, class_buf)); /* not the texts */
    r->class_buf[0] = r->error[0] = r->cause[0] = '\0';
    r->text = text;
    r->text_room = room;
    r->ps = ps;
    r->model = MODEL_NONE;
    r->tokens_in = r->max_tokens = r->bytes = r->messages = r->tokens_out = -1;
    r->deadline_s = r->cost = -1;
    r->attempt = 1;
}

static void enter(struct policies *ps, struct preq *r, ticket_id t)
{
    struct preq **at = &ps->buckets[bucket_of(ps, t)];
    r->ticket = t;
    r->hash_next = *at;
    *at = r;
    ps->hot = r;
}

static void leave(struct policies *ps, struct preq *r)
{
    struct preq **at = &ps->buckets[bucket_of(ps, r->ticket)];
    while (*at != r)
        at = &(*at)->hash_next;
    *at = r->hash_next;
    if (ps->hot == r)
        ps->hot = NULL;
}

struct preq *preq_new(struct policies *ps, ticket_id t, const struct policy_request_info *info)
{
    if (!ps->buckets || ps->n_reqs > ps->mask)
        grow(ps);
    struct preq *r = ps->spare_reqs;
    if (r) {
        ps->spare_reqs = r->hash_next;
        ps->n_spare--;
    } else {
        r = mem_zalloc(sizeof(*r));
    }
    reset(ps, r);
    r->uid = ++ps->next_uid;
    r->slot = take_slot(ps);
    if (info)
        learn(r, info);
    enter(ps, r, t);
    ps->n_reqs++;
    return r;
}

struct preq *preq_succeed(struct policies *ps, struct preq *old, ticket_id t, const struct policy_request_info *info)
{
    if (old->source && old->source == info->source && !old->accepted && !old->again) { /* routed a moment ago */
        leave(ps, old);
        if (!str_eq(old->model_name, info->model)) {
            str model = cut(info->model);
            char *at = text_for(old, model.len + 1);
            old->model_name = keep(&at, model);
        }
        old->priority = info->priority;
        old->deadline_s = info->deadline_s;
        old->attempt = info->attempt;
        old->model = MODEL_NONE;
        old->routed = 0;
        old->body = STR_NONE;
        enter(ps, old, t);
        return old;
    }
    uint32_t slot = old->slot; /* views, and with them ctx, are found by these two */
    uint64_t uid = old->uid;
    char *tags = old->tags_json;
    leave(ps, old);
    leave_source(old, false);
    reset(ps, old);
    old->slot = slot;
    old->uid = uid;
    old->tags_json = tags;
    learn(old, info);
    enter(ps, old, t);
    return old;
}

void preq_free(struct policies *ps, struct preq *r)
{
    leave(ps, r);
    leave_source(r, false);
    ps->n_reqs--;
    ps->free_slots[ps->n_free++] = r->slot;
    for (size_t i = 0; i < ps->n; i++)
        if (ps->at[i] && ps->at[i]->cur == r)
            ps->at[i]->cur = NULL;
    free(r->tags_json);
    r->tags_json = NULL;
    if (ps->n_spare + 1 <= SPARE_MAX && r->text_room <= 4096) {
        r->hash_next = ps->spare_reqs;
        ps->spare_reqs = r;
        ps->n_spare++;
        return;
    }
    free(r->text);
    free(r);
}

void policies_source_end(struct policies *ps, struct policy_source *s)
{
    struct preq *r = s->rec;
    if (!ps || !r)
        return;
    static const uint32_t told = 1u << POLICY_ON_SERVE_DONE | 1u << POLICY_ON_CANCEL;
    const struct ticket *t = ps->face.wants & told ? NULL : preq_ticket(r);
    leave_source(r, (ps->face.wants & told) || (t && t->state == TICKET_QUEUED));
}

struct preq *preq_get(struct policies *ps, const struct ticket *t)
{
    struct preq *r = preq_find(ps, t->id);
    if (!r) {
        r = preq_new(ps, t->id, NULL);
        r->id = t->id;
        r->arrived = t->arrived;
        r->priority = t->priority;
    }
    if (r->model != t->model) {
        r->model = t->model;
        const struct smodel *m = view_model(ps->sched, t->model);
        if (m)
            r->model_name = m->conf.id;
    }
    return r;
}

const struct ticket *preq_ticket(const struct preq *r)
{
    if (r->live)
        return r->live;
    if (r->shown && r->shown_at == r->ps->stamp)
        return r->shown;
    return r->ps->sched && r->ticket ? view_ticket(r->ps->sched, r->ticket) : NULL;
}
