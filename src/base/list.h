/* list.h: intrusive doubly linked list, circular with a head node. O(1) everywhere, no allocation. */
#ifndef LUASWAP_BASE_LIST_H
#define LUASWAP_BASE_LIST_H

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
/* True for a node that is in a list. A node must have been list_init()ed or removed. */
static inline bool list_linked(const struct list *n)
{
    return n->next != n;
}
static inline void list_insert_before(struct list *at, struct list *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
static inline void list_push_back(struct list *head, struct list *n)
{
    list_insert_before(head, n);
}
static inline void list_push_front(struct list *head, struct list *n)
{
    list_insert_before(head->next, n);
}
/* Harmless on a node that is in no list. */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
static inline struct list *list_first(struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
/* The body may remove `it` itself, but no other node. */
#define LIST_FOREACH(it, head)                                                                     \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

#endif
