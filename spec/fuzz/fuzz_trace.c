/* Traces and activity lists as somebody may hand them to us: read, replayed for a while if they are small. */
#include "sim/trace_file.h"
#include "sim/trace_make.h"

#include <stdlib.h>

static void replay(const struct sim_trace *t)
{
    struct replay_conf c = { .kind = t->kind, .seed = 1, .pairs = POLICY_PAIRS_SORTED };
    struct replay *r;
    struct error e = { 0 };
    if (t->n_requests > 64 || t->n_models > 16 || t->n_facts > 64 || sim_trace_replay(t, &c, &r, &e) < 0)
        return;
    if (replay_run(r, 60000, &e) < 0)
        abort();
    struct replay_result res;
    replay_result(r, &res);
    if (res.served + res.rejected + res.cancelled + res.failed > res.requests)
        abort();
    replay_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = str_n((const char *)data, size);
    struct sim_trace t;
    struct error e = { 0 };
    if (sim_trace_parse(text, &t, &e) == 0) {
        replay(&t);
        sim_trace_fini(&t);
    }
    struct sim_import conf = { .load_s = 15 };
    struct strbuf out = STRBUF(1u << 24);
    if (sim_trace_import_list(text, &conf, &out, &e) == 0) { /* what is written can be read */
        if (!out.full && sim_trace_parse(strbuf_str(&out), &t, &e) < 0)
            abort();
        if (!out.full)
            sim_trace_fini(&t);
    }
    strbuf_fini(&out);
    return 0;
}
