/* map.c: see map.h. */
#include "base/map.h"

#include "base/mem.h"
#include "base/rand.h"

void map_init(struct map *m)
{
    *m = (struct map){ 0 };
    rand_bytes(&m->seed, sizeof m->seed);
}

void map_fini(struct map *m)
{
    free(m->entries);
    free(m->slots);
    *m = (struct map){ .seed = m->seed };
}

static size_t probe(const struct map *m, str key, bool *ret_found)
{
    size_t i = (size_t)str_hash(key, m->seed) & m->mask;
    while (m->slots[i]) {
        if (str_eq(m->entries[m->slots[i] - 1].key, key)) {
            *ret_found = true;
            return i;
        }
        i = (i + 1) & m->mask;
    }
    *ret_found = false;
    return i;
}

static void rehash(struct map *m, size_t nslots)
{
    free(m->slots);
    m->slots = mem_calloc(nslots, sizeof *m->slots);
    m->mask = nslots - 1;
    for (size_t e = 0; e < m->len; e++) {
        bool found;
        m->slots[probe(m, m->entries[e].key, &found)] = (uint32_t)e + 1;
    }
}

void *map_get(const struct map *m, str key)
{
    bool found = false;
    size_t i = m->slots ? probe(m, key, &found) : 0;
    return found ? m->entries[m->slots[i] - 1].value : NULL;
}

bool map_has(const struct map *m, str key)
{
    bool found = false;
    if (m->slots)
        (void)probe(m, key, &found);
    return found;
}

bool map_set(struct map *m, str key, void *value)
{
    if (!m->slots || (m->len + 1) * 4 > (m->mask + 1) * 3)
        rehash(m, m->slots ? (m->mask + 1) * 2 : 16);
    bool found;
    size_t i = probe(m, key, &found);
    if (found) {
        m->entries[m->slots[i] - 1].value = value;
        return false;
    }
    if (m->len == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 8;
        m->entries = mem_resize(m->entries, m->cap, sizeof *m->entries);
    }
    m->entries[m->len] = (struct map_entry){ key, value };
    m->slots[i] = (uint32_t)++m->len;
    return true;
}

bool map_del(struct map *m, str key)
{
    bool found = false;
    size_t i = m->slots ? probe(m, key, &found) : 0;
    if (!found)
        return false;
    size_t e = m->slots[i] - 1;
    m->entries[e] = m->entries[--m->len];
    rehash(m, m->mask + 1); /* rare in our uses; keeps the probe chains simple */
    return true;
}
