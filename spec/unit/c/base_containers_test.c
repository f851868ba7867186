/* base_containers_test.c: list, map and ring, against simple models. */
#include "base/list.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/ring.h"
#include "base/strbuf.h"

#include "spec.h"

#include <stdio.h>

struct item {
    int n;
    struct list link;
};

static int sum_in_order(struct list *l)
{
    int s = 0;
    LIST_FOREACH (at, l)
        s = s * 10 + LIST_ENTRY(at, struct item, link)->n;
    return s;
}

TEST(list_keeps_order)
{
    struct list l;
    struct item it[5];
    list_init(&l);
    CHECK_TRUE(list_empty(&l));
    CHECK_NULL(list_first(&l));
    for (int i = 0; i < 5; i++) {
        it[i].n = i + 1;
        list_init(&it[i].link);
        CHECK_FALSE(list_linked(&it[i].link));
    }
    list_push_back(&l, &it[0].link);
    list_push_back(&l, &it[1].link);
    list_push_front(&l, &it[2].link);
    list_insert_before(&it[1].link, &it[3].link);
    CHECK_INT(3142, sum_in_order(&l));
    list_remove(&it[0].link);
    list_remove(&it[0].link); /* harmless */
    CHECK_INT(342, sum_in_order(&l));
    CHECK_TRUE(list_first(&l) == &it[2].link);
}

TEST(list_loop_may_remove_its_own_node)
{
    struct list l;
    struct item it[6];
    list_init(&l);
    for (int i = 0; i < 6; i++) {
        it[i].n = i;
        list_init(&it[i].link);
        list_push_back(&l, &it[i].link);
    }
    LIST_FOREACH (at, &l)
        if (LIST_ENTRY(at, struct item, link)->n % 2 == 0)
            list_remove(at);
    CHECK_INT(135, sum_in_order(&l));
    LIST_FOREACH (at, &l)
        list_remove(at);
    CHECK_TRUE(list_empty(&l));
}

TEST(map_finds_replaces_deletes)
{
    struct map m;
    int a = 1, b = 2;
    map_init(&m);
    CHECK_NULL(map_get(&m, S("x")));
    CHECK_FALSE(map_del(&m, S("x")));
    CHECK_TRUE(map_set(&m, S("x"), &a));
    CHECK_FALSE(map_set(&m, S("x"), &b));
    CHECK_TRUE(map_get(&m, S("x")) == &b);
    CHECK_TRUE(map_set(&m, S(""), NULL));
    CHECK_TRUE(map_has(&m, S("")));
    CHECK_NULL(map_get(&m, S("")));
    CHECK_FALSE(map_has(&m, S("X")));
    CHECK_TRUE(map_set(&m, S("x\0y"), &a));
    CHECK_UINT(3, m.len);
    CHECK_TRUE(map_del(&m, S("x")));
    CHECK_FALSE(map_has(&m, S("x")));
    CHECK_TRUE(map_get(&m, S("x\0y")) == &a);
    map_fini(&m);
    CHECK_NULL(map_get(&m, S("x\0y")));
    CHECK_TRUE(map_set(&m, S("x"), &a));
    map_fini(&m);
}

TEST(map_keeps_insertion_order)
{
    struct map m;
    static const char names[] = "abcdefghijklmnopqrstuvwxyz";
    map_init(&m);
    for (size_t i = 0; i < 26; i++)
        map_set(&m, str_n(names + i, 1), NULL);
    for (size_t i = 0; i < 26; i++)
        CHECK_STR(str_n(names + i, 1), m.entries[i].key);
    map_fini(&m);
}

TEST(map_agrees_with_a_plain_array)
{
    enum { KEYS = 400, STEPS = 20000 };
    static char names[KEYS][8];
    static int values[KEYS];
    bool in[KEYS] = { false };
    struct map m;
    struct rand_state r;
    uint64_t seed;
    rand_bytes(&seed, sizeof seed);
    rand_seed(&r, seed);
    map_init(&m);
    size_t live = 0;
    for (int i = 0; i < KEYS; i++)
        snprintf(names[i], sizeof names[i], "k%d", i);
    for (int step = 0; step < STEPS; step++) {
        size_t k = (size_t)rand_below(&r, KEYS);
        str key = str_c(names[k]);
        bool ok;
        if (rand_below(&r, 3) == 0) {
            ok = map_del(&m, key) == in[k];
            live -= in[k];
            in[k] = false;
        } else {
            ok = map_set(&m, key, &values[k]) == !in[k];
            live += !in[k];
            in[k] = true;
        }
        k = (size_t)rand_below(&r, KEYS);
        ok = ok && map_get(&m, str_c(names[k])) == (in[k] ? &values[k] : NULL) && m.len == live;
        if (!ok)
            spec_miss(__FILE__, __LINE__, "map differs at step %d, seed %llu", step, (unsigned long long)seed);
    }
    map_fini(&m);
}

/* The ring's contents as one text. */
static str ring_text(const struct ring *r, struct strbuf *b)
{
    str old, new;
    ring_read(r, &old, &new);
    strbuf_clear(b);
    strbuf_add(b, old);
    strbuf_add(b, new);
    return strbuf_str(b);
}

TEST(ring_keeps_the_newest_bytes)
{
    struct ring r;
    struct strbuf b = STRBUF(100);
    ring_init(&r, 8);
    CHECK_STR("", ring_text(&r, &b));
    ring_write(&r, STR_NONE);
    CHECK_NULL(r.buf); /* the memory comes with the first byte */
    ring_write(&r, S("abc"));
    CHECK_STR("abc", ring_text(&r, &b));
    ring_write(&r, S("defgh"));
    CHECK_STR("abcdefgh", ring_text(&r, &b));
    ring_write(&r, S("ij"));
    CHECK_STR("cdefghij", ring_text(&r, &b));
    ring_write(&r, S("0123456789ABC"));
    CHECK_STR("56789ABC", ring_text(&r, &b));
    ring_clear(&r);
    CHECK_STR("", ring_text(&r, &b));
    ring_write(&r, S("z"));
    CHECK_STR("z", ring_text(&r, &b));
    ring_fini(&r);
    ring_init(&r, 0); /* at least one byte */
    ring_write(&r, S("xy"));
    CHECK_STR("y", ring_text(&r, &b));
    ring_fini(&r);
    strbuf_fini(&b);
}

TEST(ring_agrees_with_plain_text)
{
    struct ring r;
    struct strbuf b = STRBUF(1000), all = STRBUF(1 << 20);
    struct rand_state rs;
    uint64_t seed;
    rand_bytes(&seed, sizeof seed);
    rand_seed(&rs, seed);
    ring_init(&r, 61);
    for (int i = 0; i < 3000; i++) {
        char piece[150];
        size_t n = (size_t)rand_below(&rs, i % 50 == 0 ? 150 : 20);
        for (size_t k = 0; k < n; k++)
            piece[k] = (char)rand_u64(&rs);
        ring_write(&r, str_n(piece, n));
        strbuf_add(&all, str_n(piece, n));
        size_t keep = all.len < 61 ? all.len : 61;
        if (!str_eq(str_sub(strbuf_str(&all), all.len - keep, keep), ring_text(&r, &b)))
            spec_miss(__FILE__, __LINE__, "ring differs at step %d, seed %llu", i, (unsigned long long)seed);
    }
    ring_fini(&r);
    strbuf_fini(&b);
    strbuf_fini(&all);
}
