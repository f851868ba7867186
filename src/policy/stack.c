/* Lua stacks have a size of their own to keep, far below Lua's million slots: a chain of __call inserts an argument for
 * each step and moves the whole stack for it, inside of one instruction, which no hook can interrupt; up to a million
 * that is minutes. Stacks are recognized by the order of allocation in Lua 5.4: that of a thread follows its object; one
 * that grows (to twice its slots, and a few spare ones) is moved by realloc, or made anew before the old one is freed. A
 * Lua that does it otherwise would only lose this guard. */
#include "policy/priv.h"

#define SPARE (5 * 16) /* bytes behind the slots */

static struct stack *find(struct policy *p, const void *ptr)
{
    for (size_t i = 0; i < p->n_stacks; i++)
        if (p->stacks[i].at == ptr)
            return &p->stacks[i];
    return NULL;
}

static void enter(struct policy *p, const void *at, size_t size)
{
    if (p->n_stacks < POLICY_STACKS) /* more coroutines than are kept: these go unguarded */
        p->stacks[p->n_stacks++] = (struct stack){ at, size };
}

bool stack_may_grow(struct policy *p, const void *ptr, size_t nsize)
{
    if (nsize <= POLICY_STACK_MAX || !p->in_hook || p->m.killed)
        return true;
    bool stack = ptr && find(p, ptr);
    for (size_t i = 0; !ptr && !stack && i < p->n_stacks; i++)
        stack = nsize == 2 * p->stacks[i].size - SPARE;
    p->stack_hit = p->stack_hit || stack;
    return !stack;
}

void stack_gone(struct policy *p, const void *ptr)
{
    struct stack *s = find(p, ptr);
    if (!s)
        return;
    if (p->plain && p->plain_size >= POLICY_STACK_MIN && !find(p, p->plain)) /* its successor was made just before */
        *s = (struct stack){ p->plain, p->plain_size };
    else
        *s = p->stacks[--p->n_stacks];
}

bool stack_moves(struct policy *p, const void *ptr)
{
    struct stack *s = find(p, ptr);
    if (s)
        *s = p->stacks[--p->n_stacks];
    return s != NULL;
}

void stack_made(struct policy *p, const void *now, size_t tag, size_t size, bool moved)
{
    if (moved || p->stack_next)
        enter(p, now, size);
    p->stack_next = !moved && tag == LUA_TTHREAD; /* of its object; its stack comes next */
    p->plain = !moved && tag == 0 ? now : NULL;
    p->plain_size = size;
}
