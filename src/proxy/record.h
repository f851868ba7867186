/* record.h: what became of requests and models: a bounded memory of the last ones.
 *
 * What: one record per scheduled request (times, model, outcome, what it waited for), loads and stops as measured,
 *       decisions with their reasons. From it: traces for `luaswap simulate` (in memory and in files), the rehearsal
 *       of policies, /api/scheduler, /api/requests/{id}/why, /metrics.
 * Not:  texts of requests or answers, keys, addresses, paths that clients make up. A key is a keyed hash in memory and
 *       a number of its own in each trace.
 * Cost: begin and end of a request are some copies; a file is written by a worker thread.
 * Owns: everything. Ends: record_fini(), after the loop has run dry.
 * Limits: recording.requests records, RECORD_* of the rest; the oldest go. Lines that a slow disk cannot take are
 *       dropped and counted.
 */
#ifndef LUASWAP_PROXY_RECORD_H
#define LUASWAP_PROXY_RECORD_H

#include "base/map.h"
#include "base/strbuf.h"
#include "sched/ops.h"

struct config;
struct request;
struct server;

#define RECORD_MODELS 4096    /* names of models that ever had a request or a load */
#define RECORD_FACTS 2048     /* loads, stops, crashes, unloads */
#define RECORD_DECISIONS 1024
#define RECORD_EVICTED 4      /* victims that are remembered by name */
#define RECORD_NAME_NONE UINT32_MAX

enum wait_kind {
    WAIT_NONE,     /* it did not wait, or nobody knows why */
    WAIT_TURN,     /* serial: another request is being served */
    WAIT_LINE,     /* others are before it */
    WAIT_LIMIT,    /* its model serves as many as it may */
    WAIT_VICTIM,   /* a model that must go is serving */
    WAIT_STOPPING, /* a model is being stopped */
    WAIT_LOADING,  /* its model is being loaded */
    WAIT_SWAP,     /* another model is being loaded */
    WAIT_RELOAD,   /* its model's process is being replaced */
    WAIT_STUCK,    /* a process does not end */
    WAIT_HELD,     /* a policy lets it wait */
    WAIT_KINDS
};
struct wait_reason {
    enum wait_kind kind;
    uint32_t model;   /* which is in the way, by name number; RECORD_NAME_NONE */
    uint32_t n;       /* WAIT_VICTIM, WAIT_LIMIT: requests it serves */
    uint64_t request; /* which is in the way, 0 = none */
};

/* A load as it was: decided, its process started, ready. */
struct record_swap {
    swap_id id;           /* 0 = none */
    msec began, started, ready; /* MSEC_NEVER = not yet */
    uint64_t owner;       /* request it was begun for, 0 = none */
    uint32_t evicted[RECORD_EVICTED], n_evicted;
    bool preload;
};

enum record_fate { RECORD_WAITS, RECORD_ACTIVE, RECORD_SERVED, RECORD_REFUSED, RECORD_LEFT, RECORD_BROKEN, RECORD_FATES };
const char *record_fate_name(enum record_fate f); /* "waiting" "serving" "served" "refused" "cancelled" "broken" */

struct record {
    uint64_t id;
    ticket_id ticket;
    uint32_t model; /* name number */
    uint32_t key, session; /* keyed hashes, 0 = none */
    uint8_t path;   /* record_path() */
    bool stream, side, ended_once;
    enum record_fate fate;
    int status, priority;
    double deadline_s; /* < 0: none */
    int64_t tokens_in; /* estimate, -1 unknown */
    msec arrived, granted, regranted, released, ended; /* MSEC_NEVER = not */
    uint32_t ahead;    /* in the line when it came */
    uint32_t served_before; /* grants of others while it waited */
    uint64_t grants_then;
    struct wait_reason first; /* when it came */
    struct record_swap swap;  /* the load that it waited for, if any */
    const char *refusal;      /* why it was refused, NULL = it was not; in the ring it is owned */
};

enum record_fact_kind { FACT_LOAD, FACT_LOAD_FAILED, FACT_STOP, FACT_CRASH, FACT_UNLOAD, FACT_PRELOAD, FACT_FOREIGN };
struct record_fact {
    enum record_fact_kind kind;
    msec at, took;  /* FACT_FOREIGN: MB of GPU memory that others use */
    uint32_t model; /* RECORD_NAME_NONE: all */
};

enum decision_kind {
    DECISION_GRANT, DECISION_LOAD, DECISION_LOADED, DECISION_LOAD_FAILED, DECISION_UNLOAD, DECISION_CRASH, DECISION_REFUSE,
    DECISION_FORCED, DECISION_STALL, DECISION_INVALID, DECISION_KINDS
};
const char *decision_name(enum decision_kind k);
struct decision_record {
    enum decision_kind kind;
    msec at, took; /* GRANT: waited; LOADED: since it was begun */
    uint32_t model;
    uint64_t request;
    swap_id swap;
    char text[120];
};

struct record_model {
    str name; /* owned, as the rest of its texts */
    str json; /* the name as it stands between quotes */
    msec since;  /* of its last change of state */
    struct record_swap now, last;
    uint64_t loads, load_failures, stops, crashes, evictions;
    msec load_sum, stop_sum; /* of loads, stops */
};

struct record_file;
struct recorder {
    struct server *srv;
    struct record *ring;
    size_t cap;
    uint64_t n; /* records ever ended; the last min(n, cap) are there */
    struct record_fact facts[RECORD_FACTS];
    uint64_t n_facts;
    struct decision_record decisions[RECORD_DECISIONS];
    uint64_t n_decisions;
    struct record_model *models;
    size_t n_models, cap_models;
    struct map by_name;
    uint32_t *slots; /* model_id -> name number, a cache */
    size_t n_slots;
    msec gpu_at, foreign_mb; /* last look */
    msec t0;           /* clock of the loop and ... */
    int64_t t0_unix_ms; /* ... wall clock at the same moment */
    uint64_t grants, fates[RECORD_FATES], by_status[6]; /* 0: none; 1xx ... 5xx */
    uint64_t wait_ms_sum, serve_ms_sum;
    struct record_file *file; /* NULL: none */
};

/* The scheduler is there already; it is observed. */
struct recorder *record_new(struct server *srv);
void record_fini(struct recorder *r); /* NULL is fine */
/* The end has begun: nothing keeps the loop alive. */
void record_stop(struct recorder *r);
/* The snapshot in force has changed. */
void record_reconf(struct recorder *r);

/* --- the life of a request; each accepts a request without a record --- */
void record_begin(struct request *req);   /* about to be handed to the scheduler */
void record_waits(struct request *req);   /* was not granted at once */
void record_granted(struct request *req);
void record_released(struct request *req); /* its slot, or its place in the line, was given back */
void record_refused(struct request *req, const char *text);
/* A policy said no, perhaps before its model was known; then it gets a record without a model. */
void record_turned_away(struct request *req, const char *policy, const char *text);
void record_ended(struct request *req, bool whole);

/* Its number, in the head of the answer: for /api/requests/{id}/why. */
void record_header(const struct request *req, struct strbuf *head);

/* --- from outside of the scheduler --- */
void record_unload(struct recorder *r, const model_id *models, size_t n); /* by people; n = 0: all */
void record_preload(struct recorder *r, model_id m);

/* --- looking --- */
/* The number stays; NULL when nobody remembers it. Live ones too. */
const struct record *record_find(const struct recorder *r, uint64_t id);
str record_model_name(const struct recorder *r, uint32_t name);
int64_t record_unix_ms(const struct recorder *r, msec t);
/* Why it is not being served now; request must have a ticket. */
struct wait_reason record_reason(const struct request *req);
/* A sentence about it, without a full stop. `took`: how long, < 0 unknown. */
void record_reason_text(const struct recorder *r, const struct wait_reason *w, msec took, struct strbuf *out);
/* For traces: known paths of endpoints and their kinds; what clients make up is "other". */
uint8_t record_path(str path);
str record_path_text(uint8_t p);
str record_path_class(uint8_t p);

/* A trace (docs/policies.md) of what is in memory: requests that arrived at `since` or later, at most `max` of them (the
 * last ones). */
void record_trace(const struct recorder *r, msec since, size_t max, struct strbuf *out);

/* --- record_text.c and record_file.c, for each other --- */
struct record_labels; /* keyed hash -> number in one trace */
struct record_labels *record_labels_new(void);
void record_world_lines(const struct recorder *r, msec t0, struct strbuf *out);
void record_line(const struct recorder *r, const struct record *k, msec t0, struct record_labels *labels, struct strbuf *out);
void record_fact_line(const struct recorder *r, const struct record_fact *f, msec t0, struct strbuf *out);
void record_file_reconf(struct recorder *r);
void record_file_add(struct recorder *r, const struct record *k);
void record_file_fact(struct recorder *r, const struct record_fact *f);
void record_file_stop(struct recorder *r); /* no timer any more */
void record_file_fini(struct recorder *r);

#endif
