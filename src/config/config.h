/* config.h: the configuration as an immutable, checked snapshot, and how to get one.
 *
 * What: config_load() reads the sources, and either returns a snapshot with every effective value
 *       filled in (defaults, macros, ports, inherited values) or lists everything that is wrong
 *       with them.
 * Not:  watching files, applying a change (proxy does), compiling patterns (route does).
 * Owns: each snapshot has an arena; every str, array and sub-structure dies with the last
 *       config_unref.
 * Order: models are sorted by id (byte order), as are groups, peers, selectors, profiles and every
 *       list of named parameters. Lists that a person ordered (targets, preload, aliases, sets)
 *       keep their order.
 * Limits: 16 MiB of text per file, 64 MiB in all; 64 MiB of snapshot; see codec/yaml.h for aliases.
 * Thread: immutable after the load, but the reference count is not atomic: loop thread only.
 */
#ifndef LUASWAP_CONFIG_CONFIG_H
#define LUASWAP_CONFIG_CONFIG_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "config/gourl.h"
#include "config/report.h"

/* ---- parts ---- */

/* A parameter or a metadata entry: the value is compact JSON, keys of nested objects sorted. */
struct config_param {
    str name;
    str json;
};
struct config_params {
    const struct config_param *at; /* sorted by name */
    size_t len;
};
/* filters.setParamsByID: what to set when the request names exactly `id`. */
struct config_param_set {
    str id;
    struct config_params params;
};

struct config_filters {
    str strip_params; /* the text as written, macros expanded */
    const str *strip; /* its items: trimmed, sorted, no blanks, no duplicates, no `model` */
    size_t n_strip;
    struct config_params set; /* may hold an entry named `model`, which must be skipped */
    const struct config_param_set *by_id; /* sorted by id; the same holds for `model` */
    size_t n_by_id;
};

struct config_timeouts {
    msec connect_ms;         /* dial; 0 = no own limit */
    msec keepalive_ms;       /* TCP keep-alive interval; 0 = default (15 s), negative = off */
    msec response_header_ms; /* 0 = none */
    msec tls_handshake_ms;
    msec expect_continue_ms;
    msec idle_conn_ms; /* how long a pooled connection may idle */
};

struct config_capabilities {
    const str *in, *out; /* each "text", "audio" or "image" */
    size_t n_in, n_out;
    bool tools, reranker;
    int64_t context;
};

struct config_macro {
    str name;
    str text; /* of a string: as written, unexpanded; else the text form of the value */
    str json; /* the typed value */
};

#define CONFIG_NONE SIZE_MAX

struct config_model {
    str id;
    str cmd;        /* after macros and ports; split when started (config/cmdline.h) */
    str cmd_stop;   /* may hold ${PID}; empty: SIGTERM to the group */
    const str *env; /* "NAME=value", not checked */
    size_t n_env;
    str proxy; /* text; may be empty, then the model cannot start */
    struct gourl proxy_url;
    str check_endpoint; /* trimmed; "none" skips the check */
    const str *aliases; /* written ones in order, then automatic ones (setParamsByID keys) sorted */
    size_t n_aliases;
    size_t n_written_aliases;
    str name, description;  /* as written */
    str use_model_name;     /* empty: keep the client's */
    msec ttl_ms;            /* effective; 0 = never */
    msec unload_timeout_ms; /* effective, > 0 */
    msec health_timeout_ms; /* effective, >= 15 s */
    bool pinned; /* never a victim, no ttl */
    bool preemptible; /* a policy may have it killed while it serves */
    bool unlisted;
    bool send_loading_state; /* effective */
    bool ignore_websockets;
    int64_t concurrency_limit; /* as configured; <= 0: not configured */
    struct config_filters filters;
    struct config_timeouts timeouts;
    struct config_capabilities caps;
    struct config_params metadata;
    const struct config_macro *macros;
    size_t n_macros;
    unsigned port;    /* the number that ${PORT} became, 0 = none */
    size_t group;     /* index into groups; CONFIG_NONE under the matrix router */
    int64_t priority; /* routing.scheduler.settings.fifo.priority, aliases resolved; 0 = unlisted */
};

struct config_group {
    str id;
    bool swap, exclusive, persistent;
    const size_t
        *members; /* model indexes in written order; "(default)": sorted, ungrouped ones last */
    size_t n_members;
};

enum config_router { CONFIG_ROUTER_GROUP, CONFIG_ROUTER_MATRIX };
enum config_scheduler { CONFIG_SCHED_SERIAL, CONFIG_SCHED_FIFO };
enum config_orphan { CONFIG_ORPHAN_KEEP, CONFIG_ORPHAN_ABORT };

struct config_pair {
    str key, value;
};
struct config_cost {
    str key; /* a var or a model id, as written */
    int64_t cost;
    size_t model; /* what it stands for */
};
struct config_matrix {
    const struct config_pair *vars; /* var -> model id, sorted by var */
    size_t n_vars;
    const struct config_cost *costs; /* sorted by key */
    size_t n_costs;
    const struct config_pair *sets; /* name -> expression, in document order */
    size_t n_sets;
};

struct config_peer {
    str id;
    str proxy;
    struct gourl proxy_url;
    str api_key; /* empty: none */
    const str *models;
    size_t n_models;
    struct config_filters filters;
    struct config_timeouts timeouts;
};

enum config_strategy { CONFIG_PIN, CONFIG_WARM, CONFIG_SPILLOVER };
const char *config_strategy_name(enum config_strategy s); /* "pin" "warm" "spillover" */

struct config_selector {
    str id;
    enum config_strategy strategy;
    const str *targets; /* names as written; each resolves through config_base() */
    size_t n_targets;
    int64_t spillover; /* >= 1 under that strategy */
    str name, description;
    bool unlisted;
    struct config_params metadata;
};

struct config_profile {
    str id;
    str description;
    const struct config_pair *pins; /* requested name -> target, sorted; empty target = disabled */
    size_t n_pins;
};

enum config_log_level { CONFIG_LOG_DEBUG, CONFIG_LOG_INFO, CONFIG_LOG_WARN, CONFIG_LOG_ERROR };
enum config_log_dest { CONFIG_TO_PROXY, CONFIG_TO_UPSTREAM, CONFIG_TO_BOTH, CONFIG_TO_NONE };

enum config_policy_mode { CONFIG_POLICY_ENFORCE, CONFIG_POLICY_SHADOW, CONFIG_POLICY_OFF };
enum config_policy_eject { CONFIG_EJECT_BUILTIN, CONFIG_EJECT_RETRY, CONFIG_EJECT_EXIT };

struct config_policy {
    str file; /* as written, relative to the working directory */
    enum config_policy_mode mode;
    bool required;
    str settings_json; /* an object, "{}" when absent */
    enum config_policy_eject on_eject;
    const str *http_allow; /* URL prefixes */
    size_t n_http_allow;
    str state_file; /* empty: none */
    int64_t memory_mb, instructions;
    msec wall_ms, starve_after_ms, hold_limit_ms, stop_hook_ms; /* starve_after 0 = off, stop_hook 0 = nobody waits */
};

/* ---- the snapshot ---- */

struct config {
    unsigned refs;
    struct arena arena;

    /* scalars, all effective */
    msec health_timeout_ms; /* healthCheckTimeout, >= 15 s */
    msec global_ttl_ms;     /* 0 = never */
    msec unload_timeout_ms; /* > 0 */
    int64_t start_port;
    bool send_loading_state;
    bool include_aliases_in_list;
    bool log_requests; /* no effect, kept for the dump */
    enum config_log_level log_level;
    str log_level_text;          /* as written */
    str log_time_format;         /* as written */
    const char *log_time_layout; /* "rfc3339" ... (config.md 9.6); NULL = no time stamp */
    enum config_log_dest log_to_stdout;
    int64_t metrics_max_in_memory; /* > 0 */
    int64_t capture_buffer_mib;    /* 0 = no captures */
    bool has_store;
    str store_path; /* untrimmed; open it trimmed */
    const str *session_id;
    size_t n_session_id;
    bool performance_disabled;
    int64_t performance_every_ns; /* >= 5 s */
    const str *ignore_paths;      /* patterns of RE2 syntax, checked */
    size_t n_ignore_paths;
    bool forward_auth; /* upstream.forwardAuth: client keys reach local models */
    const str *api_keys;
    size_t n_api_keys;
    const size_t *preload; /* model indexes, in order, duplicates kept */
    size_t n_preload;
    const struct config_macro *macros;
    size_t n_macros;

    /* named things */
    struct config_model *models;
    size_t n_models;
    struct config_peer *peers;
    size_t n_peers;
    struct config_selector *selectors;
    size_t n_selectors;
    struct config_profile *profiles;
    size_t n_profiles;

    /* routing */
    enum config_router router;
    struct config_group *groups; /* empty under the matrix router; else always has "(default)" */
    size_t n_groups;
    struct config_matrix matrix; /* n_sets > 0 only under the matrix router */
    enum config_scheduler scheduler;
    bool scheduler_given; /* false: `use` is absent and the default serial applies */
    str scheduler_file;   /* `use: x.lua`: that is the first of the policies, over fifo; empty = none */
    struct {
        int64_t max_queue;    /* 0 = none */
        msec max_serve_ms;    /* 0 = none */
        msec client_stall_ms; /* 0 = none */
        bool side_lane, reorder;
    } serial;
    struct {
        msec max_wait_ms; /* 0 = off */
        enum config_orphan orphan;
        const struct config_cost *priority; /* as written; the effective one is in the model */
        size_t n_priority;
    } fifo;
    const struct config_policy *policies;
    size_t n_policies;

    /* our own limits */
    struct {
        int64_t header_block; /* bytes */
        msec header_read_ms, idle_keep_alive_ms;
        int64_t connections;
        int64_t json_body, buffered_bodies, spool; /* bytes */
    } limits;
    msec reload_drain_ms;
    struct {
        int64_t requests;  /* kept in memory, 0 = none */
        str file;          /* "" = none; a trace for `luaswap simulate` */
        int64_t file_size; /* bytes; then the next one begins */
        int64_t files;     /* older ones kept: file.1 ... */
    } recording;

    /* the files that were read, for messages and watching */
    const str *files;
    size_t n_files;

    /* lookups; use the functions below */
    struct map model_by_name;  /* id and alias -> index + 1 */
    struct map peer_by_fqn;    /* "peer/model" -> struct config_peer_ref */
    struct map peer_by_model;  /* bare name -> struct config_peer_ref, ambiguous ones left out */
    struct map selector_by_id; /* -> index + 1 */
};

struct config_peer_ref {
    size_t peer, model; /* indexes: cfg->peers[peer].models[model] */
};

/* ---- reading it ---- */

struct config *config_ref(struct config *cfg);
void config_unref(struct config *cfg); /* NULL is fine */

/* A model id, else an alias: index, or CONFIG_NONE. */
size_t config_find_model(const struct config *cfg, str name);
/* An id only. */
size_t config_find_model_id(const struct config *cfg, str id);
/* Full name "peer/model" first, then a bare name that exactly one peer offers. */
bool config_find_peer(const struct config *cfg, str name, struct config_peer_ref *ret);
size_t config_find_selector(const struct config *cfg, str id);
size_t config_find_profile(const struct config *cfg, str id);
/* True for anything that is a model, an alias or a peer model (section 6.1 of the contract). */
bool config_base(const struct config *cfg, str name);

/* ---- loading ---- */

struct config_sources {
    const char *file; /* -config, NULL = not given */
    const char *dir;  /* -config-dir, NULL = not given */
    /* Value of an environment variable, or NULL; NULL function: nothing is set. */
    const char *(*getenv)(void *ud, const char *name);
    void *ud;
    /* A reload: the snapshot in force. While startPort stays the same, a model keeps the number that its ${PORT}
     * had there, and a new one gets the lowest that neither snapshot uses. NULL: numbers as config.md 4.4 says. */
    const struct config *previous;
};

/* 0 and a snapshot (one reference), or ERR_CONFIG; then the report holds at least one error.
 * Warnings come in both cases. The report must be report_init()ed. */
MUSTCHECK int config_load(const struct config_sources *src, struct config **ret,
                          struct config_report *report);
/* The same for one text, as if it were the only file, called `name` in messages. Nothing is read;
 * of `src` only getenv is used (src may be NULL); store.path is not probed. */
MUSTCHECK int config_load_text(str text, str name, const struct config_sources *src,
                               struct config **ret, struct config_report *report);

/* ---- what a reload changes ---- */

enum config_change {
    CONFIG_SAME,
    CONFIG_SOFT, /* differs, but the running process may stay (name, ttl, filters, limits...) */
    CONFIG_HARD, /* the process must be replaced (cmd, env, proxy, stop command, health endpoint) */
    CONFIG_ADDED,
    CONFIG_REMOVED,
};
const char *config_change_name(enum config_change c);

struct config_model_diff {
    str id;
    enum config_change change;
    size_t before, after; /* index there, or CONFIG_NONE */
    const char *key;      /* first key that differs, "" if none */
};
struct config_key_diff {
    const char *path; /* "limits.connections", "routing" ... */
    bool live;        /* false: takes effect at the next start only */
};
struct config_diff {
    struct config_model_diff *models; /* sorted by id */
    size_t n_models;
    struct config_key_diff *keys; /* global keys that differ */
    size_t n_keys;
};
/* Allocated in `a`; ids borrowed from the snapshots. */
void config_diff(const struct config *before, const struct config *after, struct arena *a,
                 struct config_diff *ret);

/* ---- showing it ---- */

/* The effective configuration as indented JSON, documented names, apiKeys and peer keys masked. */
bool config_dump_json(const struct config *cfg, struct strbuf *out);
/* On one line; `secrets`: unmasked, for specs and for comparing. */
bool config_dump_compact(const struct config *cfg, bool secrets, struct strbuf *out);
/* JSON Schema and the table of docs/config.md, generated from schema.def. */
bool config_schema_json(struct strbuf *out);
bool config_schema_docs(struct strbuf *out);

#endif
