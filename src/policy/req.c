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

static void learn(struct preq *r, const struct policy_request_info *info)
{
    str texts[] = { info->model, info->asked, info->path, info->kind, info->key, info->session, info->client };
    str *to[] = { &r->model_name, &r->asked, &r->path, &r->kind, &r->key, &r->session, &r->client };
    size_t room = 1, n_headers = info->n_headers > 100 ? 100 : info->n_headers;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        room += cut(texts[i]).len + 1;
    for (size_t i = 0; i < n_headers; i++)
        room += cut(info->headers[i].name).len + cut(info->headers[i].value).len + 2;
    char *at = r->text = mem_zalloc(room);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *to[i] = keep(&at, cut(texts[i]));
    if (n_headers)
        r->headers = mem_calloc(n_headers, sizeof(*r->headers));
    r->n_headers = n_headers;
    for (size_t i = 0; i < n_headers; i++) {
        r->headers[i].name = keep(&at, cut(info->headers[i].name));
        r->headers[i].value = keep(&at, cut(info->headers[i].value));
    }
    r->id = info->id;
    r->stream = info->stream;
    r->has_tools = info->has_tools;
    r->has_images = info->has_images;
    r->tokens_in = info->tokens_in;
    r->max_tokens = info->max_tokens;
    r->bytes = info->bytes;
    r->messages = info->messages;
    r->priority = info->priority;
    r->deadline_s = info->deadline_s;
    r->attempt = info->attempt;
    r->arrived = info->arrived;
    r->known = true;
}

struct preq *preq_new(struct policies *ps, ticket_id t, const struct policy_request_info *info)
{
    if (!ps->buckets || ps->n_reqs > ps->mask)
        grow(ps);
    struct preq *r = mem_zalloc(sizeof(*r));
    r->ps = ps;
    r->ticket = t;
    r->uid = ++ps->next_uid;
    r->slot = take_slot(ps);
    r->model = MODEL_NONE;
    r->tokens_in = r->max_tokens = r->bytes = r->messages = r->tokens_out = -1;
    r->deadline_s = r->cost = -1;
    r->attempt = 1;
    if (info)
        learn(r, info);
    struct preq **at = &ps->buckets[bucket_of(ps, t)];
    r->hash_next = *at;
    *at = r;
    ps->n_reqs++;
    return r;
}

void preq_free(struct policies *ps, struct preq *r)
{
    struct preq **at = &ps->buckets[bucket_of(ps, r->ticket)];
    while (*at != r)
        at = &(*at)->hash_next;
    *at = r->hash_next;
    ps->n_reqs--;
    ps->free_slots[ps->n_free++] = r->slot;
    for (size_t i = 0; i < ps->n; i++)
        if (ps->at[i] && ps->at[i]->cur == r)
            ps->at[i]->cur = NULL;
    free(r->text);
    free(r->headers);
    free(r->tags_json);
    free(r);
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
    return r->ps->sched && r->ticket ? view_ticket(r->ps->sched, r->ticket) : NULL;
}
