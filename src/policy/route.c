/* Hooks that may wait and somebody waits for: route (one policy after the other), after_ready, before_stop. */
#include "policy/task.h"

#include <stdio.h>

/* ---- route ---- */

static void finish(struct policy_route *job)
{
    list_remove(&job->link);
    if (job->rec)
        job->rec->body = STR_NONE;
    if (job->pending && job->done) {
        struct policy_answer a;
        policy_answer_copy(&a, &job->answer);
        void (*done)(void *ud, const struct policy_answer *ans) = job->done;
        void *ud = job->ud;
        free(job);
        done(ud, &a);
        return;
    }
    struct policies *ps = job->ps;
    free(ps->spare_route);
    ps->spare_route = job;
}

/* Most are over at once: one is kept. */
static struct policy_route *job_new(struct policies *ps)
{
    struct policy_route *job = ps->spare_route ? ps->spare_route : mem_zalloc(sizeof(*job));
    ps->spare_route = NULL;
    job->ps = ps;
    job->next = 0;
    job->rec = NULL;
    job->task = NULL;
    job->pending = false;
    policy_answer_clear(&job->answer);
    list_init(&job->link);
    return job;
}

static void refuse_required(struct policy_route *job, const struct policy *p)
{
    struct policy_answer *a = &job->answer;
    *a = (struct policy_answer){ .kind = POLICY_REFUSED, .status = 503, .retry_after_s = 1, .deadline_s = -1 };
    snprintf(a->policy, sizeof(a->policy), "%s", p->name);
    snprintf(a->message, sizeof(a->message), "a required policy failed");
    snprintf(a->code, sizeof(a->code), "policy_failed");
}

/* True: the answer is there. */
static bool judge(struct policy_route *job, struct policy *p, enum verdict v)
{
    struct policies *ps = job->ps;
    struct preq *r = job->rec;
    if (v >= V_ERROR) {
        ops_note_decision(ps, p, POLICY_ROUTE, 'f', r->id, MODEL_NONE, "failed");
        if (!p->required)
            return false;
        refuse_required(job, p);
        return true;
    }
    if (v == V_NONE || v == V_ABSENT) {
        p->agree[POLICY_ROUTE] += p->shadow && v == V_NONE;
        return false;
    }
    if (p->shadow) {
        p->disagree[POLICY_ROUTE]++;
        policy_answer_clear(&job->answer);
        return false;
    }
    if (v == V_REJECT)
        ops_note_decision(ps, p, POLICY_ROUTE, 'p', r->id, MODEL_NONE, "refused");
    else
        ops_note_routed(ps, p, r->id, job->answer.models[0]);
    return true;
}

/* Asks one policy after the other. True: over; false: one of them waits. */
static bool route_on(struct policy_route *job)
{
    struct policies *ps = job->ps;
    while (job->next < ps->n) {
        struct policy *p = ps->at[job->next++];
        if (p->required && p->state != PS_ACTIVE && p->state != PS_OFF && p->state != PS_DISABLED &&
            (p->present & 1u << POLICY_ROUTE || p->state == PS_REFUSED)) {
            refuse_required(job, p);
            return true;
        }
        if (p->state != PS_ACTIVE || !(p->present & 1u << POLICY_ROUTE))
            continue;
        struct task *t = task_new(p, TASK_ROUTE, POLICY_ROUTE);
        if (!t) {
            if (judge(job, p, V_ERROR))
                return true;
            continue;
        }
        t->req = job->rec;
        t->job = job;
        t->answer = &job->answer;
        t->deadline = ps->now + POLICY_ROUTE_MS;
        job->task = t;
        enum verdict v;
        if (!task_start(t, &v))
            return false;
        job->task = NULL;
        if (judge(job, p, v))
            return true;
    }
    return true;
}

enum policy_answer_kind policies_route(struct policies *ps, const struct policy_request_info *info, msec now,
                                       struct policy_answer *ret,
                                       void (*done)(void *ud, const struct policy_answer *a), void *ud,
                                       struct policy_route **ret_job)
{
    policy_answer_clear(ret);
    *ret_job = NULL;
    if (!ps || !policies_wants(ps, POLICY_ROUTE))
        return POLICY_PASS;
    ps->now = now;
    for (struct list *it = ps->routes.next; it != &ps->routes; it = it->next)
        if (LIST_ENTRY(it, struct policy_route, link)->rec->id == info->id)
            return POLICY_PASS; /* the same request twice at a time: not ours to sort out */
    struct policy_route *job = job_new(ps);
    job->done = done;
    job->ud = ud;
    struct preq *old = preq_find(ps, ROUTE_TICKET | info->id); /* a retry */
    job->rec = old ? preq_succeed(ps, old, ROUTE_TICKET | info->id, info) : preq_new(ps, ROUTE_TICKET | info->id, info);
    job->rec->body = info->body;
    job->rec->routed = now;
    if (route_on(job)) {
        if (job->answer.kind != POLICY_PASS || job->answer.policy[0]) /* else it is as clear as that one */
            policy_answer_copy(ret, &job->answer);
        list_init(&job->link);
        finish(job);
        return ret->kind;
    }
    job->pending = true;
    list_push_back(&ps->routes, &job->link);
    *ret_job = job;
    return POLICY_PENDING;
}

void policies_route_cancel(struct policies *ps, struct policy_route *job)
{
    if (!ps || !job)
        return;
    if (job->task) {
        job->rec->gone = true;
        task_free(job->task, false);
    }
    if (job->rec)
        preq_free(ps, job->rec);
    job->rec = NULL;
    list_remove(&job->link);
    free(job);
}

void route_resume(struct policy_route *job, struct policy *p, enum verdict v)
{
    job->task = NULL;
    if (judge(job, p, v) || route_on(job))
        finish(job);
}

void policies_request_end(struct policies *ps, uint64_t id)
{
    struct preq *r = ps ? preq_find(ps, ROUTE_TICKET | id) : NULL;
    if (r)
        preq_free(ps, r);
}

void route_forget(struct policies *ps, msec now)
{
    for (size_t b = 0; ps->buckets && b <= ps->mask; b++) {
        struct preq *r = ps->buckets[b];
        while (r) {
            struct preq *next = r->hash_next;
            bool busy = false;
            for (struct list *it = ps->routes.next; it != &ps->routes; it = it->next)
                busy = busy || LIST_ENTRY(it, struct policy_route, link)->rec == r;
            if ((r->ticket & ROUTE_TICKET) && r->routed && now - r->routed > 60000 && !busy)
                preq_free(ps, r);
            r = next;
        }
    }
}

/* ---- after_ready, before_stop ---- */

void around_done(struct around *a)
{
    if (--a->left > 0)
        return;
    if (a->done)
        a->done(a->ud);
    free(a);
}

bool policies_around(struct policies *ps, enum policy_hook h, model_id m, const char *why, msec limit_ms, msec now,
                     void (*done)(void *ud), void *ud)
{
    if (!ps || !policies_wants(ps, h) || limit_ms <= 0)
        return false;
    ps->now = now;
    if (m < ps->n_models && ps->models[m].stop_by_policy && strcmp(why, "admin") == 0)
        why = "policy";
    struct around *a = mem_zalloc(sizeof(*a));
    a->left = 1; /* ours, until all have begun */
    a->done = done;
    a->ud = ud;
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_ACTIVE || p->shadow || !(p->present & 1u << h))
            continue;
        struct task *t = task_new(p, TASK_AROUND, h);
        if (!t)
            continue;
        msec own = p->conf.stop_hook_ms;
        t->model = m;
        t->why = why;
        t->deadline = now + (own > 0 && own < limit_ms ? own : limit_ms);
        t->around = own > 0 ? a : NULL; /* 0: it may take its time, and nobody waits */
        enum verdict v;
        if (!task_start(t, &v)) {
            t->why = "";
            a->left += t->around != NULL;
        }
    }
    if (a->left == 1) {
        free(a);
        return false;
    }
    a->left--;
    return true;
}
