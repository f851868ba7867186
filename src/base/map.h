/* map.h: string-keyed hash map (open addressing, seeded hash, grows at 3/4).
 *
 * Keys are borrowed: the caller keeps the bytes alive while the entry is there. Values are pointers.
 * Iteration is in insertion order of the surviving entries until a deletion, then unspecified.
 */
#ifndef LUASWAP_BASE_MAP_H
#define LUASWAP_BASE_MAP_H

#include "base/str.h"

struct map_entry {
    str key;
    void *value;
};
struct map {
    struct map_entry *entries; /* dense */
    uint32_t *slots;           /* index + 1 into entries, 0 = empty */
    size_t len, cap, mask;
    uint64_t seed;
};

void map_init(struct map *m);
void map_fini(struct map *m);
void *map_get(const struct map *m, str key); /* NULL when absent */
bool map_has(const struct map *m, str key);
/* Adds or replaces. True when the key is new. */
bool map_set(struct map *m, str key, void *value);
bool map_del(struct map *m, str key);

#endif
