/* Change of the set at work: reconfigure, reload, resume, disable. The new one is complete before the old one goes. */
#include "policy/priv.h"

#include <stdio.h>

/* State of `from` into `to`: as data, then migrate(). */
static int hand_over_state(struct policy *from, struct policy *to, struct error *e)
{
    struct strbuf b = STRBUF(2 * POLICY_STATE_MAX);
    int rc = state_save(from, &b, e);
    if (!rc)
        rc = state_restore(to, strbuf_str(&b), from->version, e);
    strbuf_fini(&b);
    return rc ? error_wrap(e, "%s: state", from->name) : 0;
}

/* Old set out, new set in; back again when on_start of one of them fails. */
static int exchange(struct policies *ps, struct policy **fresh, size_t n, msec now, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        struct policy *old = fresh[i]->name[0] ? policies_find(ps, str_c(fresh[i]->name)) : NULL;
        if (old && old->L && fresh[i]->L && old->state == PS_ACTIVE)
            rc = hand_over_state(old, fresh[i], e);
    }
    if (rc)
        return rc;
    for (size_t i = 0; i < ps->n; i++)
        if (ps->at[i]->state == PS_ACTIVE)
            policy_stop(ps->at[i], "reload", "");
    for (size_t i = 0; i < n; i++) {
        struct policy *old = fresh[i]->name[0] ? policies_find(ps, str_c(fresh[i]->name)) : NULL;
        if (old && old->L && fresh[i]->L && old->state == PS_ACTIVE)
            state_carry_ctx(old, fresh[i]);
    }
    struct policy *before[POLICIES_MAX];
    size_t n_before = ps->n;
    memcpy(before, ps->at, sizeof(before));
    memcpy(ps->at, fresh, n * sizeof(*fresh));
    ps->n = n;
    ops_rebuild(ps);
    for (size_t i = 0; i < n; i++) {
        if (ps->at[i]->state != PS_ACTIVE)
            continue;
        policy_start(ps->at[i], "reload", "");
        if (ps->at[i]->state != PS_ACTIVE)
            rc = error_set(e, ERR_CONFIG, "%s", ps->at[i]->last_error);
    }
    if (rc) {
        memcpy(ps->at, before, sizeof(before));
        ps->n = n_before;
        ops_rebuild(ps);
        for (size_t i = 0; i < ps->n; i++)
            if (ps->at[i]->state == PS_ACTIVE)
                policy_start(ps->at[i], "reload", "");
        ps->row_stale = true;
        return rc;
    }
    for (size_t i = 0; i < n_before; i++) {
        bool kept = false;
        for (size_t k = 0; k < n; k++)
            kept = kept || before[i] == ps->at[k];
        if (!kept) {
            for (size_t a = 0; a < ps->n_pending; a++) /* its last wishes lose their author */
                if (ps->pending[a].by == before[i])
                    ps->pending[a].by = ps->at[0];
            policy_close(before[i]);
        }
    }
    ps->holder = NULL;
    ps->row_stale = true;
    return 0;
}

int policies_reconfigure(struct policies *ps, const struct policies_conf *conf, msec now, struct error *e)
{
    ps->now = now;
    struct policy *fresh[POLICIES_MAX];
    size_t n = 0;
    struct policies_conf old = ps->conf;
    policies_set_conf(ps, conf);
    if (ps->sched)
        policies_fit(ps);
    int rc = policies_load(ps, conf, false, fresh, &n, e);
    if (!rc && (rc = exchange(ps, fresh, n, now, e)) < 0)
        for (size_t i = 0; i < n; i++)
            policy_close(fresh[i]);
    if (rc)
        policies_set_conf(ps, &old);
    policies_settle(ps, now);
    return rc;
}

static int replace_one(struct policies *ps, size_t at, msec now, struct error *e)
{
    struct policy *fresh[POLICIES_MAX], *one;
    struct config_policy conf = ps->at[at]->conf;
    int rc = policy_open(ps, &conf, &one, e);
    if (rc)
        return rc;
    if (ps->host->rehearse && (rc = ps->host->rehearse(ps->host->ud, &conf, e)) < 0) {
        policy_close(one);
        return rc;
    }
    memcpy(fresh, ps->at, sizeof(fresh));
    fresh[at] = one;
    if ((rc = policies_check_claims(fresh, ps->n, e)) < 0) {
        policy_close(one);
        return rc;
    }
    /* Only this one changes hands: the others neither stop nor start. */
    struct policy *old = ps->at[at];
    if (old->L && old->state == PS_ACTIVE && (rc = hand_over_state(old, one, e)) < 0) {
        policy_close(one);
        return rc;
    }
    if (old->state == PS_ACTIVE)
        policy_stop(old, "reload", "");
    if (old->L && old->state == PS_ACTIVE)
        state_carry_ctx(old, one);
    one->index = (unsigned)at;
    one->ejections = old->ejections;
    ps->at[at] = one;
    ops_rebuild(ps);
    policy_start(one, "reload", "");
    if (one->state != PS_ACTIVE) {
        rc = error_set(e, ERR_CONFIG, "%s", one->last_error);
        ps->at[at] = old;
        ops_rebuild(ps);
        if (old->state == PS_ACTIVE)
            policy_start(old, "reload", "");
        policy_close(one);
    } else {
        for (size_t a = 0; a < ps->n_pending; a++)
            if (ps->pending[a].by == old)
                ps->pending[a].by = one;
        policy_close(old);
    }
    ps->holder = NULL;
    ps->row_stale = true;
    return rc;
}

static int index_of(const struct policies *ps, str name, size_t *ret, struct error *e)
{
    for (size_t i = 0; ps && i < ps->n; i++) {
        if (str_eq(str_c(ps->at[i]->name), name)) {
            *ret = i;
            return 0;
        }
    }
    return error_set(e, ERR_NOTFOUND, "no policy \"" STR_FMT "\"", STR_ARG(name));
}

int policies_reload(struct policies *ps, str name, msec now, struct error *e)
{
    size_t i;
    int rc = index_of(ps, name, &i, e);
    if (rc)
        return rc;
    ps->now = now;
    if (ps->at[i]->state == PS_OFF)
        return error_set(e, ERR_CONFIG, "the policy is off in the configuration");
    rc = replace_one(ps, i, now, e);
    policies_settle(ps, now);
    return rc;
}

int policies_resume(struct policies *ps, str name, msec now, struct error *e)
{
    size_t i;
    int rc = index_of(ps, name, &i, e);
    if (rc || ps->at[i]->state == PS_ACTIVE)
        return rc;
    return policies_reload(ps, name, now, e);
}

int policies_disable(struct policies *ps, str name, msec now, struct error *e)
{
    size_t i;
    int rc = index_of(ps, name, &i, e);
    if (rc)
        return rc;
    struct policy *p = ps->at[i];
    ps->now = now;
    if (p->state == PS_ACTIVE)
        policy_stop(p, "disable", "");
    if (p->L)
        task_cancel_all(p);
    p->state = PS_DISABLED;
    p->since = now;
    ps->row_stale = true;
    policies_settle(ps, now);
    return 0;
}
