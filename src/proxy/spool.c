/* spool.c: see spool.h. */
#include "proxy/spool.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void spool_init(struct spool *s, size_t mem_max, uint64_t max)
{
    *s = (struct spool){ .fd = -1, .mem_max = mem_max, .max = max };
    strbuf_init(&s->mem, mem_max);
}

static void unmap(struct spool *s)
{
    if (s->map)
        (void)munmap(s->map, s->map_len);
    s->map = NULL;
    s->map_len = 0;
}

void spool_fini(struct spool *s)
{
    if (!s || s->mem.max == 0)
        return;
    unmap(s);
    strbuf_fini(&s->mem);
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    s->len = s->taken = 0;
}

void spool_expect(struct spool *s, uint64_t total)
{
    if (s->fd < 0 && total <= s->mem_max && total > s->mem.len)
        (void)strbuf_reserve(&s->mem, (size_t)total - s->mem.len);
}

static int open_unnamed(struct error *e)
{
    const char *dirs[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
    int err = ENOENT;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        if (!dirs[i] || !dirs[i][0])
            continue;
        int fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
        if (fd >= 0)
            return fd;
        err = errno;
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/luaswap-XXXXXX", dirs[i]);
        if (n < 0 || (size_t)n >= sizeof path)
            continue;
        /* file systems without O_TMPFILE (overlayfs of old kernels) */
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            (void)unlink(path);
            return fd;
        }
        err = errno;
    }
    return error_sys(e, ERR_SYS, err, "no temporary file in $TMPDIR, /var/tmp or /tmp");
}

static int write_all(int fd, str b, uint64_t at, struct error *e)
{
    while (b.len) {
        ssize_t n = pwrite(fd, b.ptr, b.len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_sys(e, ERR_SYS, n < 0 ? errno : ENOSPC, "cannot write a temporary file");
        b = str_sub(b, (size_t)n, b.len);
        at += (uint64_t)n;
    }
    return 0;
}

static int to_file(struct spool *s, struct error *e)
{
    int fd = open_unnamed(e);
    if (fd < 0)
        return fd;
    int rc = write_all(fd, strbuf_str(&s->mem), 0, e);
    if (rc < 0) {
        (void)close(fd);
        return rc;
    }
    s->fd = fd;
    strbuf_fini(&s->mem);
    return 0;
}

int spool_add(struct spool *s, str bytes, struct error *e)
{
    if (bytes.len > s->max - s->len)
        return error_set(e, ERR_LIMIT, "more than %llu bytes have to wait", (unsigned long long)s->max);
    unmap(s);
    if (s->fd < 0 && bytes.len > s->mem_max - s->mem.len) {
        int rc = to_file(s, e);
        if (rc < 0)
            return rc;
    }
    if (s->fd < 0) {
        bool ok = strbuf_add(&s->mem, bytes);
        ASSERT(ok);
    } else {
        int rc = write_all(s->fd, bytes, s->len, e);
        if (rc < 0)
            return rc;
    }
    s->len += bytes.len;
    return 0;
}

uint64_t spool_left(const struct spool *s)
{
    return s->len - s->taken;
}

int spool_take(struct spool *s, char *buf, size_t n, struct error *e)
{
    if (n > (size_t)INT32_MAX)
        n = (size_t)INT32_MAX;
    if (n > spool_left(s))
        n = (size_t)spool_left(s);
    if (n == 0)
        return 0;
    if (s->fd < 0) {
        memcpy(buf, s->mem.ptr + s->taken, n);
    } else {
        ssize_t got;
        do {
            got = pread(s->fd, buf, n, (off_t)s->taken);
        } while (got < 0 && errno == EINTR);
        if (got <= 0)
            return error_sys(e, ERR_SYS, got < 0 ? errno : EIO, "cannot read a temporary file");
        n = (size_t)got;
    }
    s->taken += n;
    if (s->taken == s->len)
        spool_fini(s);
    return (int)n;
}

int spool_all(struct spool *s, str *ret, struct error *e)
{
    if (spool_left(s) == 0) {
        *ret = STR_NONE;
        return 0;
    }
    if (s->fd < 0) {
        *ret = str_sub(strbuf_str(&s->mem), (size_t)s->taken, s->mem.len);
        return 0;
    }
    if (!s->map) {
        void *m = mmap(NULL, (size_t)s->len, PROT_READ, MAP_PRIVATE, s->fd, 0);
        if (m == MAP_FAILED)
            return error_sys(e, ERR_SYS, errno, "cannot map a temporary file");
        s->map = m;
        s->map_len = (size_t)s->len;
    }
    *ret = str_n((char *)s->map + s->taken, (size_t)(s->len - s->taken));
    return 0;
}

void spool_forget(struct spool *s, uint64_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t len = (size_t)(s->taken + n) & ~(page - 1);
    if (s->map && len > 0 && len <= s->map_len)
        (void)madvise(s->map, len, MADV_DONTNEED);
}
