/* demo_answer.c: see demo_answer.h. */
#include "main/demo_answer.h"

#include "codec/json.h"

#include <inttypes.h>
#include <stdio.h>

#define EMBEDDING_SIZE 32
#define TOKENS_MAX 200000

/* ---- reading the request ---- */

/* Text of a message's content: a string, or a list of parts that have a `text`. */
static void add_content(struct strbuf *b, json content)
{
    if (json_kind(content) == JSON_STRING) {
        strbuf_add(b, json_str(content));
        return;
    }
    for (json part = json_first(content); json_kind(part) != JSON_NONE; part = json_next(part)) {
        str text =
            json_kind(part) == JSON_STRING ? json_str(part) : json_str(json_get(part, S("text")));
        if (b->len && text.len)
            strbuf_addc(b, ' ');
        strbuf_add(b, text);
    }
}

/* Counts the words of everything that was said; `question` becomes the last of it. */
static void read_question(struct demo_answer *a, json root, struct strbuf *question)
{
    json list = json_get(root, S("messages"));
    if (json_kind(list) == JSON_NONE)
        list = json_get(root, S("input"));
    if (json_kind(list) != JSON_ARRAY) {
        json text = json_kind(list) == JSON_STRING ? list : json_get(root, S("prompt"));
        if (json_kind(text) == JSON_NONE)
            text = json_get(root, S("input_prefix"));
        add_content(question, text);
        a->prompt_tokens = demo_words(strbuf_str(question));
        return;
    }
    for (json m = json_first(list); json_kind(m) != JSON_NONE; m = json_next(m)) {
        strbuf_clear(question);
        add_content(question, json_kind(m) == JSON_STRING ? m : json_get(m, S("content")));
        a->prompt_tokens += demo_words(strbuf_str(question));
    }
}

static void read_limits(struct demo_answer *a, json root, size_t tokens)
{
    static const char *const names[] = { "max_tokens", "max_completion_tokens", "max_output_tokens",
                                         "n_predict" };
    a->tokens = tokens < TOKENS_MAX ? tokens : TOKENS_MAX;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int64_t n;
        if (json_int(json_get(root, str_c(names[i])), &n) && n > 0 && n < (int64_t)a->tokens) {
            a->tokens = (size_t)n;
            a->cut = true;
        }
    }
    a->stream = json_bool(json_get(root, S("stream")), false);
    a->include_usage = json_bool(json_dig(root, "stream_options.include_usage"), false);
}

/* ---- one piece ---- */

static void add_embedding(struct json_out *o, size_t index, str text)
{
    double v[EMBEDDING_SIZE], sum = 0;
    for (uint64_t i = 0; i < EMBEDDING_SIZE; i++) {
        v[i] = (double)(str_hash(text, i) >> 40) / (double)(1 << 23) - 1.0;
        sum += v[i] * v[i];
    }
    /* Newton's method: no need for libm */
    double root = sum > 1 ? sum : 1;
    for (int i = 0; i < 30; i++)
        root = (root + sum / root) / 2;
    json_out_object(o);
    json_out_kstr(o, "object", S("embedding"));
    json_out_kint(o, "index", (int64_t)index);
    json_out_key(o, S("embedding"));
    json_out_array(o);
    for (size_t i = 0; i < EMBEDDING_SIZE; i++)
        json_out_num(o, root > 0 ? (double)(int)(v[i] / root * 1e6) / 1e6 : 0);
    json_out_end(o, ']');
    json_out_end(o, '}');
}

static void add_usage(struct json_out *o, size_t prompt)
{
    json_out_key(o, S("usage"));
    json_out_object(o);
    json_out_kint(o, "prompt_tokens", (int64_t)prompt);
    json_out_kint(o, "total_tokens", (int64_t)prompt);
    json_out_end(o, '}');
}

static void write_embeddings(struct demo_answer *a, json root, struct strbuf *out)
{
    struct json_out o;
    json input = json_get(root, S("input"));
    json_out_init(&o, out);
    json_out_object(&o);
    json_out_kstr(&o, "object", S("list"));
    json_out_kstr(&o, "model", a->model);
    json_out_key(&o, S("data"));
    json_out_array(&o);
    size_t n = 0;
    if (json_kind(input) == JSON_STRING) {
        a->prompt_tokens = demo_words(json_str(input));
        add_embedding(&o, n++, json_str(input));
    } else {
        for (json it = json_first(input); json_kind(it) != JSON_NONE; it = json_next(it)) {
            a->prompt_tokens += json_kind(it) == JSON_STRING ? demo_words(json_str(it)) : 1;
            add_embedding(&o, n++, json_str(it));
        }
    }
    json_out_end(&o, ']');
    add_usage(&o, a->prompt_tokens);
    json_out_end(&o, '}');
}

/* How many words of the question are in the document, of all of them. */
static double overlap(str question, str doc)
{
    size_t words = 0, hits = 0;
    str rest = question, word;
    while (str_item(&rest, ' ', &word)) {
        if (!word.len)
            continue;
        words++;
        hits += str_ifind(doc, word) >= 0;
    }
    return words ? (double)hits / (double)words : 0;
}

static void write_rerank(struct demo_answer *a, json root, struct strbuf *out)
{
    struct json_out o;
    str query = json_str(json_get(root, S("query")));
    a->prompt_tokens = demo_words(query);
    json_out_init(&o, out);
    json_out_object(&o);
    json_out_kstr(&o, "model", a->model);
    json_out_kstr(&o, "object", S("list"));
    json_out_key(&o, S("results"));
    json_out_array(&o);
    int64_t i = 0;
    for (json d = json_first(json_get(root, S("documents"))); json_kind(d) != JSON_NONE;
         d = json_next(d)) {
        str text = json_kind(d) == JSON_STRING ? json_str(d) : json_str(json_get(d, S("text")));
        a->prompt_tokens += demo_words(text);
        json_out_object(&o);
        json_out_kint(&o, "index", i++);
        json_out_knum(&o, "relevance_score", overlap(query, text));
        json_out_end(&o, '}');
    }
    json_out_end(&o, ']');
    add_usage(&o, a->prompt_tokens);
    json_out_end(&o, '}');
}

bool demo_one_piece(enum demo_api api)
{
    return api == DEMO_EMBEDDINGS || api == DEMO_RERANK;
}

int demo_answer_init(struct demo_answer *a, enum demo_api api, str model, uint64_t number, str body,
                     size_t tokens, struct strbuf *out, struct error *e)
{
    static const struct json_caps caps = { .bytes = 64u << 20, .values = 2000000, .depth = 100 };
    static const char *const prefixes[] = { "chatcmpl", "cmpl", "resp", "msg",
                                            "native",   "embd", "rank" };
    struct arena arena;
    json root = { NULL };
    *a = (struct demo_answer){ .api = api, .model = model, .created = clock_wall().sec };
    strbuf_init(&a->said, 8u << 20);
    snprintf(a->id, sizeof a->id, "%s-demo%" PRIu64, prefixes[api], number);
    arena_init(&arena, 512u << 20);
    int rc = json_parse(&arena, body, &caps, &root, e);
    if (rc == 0 && json_kind(root) != JSON_OBJECT)
        rc = error_set(e, ERR_SYNTAX, "the body is not a JSON object");
    if (rc == 0 && api == DEMO_EMBEDDINGS) {
        write_embeddings(a, root, out);
    } else if (rc == 0 && api == DEMO_RERANK) {
        write_rerank(a, root, out);
    } else if (rc == 0) {
        struct strbuf question = STRBUF(64u << 20);
        read_question(a, root, &question);
        read_limits(a, root, tokens);
        demo_text_init(&a->text, model, strbuf_str(&question), a->tokens);
        strbuf_fini(&question);
    }
    arena_fini(&arena);
    return rc;
}

void demo_answer_fini(struct demo_answer *a)
{
    demo_text_fini(&a->text);
    strbuf_fini(&a->said);
}

/* ---- pieces that the shapes share ---- */

static void quoted(struct strbuf *b, str s)
{
    strbuf_addc(b, '"');
    strbuf_add_json(b, s);
    strbuf_addc(b, '"');
}

static void add_counts(const struct demo_answer *a, struct strbuf *b)
{
    strbuf_addf(b,
                "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu}",
                a->prompt_tokens, a->at, a->prompt_tokens + a->at);
}

/* As llama-server adds them. */
static void add_timings(const struct demo_answer *a, struct strbuf *b, msec took)
{
    double ms = took > 0 ? (double)took : 1;
    strbuf_addf(b,
                "\"timings\":{\"prompt_n\":%zu,\"prompt_ms\":1.0,\"prompt_per_second\":%.1f,"
                "\"predicted_n\":%zu,\"predicted_ms\":%.1f,\"predicted_per_second\":%.2f}",
                a->prompt_tokens, (double)a->prompt_tokens * 1000, a->at, ms,
                (double)a->at * 1000 / ms);
}

static const char *finish_reason(const struct demo_answer *a)
{
    if (a->api == DEMO_MESSAGES)
        return a->cut ? "max_tokens" : "end_turn";
    return a->cut ? "length" : "stop";
}

/* {"id":..., up to where the choices begin */
static void add_head(const struct demo_answer *a, struct strbuf *b, const char *object)
{
    strbuf_addf(b, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", a->id,
                object, a->created);
    quoted(b, a->model);
}

static void event(struct strbuf *b, const char *name)
{
    strbuf_addf(b, "event: %s\ndata: ", name);
}

/* Events of /v1/responses carry their name and a number in the data too; the object stays open. */
static void response_event(struct demo_answer *a, struct strbuf *b, const char *name)
{
    event(b, name);
    strbuf_addf(b, "{\"type\":\"%s\",\"sequence_number\":%u", name, a->sequence++);
}

static void add_response_part(const struct demo_answer *a, struct strbuf *b, bool full)
{
    strbuf_add(b, S("{\"type\":\"output_text\",\"annotations\":[],\"text\":"));
    quoted(b, full ? strbuf_str(&a->said) : S(""));
    strbuf_addc(b, '}');
}

static void add_response_item(const struct demo_answer *a, struct strbuf *b, bool full)
{
    strbuf_addf(b,
                "{\"id\":\"item-%s\",\"type\":\"message\",\"role\":\"assistant\",\"status\":\"%s\","
                "\"content\":[",
                a->id, full ? "completed" : "in_progress");
    if (full)
        add_response_part(a, b, true);
    strbuf_add(b, S("]}"));
}

static void add_response(const struct demo_answer *a, struct strbuf *b, bool full)
{
    strbuf_addf(b,
                "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%" PRId64
                ",\"status\":\"%s\",\"model\":",
                a->id, a->created, full ? (a->cut ? "incomplete" : "completed") : "in_progress");
    quoted(b, a->model);
    strbuf_add(b, S(",\"output\":["));
    if (full)
        add_response_item(a, b, true);
    strbuf_addc(b, ']');
    if (full)
        strbuf_addf(b,
                    ",\"usage\":{\"input_tokens\":%zu,\"output_tokens\":%zu,\"total_tokens\":%zu}",
                    a->prompt_tokens, a->at, a->prompt_tokens + a->at);
    strbuf_addc(b, '}');
}

/* ---- streams ---- */

void demo_stream_begin(struct demo_answer *a, struct strbuf *b)
{
    switch (a->api) {
    case DEMO_CHAT:
        strbuf_add(b, S("data: "));
        add_head(a, b, "chat.completion.chunk");
        strbuf_add(
            b, S(",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                 "\"finish_reason\":null}]}\n\n"));
        break;
    case DEMO_RESPONSES:
        response_event(a, b, "response.created");
        strbuf_add(b, S(",\"response\":"));
        add_response(a, b, false);
        strbuf_add(b, S("}\n\n"));
        response_event(a, b, "response.output_item.added");
        strbuf_add(b, S(",\"output_index\":0,\"item\":"));
        add_response_item(a, b, false);
        strbuf_add(b, S("}\n\n"));
        response_event(a, b, "response.content_part.added");
        strbuf_addf(
            b, ",\"item_id\":\"item-%s\",\"output_index\":0,\"content_index\":0,\"part\":", a->id);
        add_response_part(a, b, false);
        strbuf_add(b, S("}\n\n"));
        break;
    case DEMO_MESSAGES:
        event(b, "message_start");
        strbuf_addf(b,
                    "{\"type\":\"message_start\",\"message\":{\"id\":\"%s\",\"type\":\"message\","
                    "\"role\":\"assistant\",\"model\":",
                    a->id);
        quoted(b, a->model);
        strbuf_addf(b,
                    ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"
                    "\"input_tokens\":%zu,"
                    "\"output_tokens\":0}}}\n\n",
                    a->prompt_tokens);
        event(b, "content_block_start");
        strbuf_add(b, S("{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
                        "\"text\",\"text\":\"\"}}\n\n"));
        break;
    default:
        break;
    }
}

void demo_stream_token(struct demo_answer *a, struct strbuf *b)
{
    str word = demo_text_next(&a->text);
    a->at++;
    switch (a->api) {
    case DEMO_CHAT:
        strbuf_add(b, S("data: "));
        add_head(a, b, "chat.completion.chunk");
        strbuf_add(b, S(",\"choices\":[{\"index\":0,\"delta\":{\"content\":"));
        quoted(b, word);
        strbuf_add(b, S("},\"finish_reason\":null}]}\n\n"));
        break;
    case DEMO_COMPLETION:
        strbuf_add(b, S("data: "));
        add_head(a, b, "text_completion");
        strbuf_add(b, S(",\"choices\":[{\"index\":0,\"text\":"));
        quoted(b, word);
        strbuf_add(b, S(",\"finish_reason\":null}]}\n\n"));
        break;
    case DEMO_RESPONSES:
        strbuf_add(&a->said, word);
        response_event(a, b, "response.output_text.delta");
        strbuf_addf(
            b, ",\"item_id\":\"item-%s\",\"output_index\":0,\"content_index\":0,\"delta\":", a->id);
        quoted(b, word);
        strbuf_add(b, S("}\n\n"));
        break;
    case DEMO_MESSAGES:
        event(b, "content_block_delta");
        strbuf_add(b, S("{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_"
                        "delta\",\"text\":"));
        quoted(b, word);
        strbuf_add(b, S("}}\n\n"));
        break;
    default:
        strbuf_add(b, S("data: {\"content\":"));
        quoted(b, word);
        strbuf_add(b, S(",\"stop\":false}\n\n"));
        break;
    }
}

static void end_responses(struct demo_answer *a, struct strbuf *b)
{
    response_event(a, b, "response.output_text.done");
    strbuf_addf(b,
                ",\"item_id\":\"item-%s\",\"output_index\":0,\"content_index\":0,\"text\":", a->id);
    quoted(b, strbuf_str(&a->said));
    strbuf_add(b, S("}\n\n"));
    response_event(a, b, "response.content_part.done");
    strbuf_addf(b,
                ",\"item_id\":\"item-%s\",\"output_index\":0,\"content_index\":0,\"part\":", a->id);
    add_response_part(a, b, true);
    strbuf_add(b, S("}\n\n"));
    response_event(a, b, "response.output_item.done");
    strbuf_add(b, S(",\"output_index\":0,\"item\":"));
    add_response_item(a, b, true);
    strbuf_add(b, S("}\n\n"));
    response_event(a, b, a->cut ? "response.incomplete" : "response.completed");
    strbuf_add(b, S(",\"response\":"));
    add_response(a, b, true);
    strbuf_add(b, S("}\n\n"));
}

void demo_stream_end(struct demo_answer *a, struct strbuf *b, msec took)
{
    switch (a->api) {
    case DEMO_CHAT:
    case DEMO_COMPLETION: {
        const char *object = a->api == DEMO_CHAT ? "chat.completion.chunk" : "text_completion";
        strbuf_add(b, S("data: "));
        add_head(a, b, object);
        strbuf_addf(b, ",\"choices\":[{\"index\":0,%s,\"finish_reason\":\"%s\"}],",
                    a->api == DEMO_CHAT ? "\"delta\":{}" : "\"text\":\"\"", finish_reason(a));
        if (!a->include_usage) {
            add_counts(a, b);
            strbuf_addc(b, ',');
        }
        add_timings(a, b, took);
        strbuf_add(b, S("}\n\n"));
        if (a->include_usage) {
            strbuf_add(b, S("data: "));
            add_head(a, b, object);
            strbuf_add(b, S(",\"choices\":[],"));
            add_counts(a, b);
            strbuf_add(b, S("}\n\n"));
        }
        strbuf_add(b, S("data: [DONE]\n\n"));
        break;
    }
    case DEMO_RESPONSES:
        end_responses(a, b);
        break;
    case DEMO_MESSAGES:
        event(b, "content_block_stop");
        strbuf_add(b, S("{\"type\":\"content_block_stop\",\"index\":0}\n\n"));
        event(b, "message_delta");
        strbuf_addf(
            b,
            "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":null},"
            "\"usage\":{\"output_tokens\":%zu}}\n\n",
            finish_reason(a), a->at);
        event(b, "message_stop");
        strbuf_add(b, S("{\"type\":\"message_stop\"}\n\n"));
        break;
    default:
        strbuf_addf(
            b,
            "data: "
            "{\"content\":\"\",\"stop\":true,\"tokens_predicted\":%zu,\"tokens_evaluated\":%zu,",
            a->at, a->prompt_tokens);
        add_timings(a, b, took);
        strbuf_add(b, S("}\n\n"));
        break;
    }
}

/* ---- at once ---- */

void demo_whole(struct demo_answer *a, struct strbuf *b, msec took)
{
    while (a->at < a->tokens) {
        strbuf_add(&a->said, demo_text_next(&a->text));
        a->at++;
    }
    str said = strbuf_str(&a->said);
    switch (a->api) {
    case DEMO_CHAT:
        add_head(a, b, "chat.completion");
        strbuf_add(
            b, S(",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"));
        quoted(b, said);
        strbuf_addf(b, "},\"finish_reason\":\"%s\"}],", finish_reason(a));
        add_counts(a, b);
        strbuf_addc(b, ',');
        add_timings(a, b, took);
        break;
    case DEMO_COMPLETION:
        add_head(a, b, "text_completion");
        strbuf_add(b, S(",\"choices\":[{\"index\":0,\"text\":"));
        quoted(b, said);
        strbuf_addf(b, ",\"finish_reason\":\"%s\"}],", finish_reason(a));
        add_counts(a, b);
        strbuf_addc(b, ',');
        add_timings(a, b, took);
        break;
    case DEMO_RESPONSES:
        add_response(a, b, true);
        return;
    case DEMO_MESSAGES:
        strbuf_addf(b,
                    "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", a->id);
        quoted(b, a->model);
        strbuf_add(b, S(",\"content\":[{\"type\":\"text\",\"text\":"));
        quoted(b, said);
        strbuf_addf(b,
                    "}],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":%"
                    "zu,\"output_tokens\":%zu}",
                    finish_reason(a), a->prompt_tokens, a->at);
        break;
    default:
        strbuf_add(b, S("{\"content\":"));
        quoted(b, said);
        strbuf_addf(b, ",\"stop\":true,\"tokens_predicted\":%zu,\"tokens_evaluated\":%zu,", a->at,
                    a->prompt_tokens);
        add_timings(a, b, took);
        break;
    }
    strbuf_addc(b, '}');
}
