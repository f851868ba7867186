/* demo_answer.h: one request to a demo model: what was asked, and the answer in the shape of its API.
 *
 * What: reads the request's JSON, then writes the beginning, one token at a time, and the end of a stream, or
 *       the whole answer at once, into a buffer. Knows nothing of connections and time.
 */
#ifndef LUASWAP_MAIN_DEMO_ANSWER_H
#define LUASWAP_MAIN_DEMO_ANSWER_H

#include "base/clock.h"
#include "base/error.h"
#include "main/demo_text.h"

enum demo_api {
    DEMO_CHAT,       /* /v1/chat/completions */
    DEMO_COMPLETION, /* /v1/completions */
    DEMO_RESPONSES,  /* /v1/responses */
    DEMO_MESSAGES,   /* /v1/messages */
    DEMO_NATIVE,     /* /completion, /infill of llama-server */
    DEMO_EMBEDDINGS, /* /v1/embeddings: one piece */
    DEMO_RERANK,     /* /v1/rerank: one piece */
};

struct demo_answer {
    enum demo_api api;
    str model; /* the name of this server */
    char id[40];
    int64_t created;
    bool stream, include_usage;
    size_t prompt_tokens, tokens, at; /* words asked; to say; said */
    bool cut;                         /* stopped by max_tokens */
    struct demo_text text;
    struct strbuf said; /* so far, for the pieces that repeat it */
    unsigned sequence;  /* of the events of /v1/responses */
};

/* ERR_SYNTAX when the body is no JSON object. tokens: what the server says by itself. For the one-piece APIs the
 * whole answer is in `out` then. */
int demo_answer_init(struct demo_answer *a, enum demo_api api, str model, uint64_t number, str body,
                     size_t tokens, struct strbuf *out, struct error *e);
void demo_answer_fini(struct demo_answer *a);
bool demo_one_piece(enum demo_api api);

void demo_stream_begin(struct demo_answer *a, struct strbuf *out);
void demo_stream_token(struct demo_answer *a, struct strbuf *out);
/* took: since the beginning, for the timings. */
void demo_stream_end(struct demo_answer *a, struct strbuf *out, msec took);
void demo_whole(struct demo_answer *a, struct strbuf *out, msec took);

#endif
