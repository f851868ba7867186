#include "sim/trace_check.h"

#include "sched/ops.h"

#include <stdio.h>

enum want { W_NUMBER, W_TEXT, W_BOOL, W_LIST, W_OBJECT };

struct member {
    const char *kind, *name;
    enum want want;
    double lo, hi;
    bool needed;
    const char *hint; /* what to write */
};

static const struct member members[] = {
    { "world", "gpu", W_LIST, 0, 0, false, "a list such as [{\"total_mb\":24000}]" },
    { "world", "scheduler", W_TEXT, 0, 0, false, "serial or fifo" },
    { "world", "start", W_TEXT, 0, 0, false, "a time such as 2026-08-01T08:00:00+02:00" },
    { "world", "groups", W_LIST, 0, 0, false, "a list such as [{\"id\":\"big\",\"swap\":true}]" },
    { "world", "reorder", W_BOOL, 0, 0, false, "true or false" },
    { "model", "id", W_TEXT, 0, 0, true, "the model's name" },
    { "model", "load_s", W_NUMBER, 0, 1e6, false, "seconds from 0 to 1000000" },
    { "model", "stop_s", W_NUMBER, 0, 1e6, false, "seconds from 0 to 1000000" },
    { "model", "vram_mb", W_NUMBER, 0, 1e9, false, "MB, 0 when unknown" },
    { "model", "limit", W_NUMBER, 0, 1e9, false, "requests at once, 0 for no limit" },
    { "model", "priority", W_NUMBER, -1e6, 1e6, false, "a whole number" },
    { "model", "ttl_s", W_NUMBER, 0, 1e9, false, "seconds, 0 for never" },
    { "model", "pinned", W_BOOL, 0, 0, false, "true or false" },
    { "model", "preemptible", W_BOOL, 0, 0, false, "true or false" },
    { "model", "meta", W_OBJECT, 0, 0, false, "an object" },
    { "req", "t", W_NUMBER, 0, 1e9, true, "seconds since the start of the trace" },
    { "req", "model", W_TEXT, 0, 0, true, "the id of a model line" },
    { "req", "id", W_NUMBER, 0, 9007199254740992.0, false, "a whole number" },
    { "req", "serve_s", W_NUMBER, 0, 1e9, false, "seconds of service, or leave it out for the mean of its model" },
    { "req", "tokens_in", W_NUMBER, -1, 1e12, false, "a count" },
    { "req", "tokens_out", W_NUMBER, -1, 1e12, false, "a count" },
    { "req", "cancel_t", W_NUMBER, 0, 1e9, false, "seconds since the start of the trace, or null" },
    { "req", "priority", W_NUMBER, -1e9, 1e9, false, "a whole number" },
    { "req", "deadline", W_NUMBER, 0, 1e9, false, "seconds that it may take in all" },
    { "req", "key", W_TEXT, 0, 0, false, "a number in quotes or a made-up name, never the key" },
    { "req", "session", W_TEXT, 0, 0, false, "a made-up name" },
    { "req", "stream", W_BOOL, 0, 0, false, "true or false" },
    { "fact", "t", W_NUMBER, 0, 1e9, true, "seconds since the start of the trace" },
    { "fact", "foreign_mb", W_NUMBER, 0, 1e9, false, "MB that others use" },
    { "fact", "crash", W_TEXT, 0, 0, false, "the id of a model line" },
    { "fact", "preload", W_TEXT, 0, 0, false, "the id of a model line" },
};
static const char *const kinds[] = { "world", "model", "req", "fact", "measure" };

static int wrong(struct error *e, const char *kind, const struct member *m)
{
    return error_set(e, ERR_SYNTAX, "%s: %s must be %s", kind, m->name, m->hint);
}

static int check_kind(json v, str *ret, struct error *e)
{
    json kind = json_get(v, S("kind"));
    if (json_kind(v) != JSON_OBJECT)
        return error_set(e, ERR_SYNTAX, "a line is an object, such as {\"kind\":\"req\",\"t\":1.5,\"model\":\"a\",\"serve_s\":3}");
    *ret = json_str(kind);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(*ret, str_c(kinds[i])))
            return 0;
    if (json_kind(kind) == JSON_NONE)
        return error_set(e, ERR_SYNTAX, "kind is missing: world, model, req, fact or measure");
    return error_set(e, ERR_SYNTAX, "kind \"%.*s\": it is world, model, req, fact or measure", (int)(ret->len < 40 ? ret->len : 40),
                     ret->ptr ? ret->ptr : "");
}

static bool fits(json x, const struct member *m)
{
    switch (m->want) {
    case W_NUMBER: return json_kind(x) == JSON_NUMBER && json_num(x, -1e300) >= m->lo && json_num(x, 1e300) <= m->hi;
    case W_TEXT: return json_kind(x) == JSON_STRING && (!m->needed || json_str(x).len > 0);
    case W_LIST: return json_kind(x) == JSON_ARRAY;
    case W_OBJECT: return json_kind(x) == JSON_OBJECT;
    default: return json_kind(x) == JSON_BOOL;
    }
}

static int check_world(json v, struct error *e)
{
    double version = json_num(json_get(v, S("v")), 1);
    enum sched_kind kind;
    json scheduler = json_get(v, S("scheduler"));
    if (version > 1)
        return error_set(e, ERR_SYNTAX, "version %.0f of a trace; this luaswap reads version 1", version);
    if (json_kind(scheduler) == JSON_STRING && !sched_kind_of(json_str(scheduler), &kind))
        return error_set(e, ERR_SYNTAX, "world: scheduler must be serial or fifo");
    for (json g = json_first(json_get(v, S("gpu"))); json_kind(g) != JSON_NONE; g = json_next(g))
        if (!(json_num(json_get(g, S("total_mb")), -1) >= 0))
            return error_set(e, ERR_SYNTAX, "world: each gpu needs total_mb, a number of MB");
    return 0;
}

int trace_line_check(json v, struct error *e)
{
    str kind = STR_NONE;
    int rc = check_kind(v, &kind, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const struct member *m = &members[i];
        if (!str_eq(kind, str_c(m->kind)))
            continue;
        json x = json_get(v, str_c(m->name));
        bool absent = json_kind(x) == JSON_NONE || json_kind(x) == JSON_NULL;
        if (absent ? m->needed : !fits(x, m))
            return wrong(e, m->kind, m);
    }
    return str_eq(kind, S("world")) ? check_world(v, e) : 0;
}
