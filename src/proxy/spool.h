/* spool.h: bytes that must wait: in memory up to a mark, beyond it in an unlinked temporary file.
 *
 * What: a queue of bytes (add at the end, read from the front) that can also be seen as one slice.
 * Owns: its memory, descriptor and mapping; spool_fini releases all.
 * Limits: `max` bytes in all, `mem_max` of them in memory. The file lies in $TMPDIR, /var/tmp or /tmp (in that
 *         order: /tmp is often memory) and has no name, so that nothing is left behind by a crash.
 * Note: writes go to the page cache synchronously, as nginx does; the loop thread does not wait for a disk.
 */
#ifndef LUASWAP_PROXY_SPOOL_H
#define LUASWAP_PROXY_SPOOL_H

#include "base/error.h"
#include "base/strbuf.h"

struct spool {
    struct strbuf mem;
    int fd;          /* -1 while everything is in memory */
    uint64_t len;    /* bytes added since the last time it was empty */
    uint64_t taken;  /* bytes read of them */
    uint64_t max;
    size_t mem_max;
    void *map;
    size_t map_len;
};

void spool_init(struct spool *s, size_t mem_max, uint64_t max);
void spool_fini(struct spool *s);
/* The coming length is known: reserves memory once instead of growing. A hint, bounded by mem_max. */
void spool_expect(struct spool *s, uint64_t total);
/* ERR_LIMIT above max, ERR_SYS when the file cannot be written (disk full); then nothing was added. */
int spool_add(struct spool *s, str bytes, struct error *e) MUSTCHECK;
/* Bytes not yet read. */
uint64_t spool_left(const struct spool *s);
/* Takes up to n bytes from the front into buf; returns how many, 0 when empty, or a negative error. When the
 * last byte was taken the spool is empty again and back in memory. */
int spool_take(struct spool *s, char *buf, size_t n, struct error *e) MUSTCHECK;
/* All bytes not yet taken as one slice, valid until the next call on s. A file is mapped. */
int spool_all(struct spool *s, str *ret, struct error *e) MUSTCHECK;
/* The first n bytes of what spool_all returned are not needed soon: their pages leave this process and come back from
 * the file when they are touched again. Nothing to do for what is in memory. */
void spool_forget(struct spool *s, uint64_t n);

#endif
