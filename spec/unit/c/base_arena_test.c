/* base_arena_test.c: regions: limits, alignment, zeroing, cleanups, reset. */
#include "base/arena.h"

#include "spec.h"

TEST(memory_is_aligned_and_zeroed)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t size = 0; size < 300; size++) {
        unsigned char *p = arena_alloc(&a, size);
        CHECK_UINT(0, (uintptr_t)p % 16);
        for (size_t i = 0; i < size; i++)
            CHECK_INT(0, p[i]);
        memset(p, 0xAA, size);
    }
    arena_fini(&a);
}

TEST(pieces_do_not_overlap)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    unsigned char *p[200];
    for (size_t i = 0; i < 200; i++) {
        p[i] = arena_alloc(&a, i * 13 % 97 + 1);
        memset(p[i], (int)i, i * 13 % 97 + 1);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i * 13 % 97 + 1; k++)
            CHECK_INT((unsigned char)i, p[i][k]);
    arena_fini(&a);
}

TEST(limit_is_kept_and_reported)
{
    struct arena a;
    arena_init(&a, 4096);
    CHECK_NULL(arena_try(&a, 5000));
    CHECK_TRUE(arena_try(&a, 4096) != NULL); /* the whole of it in one piece */
    CHECK_NULL(arena_try(&a, 1));
    CHECK_NULL(arena_try_dup(&a, S("x")).ptr);
    arena_fini(&a);
    size_t n = 0;
    while (arena_try(&a, 64))
        n++;
    CHECK_TRUE(n >= 32 && n <= 64); /* usable again, and again limited */
    CHECK_TRUE(a.used <= 4096);
    arena_fini(&a);
}

TEST(absurd_sizes_are_refused)
{
    struct arena a;
    arena_init(&a, SIZE_MAX);
    CHECK_NULL(arena_try(&a, SIZE_MAX));
    CHECK_NULL(arena_try(&a, SIZE_MAX - 15));
    arena_fini(&a);
}

static void alloc_too_much(void *arg)
{
    (void)arena_alloc(arg, 1 << 20);
}

static void multiply_too_much(void *arg)
{
    (void)arena_calloc(arg, SIZE_MAX / 4, 16);
}

TEST(alloc_aborts_where_try_says_no)
{
    struct arena a;
    arena_init(&a, 4096);
    CHECK_ABORTS(alloc_too_much, &a);
    CHECK_ABORTS(multiply_too_much, &a);
    arena_fini(&a);
}

static char order[16];
static size_t order_len;

static void note(void *ptr)
{
    order[order_len++] = *(char *)ptr;
    order[order_len] = '\0';
}

TEST(cleanups_run_once_newest_first)
{
    struct arena a;
    char names[] = "abc";
    order_len = 0;
    arena_init(&a, 4096);
    for (size_t i = 0; i < 3; i++)
        arena_on_end(&a, note, &names[i]);
    arena_reset(&a);
    CHECK_STR("cba", order);
    arena_fini(&a);
    arena_fini(&a);
    CHECK_STR("cba", order);
}

TEST(cleanup_may_still_read_its_arena)
{
    struct arena a;
    order_len = 0;
    arena_init(&a, 1 << 20);
    char *early = arena_alloc(&a, 1);
    *early = 'e';
    arena_on_end(&a, note, early);
    for (int i = 0; i < 100; i++)
        (void)arena_alloc(&a, 1000);
    arena_fini(&a);
    CHECK_STR("e", order);
}

TEST(cleanup_can_be_added_to_a_full_arena)
{
    struct arena a;
    char name = 'f';
    order_len = 0;
    arena_init(&a, 256);
    while (arena_try(&a, 16))
        ;
    arena_on_end(&a, note, &name);
    arena_fini(&a);
    CHECK_STR("f", order);
}

TEST(reset_keeps_the_limit_and_the_first_chunk)
{
    struct arena a;
    arena_init(&a, 1 << 16);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 60; i++) {
            unsigned char *p = arena_try(&a, 1000);
            CHECK_TRUE(p != NULL);
            CHECK_INT(0, p[999]); /* zeroed anew */
            memset(p, 0xFF, 1000);
        }
        arena_reset(&a);
        CHECK_TRUE(a.used <= 1 << 16);
    }
    arena_fini(&a);
    arena_reset(&a); /* of an empty one */
    struct arena zero = { 0 };
    arena_fini(&zero);
}

TEST(copies_are_nul_ended)
{
    struct arena a;
    arena_init(&a, 4096);
    str d = arena_dup(&a, S("ab\0c"));
    CHECK_STR(S("ab\0c"), d);
    CHECK_INT('\0', d.ptr[4]);
    CHECK_TRUE(arena_dup(&a, STR_NONE).ptr != NULL);
    CHECK_NULL(arena_cstr(&a, S("a\0b")));
    CHECK_STR("ab", arena_cstr(&a, S("ab")));
    CHECK_STR("7-x", arena_printf(&a, "%d-%s", 7, "x"));
    arena_fini(&a);
}
