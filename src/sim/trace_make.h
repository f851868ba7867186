/* trace_make.h: traces that nobody recorded: made up from a description, or guessed from an activity list.
 *
 * Same: description and seed give the same bytes.
 * Limits: SYNTH_MODELS models, SYNTH_KEYS keys; lists of at most 1 GiB.
 */
#ifndef LUASWAP_SIM_TRACE_MAKE_H
#define LUASWAP_SIM_TRACE_MAKE_H

#include "base/error.h"
#include "base/strbuf.h"

#include <stddef.h>
#include <stdint.h>

#define SYNTH_MODELS 64
#define SYNTH_KEYS 64

struct sim_synth_model {
    str id;
    double load_s, vram_mb, share; /* share of the requests, in any unit */
};
struct sim_synth_key {
    str name;
    double share, serve_s; /* mean service; 0.5 s at least */
};
struct sim_synth {
    size_t requests, burst; /* burst: so many arrive at once, each time */
    double gap_s;           /* mean from one arrival to the next */
    double gpu_mb;          /* 0: none is known */
    uint64_t seed;
    unsigned limit;         /* requests at once, of each model */
    const char *scheduler, *start; /* NULL: fifo, a Monday at eight */
    struct sim_synth_model models[SYNTH_MODELS]; /* none: those of the manual, n_models of them */
    size_t n_models;
    struct sim_synth_key keys[SYNTH_KEYS]; /* none: people and a batch job */
    size_t n_keys;
};
/* The description as the commands give it: models[0].id empty means the five of the manual. */
void sim_synth_init(struct sim_synth *s);
/* "ID:LOAD_S[:MB[:SHARE]]", "NAME:SHARE[:SECONDS]"; text borrowed. */
MUSTCHECK int sim_synth_model(struct sim_synth *s, str text, struct error *e);
MUSTCHECK int sim_synth_key(struct sim_synth *s, str text, struct error *e);
void sim_trace_make(struct strbuf *out, const struct sim_synth *s);

struct sim_import {
    double load_s;         /* for models of which nothing better is known */
    const char *scheduler; /* that was in charge */
    /* what came of it */
    size_t rows, skipped, guessed; /* skipped: refused or failed; guessed: models with load_s */
};
/* An activity list as a trace: CSV with a header line, or JSON as /api/metrics/activity answers it (an object with
 * `data`, an array, or one object a line). Such a list has ends and durations that include waiting and loading: service
 * is taken from the speeds where they are given, load times from what first requests took longer. Keys become numbers. */
MUSTCHECK int sim_trace_import_list(str text, struct sim_import *i, struct strbuf *out, struct error *e);

#endif
