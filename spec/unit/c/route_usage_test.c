/* route_usage_test.c: token counts in answers: where they are found, what is passed over, how little is kept. */
#include "spec.h"

#include "base/strbuf.h"
#include "route/usage.h"

static struct usage_tokens in_pieces(str text, size_t piece)
{
    struct usage u;
    usage_init(&u);
    for (size_t at = 0; at < text.len; at += piece)
        usage_add(&u, str_sub(text, at, piece));
    struct usage_tokens t = usage_end(&u);
    usage_fini(&u);
    return t;
}

static void expect(const char *text, int64_t in, int64_t out)
{
    for (size_t piece = 1; piece < 4000; piece = piece * 3 + 1) {
        struct usage_tokens t = in_pieces(str_c(text), piece);
        CHECK_INT(in, t.in);
        CHECK_INT(out, t.out);
    }
}

TEST(usage_of_the_known_kinds_of_answers)
{
    expect("{\"choices\":[{\"message\":{\"content\":\"hi\"}}],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7}}", 11, 7);
    expect("{\"object\":\"list\",\"usage\": {\"prompt_tokens\": 4, \"total_tokens\": 4},\"data\":[]}", 4, -1);
    expect("{\"type\":\"message\",\"usage\":{\"input_tokens\":3,\"output_tokens\":9}}", 3, 9);
    expect("{\"content\":\"x\",\"timings\":{\"prompt_n\":5,\"predicted_n\":6}}", 5, 6);
    expect("data: {\"choices\":[],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n"
           "data: [DONE]\n\n", 1, 2);
    expect("event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":8,\"output_tokens\":1}}}\n\n"
           "event: message_delta\ndata: {\"usage\":{\"output_tokens\":40}}\n\n", 8, 40);
}

TEST(usage_that_is_not_there)
{
    expect("", -1, -1);
    expect("no JSON at all", -1, -1);
    expect("{\"usage\"", -1, -1);
    expect("{\"usage\":{\"prompt_tokens\":", -1, -1);
    expect("{\"usage\":{\"prompt_tokens\":\"many\",\"completion_tokens\":-4}}", -1, -1);
    expect("{\"content\":\"the \\\"usage\\\": {none}\"}", -1, -1);
}

TEST(usage_at_the_end_of_a_long_answer_and_at_its_beginning)
{
    struct strbuf b = STRBUF(1u << 20);
    strbuf_add(&b, S("{\"data\":\""));
    for (int i = 0; i < 50000; i++)
        strbuf_add(&b, S("0.125,"));
    strbuf_add(&b, S("\",\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":22}}"));
    for (size_t piece = 100; piece < 400000; piece *= 7) {
        struct usage_tokens t = in_pieces(strbuf_str(&b), piece);
        CHECK_INT(21, t.in);
        CHECK_INT(22, t.out);
    }
    strbuf_clear(&b);
    strbuf_add(&b, S("{\"usage\":{\"prompt_tokens\":31},\"data\":["));
    for (int i = 0; i < 50000; i++)
        strbuf_add(&b, S("0.125,"));
    CHECK_INT(31, in_pieces(strbuf_str(&b), 1000).in);
    strbuf_fini(&b);
}
