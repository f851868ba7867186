#include "sched/trace.h"

#include "base/check.h"

#include <stdio.h>

/* ---- writing ---- */

static bool add_u(struct strbuf *b, const char *key, uint64_t v)
{
    return strbuf_addf(b, " %s=", key) && strbuf_addu(b, v);
}

static bool add_i(struct strbuf *b, const char *key, int64_t v)
{
    return strbuf_addf(b, " %s=%lld", key, (long long)v);
}

static bool add_model(struct strbuf *b, model_id m)
{
    return m == MODEL_NONE ? strbuf_add(b, S(" model=none")) : add_u(b, "model", m);
}

static bool add_text(struct strbuf *b, str text)
{
    return text.len == 0 ||
           (strbuf_add(b, S(" text=\"")) && strbuf_add_json(b, text) && strbuf_addc(b, '"'));
}

/* Events about several models. */
static bool many(enum sched_ev_kind k)
{
    return k == SCHED_UNLOAD || k == SCHED_RECYCLE;
}

static void event_fields(struct strbuf *b, const struct sched_event *ev)
{
    switch (ev->kind) {
    case SCHED_ARRIVE:
        add_u(b, "ticket", ev->ticket);
        add_model(b, ev->model);
        if (ev->priority)
            add_i(b, "priority", ev->priority);
        if (ev->want_positions)
            add_u(b, "positions", 1);
        if (ev->side)
            add_u(b, "side", 1);
        if (ev->place)
            add_u(b, "place", ev->place);
        break;
    case SCHED_CANCEL:
    case SCHED_DONE:
        add_u(b, "ticket", ev->ticket);
        if (ev->died)
            add_u(b, "died", 1);
        break;
    case SCHED_RETRY:
        add_u(b, "ticket", ev->ticket);
        if (ev->sent)
            add_u(b, "sent", 1);
        break;
    case SCHED_MOVE:
        add_u(b, "ticket", ev->ticket);
        add_model(b, ev->model);
        break;
    case SCHED_MODEL_UP:
    case SCHED_MODEL_DOWN:
    case SCHED_MODEL_DYING:
    case SCHED_MODEL_FAILED:
    case SCHED_MODEL_STUCK:
        add_model(b, ev->model);
        add_u(b, "swap", ev->swap);
        add_text(b, ev->text);
        break;
    case SCHED_UNLOAD:
    case SCHED_RECYCLE:
        add_u(b, "op", ev->op);
        if (ev->grace_ms)
            add_i(b, "grace", ev->grace_ms);
        for (size_t i = 0; ev->models && i < ev->n_models; i++) {
            strbuf_add(b, i == 0 ? S(" models=") : S(","));
            strbuf_addu(b, ev->models[i]);
        }
        if (ev->models && ev->n_models == 0)
            strbuf_add(b, S(" models="));
        break;
    case SCHED_PRELOAD:
        add_model(b, ev->model);
        if (ev->evict)
            add_u(b, "evict", 1);
        break;
    case SCHED_DRAIN:
        if (ev->grace_ms)
            add_i(b, "grace", ev->grace_ms);
        break;
    case SCHED_TICK:
        break;
    }
}

bool trace_event_line(struct strbuf *b, const struct sched_event *ev)
{
    strbuf_add(b, str_c(sched_ev_name(ev->kind)));
    add_i(b, "now", ev->now);
    event_fields(b, ev);
    strbuf_addc(b, '\n');
    return !b->full;
}

bool trace_action_line(struct strbuf *b, const struct sched_action *a)
{
    strbuf_add(b, str_c(sched_act_name(a->kind)));
    switch (a->kind) {
    case SCHED_ADMIT:
        add_u(b, "ticket", a->ticket);
        break;
    case SCHED_REJECT:
        add_u(b, "ticket", a->ticket);
        add_i(b, "code", a->code);
        if (a->status)
            add_i(b, "status", a->status);
        break;
    case SCHED_GRANT:
    case SCHED_MOVED:
    case SCHED_ABORT_SERVE:
        add_u(b, "ticket", a->ticket);
        add_model(b, a->model);
        break;
    case SCHED_START:
    case SCHED_STOP:
        add_model(b, a->model);
        add_u(b, "swap", a->swap);
        if (a->kind == SCHED_STOP)
            add_i(b, "grace", a->grace_ms);
        break;
    case SCHED_POSITION:
        add_u(b, "ticket", a->ticket);
        add_u(b, "n", a->n);
        break;
    case SCHED_WAKE_AT:
        if (a->at == MSEC_NEVER)
            strbuf_add(b, S(" at=never"));
        else
            add_i(b, "at", a->at);
        break;
    case SCHED_UNLOADED:
        add_u(b, "op", a->op);
        add_i(b, "code", a->code);
        break;
    }
    add_text(b, str_c(a->text));
    strbuf_addc(b, '\n');
    return !b->full;
}

/* ---- reading ---- */

static bool kind_of(str word, struct trace_line *l)
{
    for (int k = SCHED_ARRIVE; k <= SCHED_DRAIN; k++) {
        if (str_eq(word, str_c(sched_ev_name((enum sched_ev_kind)k)))) {
            l->is_event = true;
            l->ev.kind = (enum sched_ev_kind)k;
            return true;
        }
    }
    for (int k = SCHED_ADMIT; k <= SCHED_UNLOADED; k++) {
        if (str_eq(word, str_c(sched_act_name((enum sched_act_kind)k)))) {
            l->act.kind = (enum sched_act_kind)k;
            return true;
        }
    }
    return false;
}

static bool read_models(str v, struct trace_line *l)
{
    l->ev.models = l->models;
    l->ev.n_models = 0;
    str item;
    while (v.len > 0 && str_item(&v, ',', &item)) {
        uint64_t id;
        if (l->ev.n_models == ARRAY_LEN(l->models) || !str_to_u64(item, &id) || id >= MODEL_NONE)
            return false;
        l->models[l->ev.n_models++] = (model_id)id;
    }
    return true;
}

static bool fits_int(int64_t v)
{
    return v >= INT32_MIN && v <= INT32_MAX;
}

/* key=value of both kinds of line; a key that means nothing for the kind is harmless. */
static bool set_field(str key, str v, struct trace_line *l)
{
    struct sched_event *ev = &l->ev;
    struct sched_action *a = &l->act;
    if (str_eq(key, S("models")))
        return read_models(v, l);
    if (str_eq(key, S("model")) && str_eq(v, S("none"))) {
        ev->model = a->model = MODEL_NONE;
        return true;
    }
    if (str_eq(key, S("at")) && str_eq(v, S("never"))) {
        a->at = MSEC_NEVER;
        return true;
    }
    int64_t i;
    uint64_t u = 0;
    bool is_u = str_to_u64(v, &u);
    if (str_eq(key, S("ticket"))) {
        ev->ticket = a->ticket = u;
        return is_u;
    }
    if (str_eq(key, S("swap"))) {
        ev->swap = a->swap = u;
        return is_u;
    }
    if (str_eq(key, S("op"))) {
        ev->op = a->op = u;
        return is_u;
    }
    if (str_eq(key, S("model"))) {
        ev->model = a->model = (model_id)u;
        return is_u && u < MODEL_NONE;
    }
    if (str_eq(key, S("place"))) {
        ev->place = u;
        return is_u;
    }
    if (str_eq(key, S("n"))) {
        a->n = (uint32_t)u;
        return is_u && u <= UINT32_MAX;
    }
    if (!str_to_i64(v, &i))
        return false;
    if (str_eq(key, S("now")))
        ev->now = i;
    else if (str_eq(key, S("at")))
        a->at = i;
    else if (str_eq(key, S("grace")))
        ev->grace_ms = a->grace_ms = i;
    else if (str_eq(key, S("positions")))
        ev->want_positions = i != 0;
    else if (str_eq(key, S("side")))
        ev->side = i != 0;
    else if (str_eq(key, S("died")))
        ev->died = i != 0;
    else if (str_eq(key, S("sent")))
        ev->sent = i != 0;
    else if (str_eq(key, S("evict")))
        ev->evict = i != 0;
    else if (!fits_int(i))
        return false;
    else if (str_eq(key, S("priority")))
        ev->priority = (int)i;
    else if (str_eq(key, S("code")))
        a->code = (int)i;
    else if (str_eq(key, S("status")))
        a->status = (int)i;
    else
        return false;
    return true;
}

static int hex4(str s)
{
    int v = 0;
    for (size_t i = 0; i < 4; i++) {
        int d = i < s.len ? chr_hex(s.ptr[i]) : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* The inside of a JSON string up to its quote; what strbuf_add_json writes and no more. False when it does
 * not end or holds something else. */
static bool read_text(str s, struct trace_line *l, str *ret_rest)
{
    size_t n = 0, i = 0;
    for (; i < s.len && s.ptr[i] != '"'; i++) {
        int c = (unsigned char)s.ptr[i];
        if (c == '\\') {
            if (++i == s.len)
                return false;
            static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
            const char *at = s.ptr[i] ? strchr(from, s.ptr[i]) : NULL;
            if (at) {
                c = to[at - from];
            } else if (s.ptr[i] == 'u' && (c = hex4(str_sub(s, i + 1, 4))) >= 0 && c < 0x80) {
                i += 4;
            } else {
                return false;
            }
        }
        if (n + 1 < sizeof(l->text))
            l->text[n++] = (char)c;
    }
    if (i == s.len)
        return false;
    l->text[n] = '\0';
    l->ev.text = str_n(l->text, n);
    memcpy(l->act.text, l->text, n + 1);
    *ret_rest = str_sub(s, i + 1, s.len);
    return true;
}

int trace_parse(str line, struct trace_line *ret, struct error *e)
{
    *ret = (struct trace_line){ .ev.model = MODEL_NONE, .act.model = MODEL_NONE };
    str rest = str_trim(line), word;
    if (rest.len == 0 || rest.ptr[0] == '#')
        return ERR_NOTFOUND;
    str_cut(rest, ' ', &word, &rest);
    if (!kind_of(word, ret))
        return error_set(e, ERR_SYNTAX, "unknown kind of line: " STR_FMT, STR_ARG(word));
    while ((rest = str_trim(rest)).len > 0) {
        if (str_starts(rest, S("text=\""))) {
            if (!read_text(str_sub(rest, 6, rest.len), ret, &rest))
                return error_set(e, ERR_SYNTAX, "bad text in a trace line");
            continue;
        }
        str field, key, value;
        str_cut(rest, ' ', &field, &rest);
        if (!str_cut(field, '=', &key, &value) || !set_field(key, value, ret))
            return error_set(e, ERR_SYNTAX, "bad field in a trace line: " STR_FMT, STR_ARG(field));
    }
    return 0;
}

/* ---- ring ---- */

#define RING_SIZE (4 * TRACE_EVENTS) /* records; an event leads to about two actions */

/* What is shown of one event or action; texts are cut. */
struct record {
    bool is_event, flag, side;
    unsigned char kind;
    model_id model;
    uint64_t a, b; /* ticket or op, swap, place or n */
    msec now, other;
    int code;
    char text[28];
};

struct sched_ring {
    size_t next, len, events;
    struct record rec[RING_SIZE];
};

struct sched_ring *trace_ring_new(void)
{
    return mem_zalloc(sizeof(struct sched_ring));
}

void trace_ring_free(struct sched_ring *r)
{
    free(r);
}

static struct record *push(struct sched_ring *r)
{
    struct record *rec = &r->rec[r->next];
    if (r->len == RING_SIZE && rec->is_event)
        r->events--;
    r->next = (r->next + 1) % RING_SIZE;
    if (r->len < RING_SIZE)
        r->len++;
    return rec;
}

static void keep_text(struct record *rec, str text)
{
    size_t n = text.len < sizeof(rec->text) - 1 ? text.len : sizeof(rec->text) - 1;
    if (n)
        memcpy(rec->text, text.ptr, n);
    rec->text[n] = '\0';
}

void trace_ring_event(struct sched_ring *r, const struct sched_event *ev)
{
    struct record *rec = push(r);
    rec->is_event = true;
    rec->flag = ev->kind == SCHED_ARRIVE ? ev->want_positions
                : many(ev->kind)         ? !ev->models
                : ev->kind == SCHED_RETRY ? ev->sent
                : ev->kind == SCHED_DONE  ? ev->died
                                         : ev->evict;
    rec->side = ev->side;
    rec->kind = (unsigned char)ev->kind;
    rec->model = many(ev->kind) && ev->models && ev->n_models > 0 ? ev->models[0] : ev->model;
    rec->a = many(ev->kind) ? ev->op : ev->ticket;
    rec->b = many(ev->kind) ? ev->n_models : ev->kind == SCHED_ARRIVE ? ev->place : ev->swap;
    rec->now = ev->now;
    rec->other = ev->grace_ms;
    rec->code = ev->priority;
    keep_text(rec, ev->text);
    r->events++;
}

void trace_ring_action(struct sched_ring *r, const struct sched_action *a)
{
    struct record *rec = push(r);
    rec->is_event = false;
    rec->kind = (unsigned char)a->kind;
    rec->model = a->model;
    rec->a = a->kind == SCHED_UNLOADED ? a->op : a->ticket;
    rec->b = a->kind == SCHED_POSITION ? a->n : a->swap;
    rec->other = a->kind == SCHED_WAKE_AT ? a->at : a->grace_ms;
    rec->code = a->code;
    keep_text(rec, str_c(a->text));
}

static void dump_event(const struct record *rec, struct strbuf *b)
{
    struct sched_event ev = { .kind = (enum sched_ev_kind)rec->kind,
                              .now = rec->now,
                              .model = rec->model,
                              .ticket = rec->a,
                              .op = rec->a,
                              .swap = rec->b,
                              .priority = rec->code,
                              .grace_ms = rec->other,
                              .want_positions = rec->flag,
                              .evict = rec->flag,
                              .side = rec->side,
                              .sent = rec->flag,
                              .died = rec->flag,
                              .place = rec->kind == SCHED_ARRIVE ? rec->b : 0,
                              .text = str_c(rec->text) };
    if (many(ev.kind) && !rec->flag) {
        /* Only the first target is kept. */
        ev.models = &rec->model;
        ev.n_models = rec->b > 0 ? 1 : 0;
    }
    trace_event_line(b, &ev);
    if (many(ev.kind) && rec->b > 1)
        strbuf_addf(b, "# and %llu more models\n", (unsigned long long)rec->b - 1);
}

static void dump_action(const struct record *rec, struct strbuf *b)
{
    struct sched_action a = { .kind = (enum sched_act_kind)rec->kind,
                              .model = rec->model,
                              .ticket = rec->a,
                              .op = rec->a,
                              .swap = rec->b,
                              .n = (uint32_t)rec->b,
                              .at = rec->other,
                              .grace_ms = rec->other,
                              .code = rec->code };
    memcpy(a.text, rec->text, sizeof(rec->text));
    strbuf_add(b, S("  "));
    trace_action_line(b, &a);
}

void trace_ring_dump(const struct sched_ring *r, struct strbuf *b)
{
    size_t skip = r->events > TRACE_EVENTS ? r->events - TRACE_EVENTS : 0, seen = 0;
    for (size_t i = 0; i < r->len; i++) {
        const struct record *rec = &r->rec[(r->next + RING_SIZE - r->len + i) % RING_SIZE];
        if (rec->is_event)
            seen++;
        if (seen == 0 || seen <= skip)
            continue; /* older than what is promised, or actions whose event is overwritten */
        if (rec->is_event)
            dump_event(rec, b);
        else
            dump_action(rec, b);
    }
}
