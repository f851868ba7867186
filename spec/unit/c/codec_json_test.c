/* The JSON writer, and the accessors of the tree view. */
#include "spec.h"

#include "codec/json.h"

#include <math.h>

TEST(json_out_puts_commas_and_quotes_where_they_belong)
{
    struct strbuf b = STRBUF(4096);
    struct json_out o;
    json_out_init(&o, &b);
    json_out_object(&o);
    json_out_kstr(&o, "s", S("a\"b\n\xff"));
    json_out_kint(&o, "min", INT64_MIN);
    json_out_knum(&o, "x", 0.1);
    json_out_knum(&o, "inf", (double)INFINITY);
    json_out_kbool(&o, "t", true);
    json_out_knull(&o, "n");
    json_out_kraw(&o, "raw", S("[1, 2]"));
    json_out_key(&o, S("list"));
    json_out_array(&o);
    json_out_array(&o);
    json_out_end(&o, ']');
    json_out_uint(&o, UINT64_MAX);
    json_out_object(&o);
    json_out_end(&o, '}');
    json_out_str(&o, S(""));
    json_out_bool(&o, false);
    json_out_null(&o);
    json_out_end(&o, ']');
    json_out_key(&o, S("k\\"));
    json_out_object(&o);
    json_out_kint(&o, "z", 0);
    json_out_end(&o, '}');
    json_out_end(&o, '}');
    CHECK_STR("{\"s\":\"a\\\"b\\n\xEF\xBF\xBD\",\"min\":-9223372036854775808,\"x\":0.1,\"inf\":"
              "null,\"t\":true,"
              "\"n\":null,\"raw\":[1, 2],\"list\":[[],18446744073709551615,{},\"\",false,null],"
              "\"k\\\\\":{\"z\":0}}",
              strbuf_str(&b));
    CHECK_FALSE(b.full);
    strbuf_fini(&b);
}

TEST(json_out_says_when_there_is_no_room)
{
    struct strbuf b = STRBUF(10);
    struct json_out o;
    json_out_init(&o, &b);
    json_out_array(&o);
    json_out_str(&o, S("more than ten bytes"));
    json_out_end(&o, ']');
    CHECK_TRUE(b.full);
    strbuf_fini(&b);
}

TEST(json_view_is_safe_to_ask_for_what_is_not_there)
{
    struct arena a;
    json v, none = { NULL };
    int64_t i;
    arena_init(&a, 1u << 16);
    CHECK_INT(0, json_parse(&a, S("{\"a\":{\"b\":[10,20.5,1e300,-3]},\"A\":1,\"s\":\"x\",\"a\":2}"),
                            &json_caps_small, &v, NULL));
    CHECK_INT(JSON_OBJECT, json_kind(json_get(v, S("a"))));
    CHECK_INT(JSON_NUMBER, json_kind(json_dig(v, "A")));
    json list = json_dig(v, "a.b");
    CHECK_UINT(4, json_len(list));
    CHECK_TRUE(json_int(json_at(list, 0), &i));
    CHECK_INT(10, i);
    CHECK_FALSE(json_int(json_at(list, 1), &i));
    CHECK_FALSE(json_int(json_at(list, 2), &i));
    CHECK_TRUE(json_int(json_at(list, 3), &i));
    CHECK_INT(-3, i);
    CHECK_INT(JSON_NONE, json_kind(json_at(list, 4)));
    CHECK_INT(JSON_NONE, json_kind(json_dig(v, "a.b.c")));
    CHECK_INT(JSON_NONE, json_kind(json_dig(v, "x.y.z")));
    CHECK_INT(JSON_NONE, json_kind(json_get(json_dig(v, "s"), S("s"))));
    CHECK_INT(JSON_NONE, json_kind(json_next(json_first(none))));
    CHECK_STR("x", json_str(json_dig(v, "s")));
    CHECK_STR("", json_str(json_dig(v, "A")));
    CHECK_STR("", json_name(none));
    CHECK_TRUE(json_is(json_dig(v, "s"), "x"));
    CHECK_FALSE(json_is(json_dig(v, "s"), "xy"));
    CHECK_TRUE(json_bool(none, true));
    CHECK_INT(7, (int)json_num(none, 7));
    CHECK_UINT(0, json_len(none));
    arena_fini(&a);
}
