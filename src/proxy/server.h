/* server.h: the root object: what lives as long as the program, and its order of birth and death.
 *
 * Owns: loop, snapshot, scheduler, models, HTTP server, logs. Everything else gets a pointer to it; nothing else
 *       is global.
 * Order of death: accepting stops -> queued requests are refused -> running ones end or are cut -> processes stop ->
 *                 connections close -> the loop runs dry.
 */
#ifndef LUASWAP_PROXY_SERVER_H
#define LUASWAP_PROXY_SERVER_H

#include "config/config.h"
#include "http/server.h"
#include "metrics/system.h"
#include "proxy/dispatch.h"
#include "proxy/logmon.h"
#include "proxy/policy_glue.h"
#include "proxy/policy_rehearse.h"
#include "proxy/record.h"
#include "proxy/request.h"
#include "sched/sched.h"

struct api;
struct match_set;
struct model;

/* Texts for people and /api/version; static, may be NULL. */
struct server_build {
    const char *version, *commit, *date;
};

struct server_conf {
    struct config *cfg; /* borrowed; referenced */
    const char *listen; /* address, see io/listen.h */
    unsigned inherited; /* > 0: so many sockets that were handed over, from descriptor 3 on, are used instead */
    struct io_tls_server *tls; /* borrowed; NULL = none */
    struct io_sink *sink;
    /* What to do with a request whose head is complete (api/router.c). */
    void (*route)(struct request *req);
    struct api *api;
    struct server_build build;
    struct rehearser rehearser;
};

#define SERVER_INHERITED_MAX 8u

enum server_phase { SERVER_RUNNING, SERVER_DRAINING, SERVER_STOPPING, SERVER_ENDED };

struct server {
    struct io_loop *loop;
    struct config *cfg;
    struct logmon log;
    struct http_server *http;
    struct io_tls_server *tls;
    struct dispatch dispatch;
    struct policy_glue policy;
    struct rehearser rehearser;
    struct recorder *record; /* what became of requests */
    struct system_sample *machine; /* NULL: nobody has asked yet */
    uint64_t key_seed; /* of the labels under which policies know API keys */
    struct model **models; /* index = model_id; NULL: a slot to be used again */
    size_t n_models;       /* slots */
    size_t n_retired;      /* slots of removed models that are not free yet */
    struct list renewals;  /* processes that are being replaced; proxy/reload.c */
    uint64_t reloads;
    model_id *slot_of; /* config index -> model_id */
    struct peers *peers;
    size_t profile; /* active one (index in cfg), or CONFIG_NONE */
    struct list by_state[REQ_STATE_COUNT];
    size_t n_in_state[REQ_STATE_COUNT];
    struct list throttled; /* requests whose client reads too slowly while the upstream waits */
    uint64_t next_request;
    uint64_t buffered; /* bytes of request bodies in memory, against limits.bufferedBodies */
    void (*route)(struct request *req);
    struct api *api; /* the API layer's own; borrowed */
    struct unload_op stop_all;
    enum server_phase phase;
    struct io_timer *phase_timer;
    size_t procs_open;
    bool http_closed;
    int exit_code;
    msec started;
    struct matrix *matrix;
    struct server_build build;
    /* upstream.ignorePaths, compiled when first needed for that snapshot (api/upstream.c) */
    struct match_set *ignore_paths;
    struct config *ignore_of;
    /* Called once when everything has been told to end, so that main can close its own handles. */
    void (*on_ended)(void *ud);
    void *on_ended_ud;
};

struct server *server_new(struct io_loop *loop, const struct server_conf *conf, struct error *e);
/* Begins to end: see the header. `now`: do not wait for anything (second signal). Idempotent. */
void server_stop(struct server *srv, bool now);
void server_free(struct server *srv);

struct model *server_model(struct server *srv, model_id id); /* NULL when out of range */
/* By index in cfg, which may be an older snapshot than the one in force: NULL when a reload has removed it. */
struct model *server_model_at(struct server *srv, const struct config *cfg, size_t index);
/* The parts of a new snapshot that concern clients' connections; what people should know of its scheduler. */
void server_reconf_http(struct server *srv);
void server_say_scheduler(const struct server *srv);
/* A request has ended: a drain may be over. */
void server_request_ended(struct server *srv);
/* State of everything as JSON, for SIGUSR1 and /debug/state. */
void server_dump(struct server *srv, struct strbuf *out);

#endif
