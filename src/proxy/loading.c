/* loading.c: the event stream that keeps a client company while its model loads (http.md 4.7).
 *
 * It starts when a request that may show it has to wait, for a load or for its turn. The text between the two marker
 * lines is ours; clients key on the markers. Nothing here ever delays the answer.
 */
#include "base/rand.h"
#include "codec/json.h"
#include "codec/http_write.h"
#include "proxy/model.h"
#include "proxy/server.h"
#include "route/error_body.h"
#include "route/wire.h"

#define TICK_MS 750
#define REMARK_MIN_MS 5000
#define REMARK_SPREAD_MS 4000

struct loading {
    struct io_timer *timer;
    msec started, next_remark;
    uint32_t position; /* to be shown at the next tick, 0 = none */
    uint32_t order[32];
    size_t next;
    struct rand_state rand;
    bool ended;
};

static const char *const remarks[] = {
    "Warming up the tensors.",
    "Persuading the previous model to leave.",
    "Carrying weights, one gigabyte at a time.",
    "The bus to the GPU is running on schedule.",
    "Unrolling the context window.",
    "Looking for the attention heads; two were found under the desk.",
    "Quantising patience.",
    "Filling the cache with good intentions.",
    "Asking the fans to take a deep breath.",
    "Sorting layers by enthusiasm.",
    "Teaching the tokenizer to count again.",
    "Memory is being mapped; please mind the gap.",
    "Almost every parameter is on board.",
    "Polishing the logits.",
    "Reading the model its bedtime story backwards.",
    "The scheduler sends its regards.",
    "Checking that nobody else is using this GPU.",
    "Straightening the residual stream.",
    "Counting to eight billion.",
    "Good things come to those who queue.",
};
_Static_assert(ARRAY_LEN(remarks) <= 32, "order[] holds them all");

static void say(struct request *req, str text)
{
    struct strbuf ev = STRBUF(8192);
    strbuf_add(&ev, S("data: {\"choices\":[{\"delta\":{\"reasoning_content\":\""));
    strbuf_add_json(&ev, text);
    strbuf_add(&ev, S("\"}}]}\n\n"));
    (void)http_req_send(req->http, strbuf_str(&ev));
    strbuf_fini(&ev);
}

static void on_tick(void *ud)
{
    struct request *req = ud;
    struct loading *l = req->loading;
    msec now = io_loop_now(req->srv->loop);
    io_timer_set(l->timer, TICK_MS);
    if (http_req_queued(req->http) > 16u * 1024)
        return; /* it does not read; more text would only pile up */
    struct strbuf text = STRBUF(512);
    if (l->position) {
        strbuf_addf(&text, "\nQueue position: #%u ", l->position);
        l->position = 0;
        l->next_remark = now + REMARK_MIN_MS + (msec)rand_below(&l->rand, REMARK_SPREAD_MS);
    } else if (now >= l->next_remark) {
        strbuf_addf(&text, "\n%s ", remarks[l->order[l->next]]);
        l->next = (l->next + 1) % ARRAY_LEN(remarks);
        l->next_remark = now + REMARK_MIN_MS + (msec)rand_below(&l->rand, REMARK_SPREAD_MS);
    } else {
        strbuf_addc(&text, '.');
    }
    say(req, strbuf_str(&text));
    strbuf_fini(&text);
}

static void shuffle(struct loading *l)
{
    for (uint32_t i = 0; i < ARRAY_LEN(remarks); i++)
        l->order[i] = i;
    for (uint32_t i = ARRAY_LEN(remarks) - 1; i > 0; i--) {
        uint32_t j = (uint32_t)rand_below(&l->rand, i + 1), t = l->order[i];
        l->order[i] = l->order[j];
        l->order[j] = t;
    }
}

void loading_start(struct request *req)
{
    struct loading *l = ARENA_NEW(http_req_arena(req->http), struct loading);
    req->loading = l;
    l->started = l->next_remark = io_loop_now(req->srv->loop);
    l->position = req->position;
    rand_seed(&l->rand, req->id * 0x9E3779B97F4A7C15u + (uint64_t)l->started);
    shuffle(l);
    struct strbuf *h = http_req_head_begin(req->http, 200, S("OK"));
    http_head_add(h, S("Content-Type"), S("text/event-stream"));
    http_head_add(h, S("Cache-Control"), S("no-cache"));
    http_req_say_keep_alive(req->http);
    http_head_add(h, S("X-Accel-Buffering"), S("no"));
    record_header(req, h);
    http_req_head_end(req->http, HTTP_BODY_CHUNKED, 0);
    say(req, S(WIRE_LOADING_MARK "\n"));
    struct strbuf text = STRBUF(2048);
    strbuf_addf(&text, "luaswap loading model: " STR_FMT "\n", STR_ARG(req->model->name));
    say(req, strbuf_str(&text));
    strbuf_fini(&text);
    l->timer = io_timer_new(req->srv->loop, "loading stream", on_tick, req);
    io_timer_set(l->timer, TICK_MS);
}

void loading_position(struct request *req, uint32_t n)
{
    req->loading->position = n;
}

void loading_granted(struct request *req)
{
    loading_end(req);
}

void loading_end(struct request *req)
{
    struct loading *l = req->loading;
    if (l->ended)
        return;
    l->ended = true;
    io_timer_clear(l->timer);
    struct strbuf text = STRBUF(256);
    msec took = io_loop_now(req->srv->loop) - l->started;
    strbuf_addf(&text, "\nDone! (%lld.%02llds)\n", (long long)(took / 1000), (long long)(took % 1000 / 10));
    say(req, strbuf_str(&text));
    say(req, S(WIRE_LOADING_MARK "\n"));
    say(req, S(" \n"));
    strbuf_fini(&text);
}

void loading_fail(struct request *req, int status, str message)
{
    loading_end(req);
    struct strbuf ev = STRBUF(16u * 1024);
    error_body_event(&ev, status, message, NULL);
    strbuf_add(&ev, S("data: [DONE]\n\n"));
    (void)http_req_send(req->http, strbuf_str(&ev));
    strbuf_fini(&ev);
    if (req->state != REQ_REPLY)
        req_to(req, REQ_REPLY);
    http_req_finish(req->http);
}

void loading_free(struct request *req)
{
    if (req->loading)
        io_timer_free(req->loading->timer);
    req->loading = NULL;
}
