/* trace_file.h: recorded traffic as JSON lines (docs/policies.md), and the worlds that replay it.
 *
 * Owns: everything that was read, in one arena; sim_trace_fini releases it.
 * Limits: 4 KiB of a line's text is a message, 64 KiB a line; 2^31 requests.
 */
#ifndef LUASWAP_SIM_TRACE_FILE_H
#define LUASWAP_SIM_TRACE_FILE_H

#include "base/arena.h"
#include "sim/replay.h"

struct sim_trace_request {
    msec at;
    uint32_t line; /* of the text */
    struct replay_request q;
};
struct sim_trace_fact {
    msec at;
    char kind; /* f foreign_mb, c crash, u unload, p preload */
    double mb;
    str model; /* empty: all */
    uint32_t line;
};
struct sim_trace_times { /* of one model, in the order in which they happened */
    msec *loads, *stops; /* a load that failed is negative */
    size_t n_loads, n_stops;
};
struct sim_trace {
    struct arena arena;
    enum sched_kind kind;
    bool reorder;
    double gpu_mb;
    int64_t start_unix;
    int32_t zone_s;
    struct replay_model *models;
    size_t n_models;
    struct sim_trace_times *times; /* one per model; NULL: none were measured */
    uint32_t max_queue;
    msec max_serve_ms, max_wait_ms;
    bool abort_orphans;
    struct matrix *matrix; /* NULL: groups */
    struct sim_trace_request *requests;
    size_t n_requests;
    struct sim_trace_fact *facts;
    size_t n_facts;
};

MUSTCHECK int sim_trace_parse(str text, struct sim_trace *ret, struct error *e);
/* The same of a file; messages begin with path:line. */
MUSTCHECK int sim_trace_read(const char *path, struct sim_trace *ret, struct error *e);
void sim_trace_fini(struct sim_trace *t);
/* A world with all that is in the trace; fields of conf that the trace knows are taken from it. */
MUSTCHECK int sim_trace_replay(const struct sim_trace *t, const struct replay_conf *conf, struct replay **ret, struct error *e);
/* A made-up day: n requests over the models of `world` lines already in out. */
void sim_trace_synth(struct strbuf *out, size_t n, double gap_s, uint64_t seed, size_t models);
/* An activity log (CSV with a header line) as a trace; load times are guesses. */
MUSTCHECK int sim_trace_import(str csv, struct strbuf *out, struct error *e);

#endif
