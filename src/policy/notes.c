/* Notes: what happened, told to every policy that listens; and what the dispatcher says of the row itself. */
#include "policy/priv.h"

#include <stdio.h>

static int push_note(lua_State *L, struct call *c)
{
    switch (c->hook) {
    case POLICY_ON_SWAP_START:
    case POLICY_ON_SWAP_DONE: view_push_swap(L, c->p, c->note->swap, c->note); return 1;
    case POLICY_ON_MODEL:
        view_push_model(L, c->p, c->model);
        lua_pushstring(L, c->text);
        lua_pushstring(L, c->text2);
        return 3;
    case POLICY_ON_UNLOAD:
        view_push_model(L, c->p, c->model);
        lua_pushstring(L, c->text);
        return 2;
    default: view_push_request(L, c->p, c->req); return 1;
    }
}

void ops_deliver(struct policies *ps, enum policy_hook h, struct preq *r, const struct sched_note *n, model_id m,
                 const char *text, const char *text2)
{
    if (!(ps->face.wants & 1u << h))
        return;
    for (size_t i = 0; i < ps->n; i++) {
        if (!(ps->at[i]->present & 1u << h))
            continue;
        struct call c = { .hook = h, .push = push_note, .req = r, .note = n, .model = m, .text = text, .text2 = text2 };
        gate_call(ps->at[i], &c);
    }
}

/* A record without the proxy's knowledge ends with its note. */
static void note_end(struct policies *ps, struct preq *r)
{
    r->live = NULL;
    r->ended_note = true;
    if (!r->known)
        preq_free(ps, r);
}

static void note_request(struct policies *ps, const struct sched_note *n)
{
    static const uint32_t told = 1u << POLICY_ON_SERVE_START | 1u << POLICY_ON_SERVE_DONE | 1u << POLICY_ON_CANCEL;
    if (!(ps->face.wants & told)) { /* nobody listens */
        struct preq *known = n->kind == NOTE_SERVE_START ? NULL : preq_find(ps, n->ticket->id);
        if (known)
            note_end(ps, known);
        return;
    }
    struct preq *r = preq_get(ps, n->ticket);
    r->live = view_ticket(ps->sched, n->ticket->id);
    switch (n->kind) {
    case NOTE_SERVE_START:
        r->granted = ps->now;
        ops_deliver(ps, POLICY_ON_SERVE_START, r, n, n->model, NULL, NULL);
        r->live = NULL;
        return;
    case NOTE_SERVE_DONE:
        r->done = true;
        r->granted = n->ticket->granted;
        ops_deliver(ps, POLICY_ON_SERVE_DONE, r, n, n->model, NULL, NULL);
        break;
    default:
        snprintf(r->cause, sizeof(r->cause), "%s", n->code == 0 ? "client gone" : n->text ? n->text : err_text(n->code));
        ops_deliver(ps, POLICY_ON_CANCEL, r, n, n->model, NULL, NULL);
        break;
    }
    note_end(ps, r);
}

/* The dispatcher refused an answer: whose was it? */
static void note_invalid(struct policies *ps, const char *text)
{
    enum policy_hook h = strncmp(text, "plan_swap", 9) == 0 ? POLICY_PLAN_SWAP : POLICY_PICK_NEXT;
    struct policy *p = ops_owner(ps, h);
    if (!p)
        return;
    p->stats[h].invalid++;
    char msg[200];
    snprintf(msg, sizeof(msg), "%s.%s", p->name, text);
    if (p->n_last > 0)
        ops_note_decision(ps, p, h, 'f', 0, MODEL_NONE, "%s", text);
    eject_strike(p, h, V_INVALID, msg);
}

void ops_note(void *ctx, const struct sched *s, const struct sched_note *n)
{
    struct policies *ps = ctx;
    ps->now = s->now;
    switch (n->kind) {
    case NOTE_SERVE_START:
    case NOTE_SERVE_DONE:
    case NOTE_CANCEL: note_request(ps, n); break;
    case NOTE_SWAP_START: ops_deliver(ps, POLICY_ON_SWAP_START, NULL, n, n->model, NULL, NULL); break;
    case NOTE_SWAP_DONE: ops_deliver(ps, POLICY_ON_SWAP_DONE, NULL, n, n->model, NULL, NULL); break;
    case NOTE_MODEL:
        ops_deliver(ps, POLICY_ON_MODEL, NULL, n, n->model, model_state_name(n->new), model_state_name(n->old));
        break;
    case NOTE_UNLOAD: {
        bool ours = n->model < ps->n_models && ps->models[n->model].unload_by[0];
        if (ours)
            ps->models[n->model].unload_by[0] = '\0';
        if (n->model < ps->n_models)
            ps->models[n->model].stop_by_policy = ours;
        ops_deliver(ps, POLICY_ON_UNLOAD, NULL, n, n->model, ours ? "policy" : n->text, NULL);
        break;
    }
    case NOTE_INVALID: note_invalid(ps, n->text); break;
    case NOTE_STALL: {
        struct policy *p = ps->holder;
        char msg[200];
        snprintf(msg, sizeof(msg), "held an idle machine for more than %.1f s, %zu requests waiting",
                 (double)s->hold_limit_ms / 1000, sched_waiting(s));
        if (p)
            eject_fatal(p, POLICY_PICK_NEXT, "stall", msg);
        else
            ps->row_stale = true;
        break;
    }
    case NOTE_OVERRIDE: {
        ps->overrides++;
        struct policy *p = ops_owner(ps, POLICY_PICK_NEXT);
        const struct preq *r = preq_find(ps, n->ticket->id);
        if (p)
            p->starve_overrides++;
        ops_note_decision(ps, p, POLICY_PICK_NEXT, 'o', r ? r->id : n->ticket->id, n->model, "waited too long, forced");
        break;
    }
    case NOTE_KINDS: break;
    }
}
