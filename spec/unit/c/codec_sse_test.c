#include "codec/sse.h"

#include "spec.h"

static struct strbuf got;

static bool note(void *ud, const struct sse_event *ev)
{
    (void)ud;
    strbuf_addf(&got, "[" STR_FMT "|" STR_FMT "|" STR_FMT "]", STR_ARG(ev->name), STR_ARG(ev->data), STR_ARG(ev->id));
    return true;
}

static bool note_and_stop(void *ud, const struct sse_event *ev)
{
    note(ud, ev);
    return false;
}

static void all_pieces(str in, const char *want)
{
    for (size_t step = 1; step <= in.len; step++) {
        struct sse s;
        sse_init(&s, 100);
        strbuf_init(&got, 4096);
        for (size_t at = 0; at < in.len; at += step) {
            str piece = str_sub(in, at, step);
            CHECK_UINT(piece.len, sse_feed(&s, piece, note, NULL));
        }
        CHECK_STR(want, strbuf_str(&got));
        strbuf_fini(&got);
        sse_fini(&s);
    }
}

TEST(sse_events_in_pieces_of_any_size)
{
    all_pieces(S("data: a\n\ndata:b\r\n\r\ndata:  c\r\rignored: x\n: comment\n\nevent: e\nid: 7\ndata: x\ndata\ndata: y\n\ndata: z\n\n"),
               "[|a|][|b|][| c|][e|x\n\ny|7][|z|7]");
    all_pieces(S("\xef\xbb\xbf" "data: [DONE]\n\ndata: unfinished"), "[|[DONE]|]");
    all_pieces(S("\n\n\n\nevent: only\n\ndata:\n\n"), "[||]");
}

TEST(an_event_that_is_too_large_is_skipped)
{
    struct strbuf b = STRBUF(4096);
    strbuf_add(&b, S("data: "));
    for (int i = 0; i < 300; i++)
        strbuf_addc(&b, 'x');
    strbuf_add(&b, S("\n\ndata: ok\n\n"));
    all_pieces(strbuf_str(&b), "[|ok|]");
    strbuf_fini(&b);
}

TEST(sse_feed_stops_where_the_reader_says)
{
    struct sse s;
    sse_init(&s, 100);
    strbuf_init(&got, 4096);
    str in = S("data: a\n\ndata: b\n\n");
    CHECK_UINT(9, sse_feed(&s, in, note_and_stop, NULL));
    CHECK_UINT(9, sse_feed(&s, str_sub(in, 9, 100), note_and_stop, NULL));
    CHECK_STR("[|a|][|b|]", strbuf_str(&got));
    strbuf_fini(&got);
    sse_fini(&s);
}

TEST(sse_write_splits_lines)
{
    struct strbuf b = STRBUF(4096);
    CHECK_TRUE(sse_write(&b, S("e"), S("a\nb\r\nc\rd")));
    CHECK_TRUE(sse_write(&b, S("bad\nname"), S("")));
    CHECK_STR("event: e\ndata: a\ndata: b\ndata: c\ndata: d\n\ndata: \n\n", strbuf_str(&b));
    strbuf_fini(&b);
}
