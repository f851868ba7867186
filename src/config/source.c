/* source.c: the files of a configuration; the only place in config/ that touches the file system.
 * */
#include "config/load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)16 << 20)
#define TOTAL_MAX ((size_t)64 << 20)
#define FILES_MAX 10000

/* "a//b/./c/../d" as "a/b/d": by text only, links are not followed. */
static str clean_path(struct loader *l, str p)
{
    bool rooted = p.len && p.ptr[0] == '/';
    struct strbuf out = STRBUF(65536);
    str rest = p, part;
    bool more = true;
    size_t ups = 0; /* leading ".." that must stay */
    while (more) {
        more = str_cut(rest, '/', &part, &rest);
        if (part.len == 0 || str_eq(part, S(".")))
            continue;
        if (str_eq(part, S(".."))) {
            size_t cut = out.len;
            while (cut > 0 && out.ptr[cut - 1] != '/')
                cut--;
            if (out.len > ups * 3) {
                str kept = str_sub(strbuf_str(&out), 0, cut > 0 ? cut - 1 : 0);
                out.len = kept.len; /* shorter only */
                continue;
            }
            if (rooted)
                continue;
            ups++;
        }
        if (out.len)
            strbuf_addc(&out, '/');
        strbuf_add(&out, part);
    }
    str s = load_text(l, "%s%.*s", rooted ? "/" : out.len ? "" : ".", STR_ARG(strbuf_str(&out)));
    strbuf_fini(&out);
    return s;
}

static str absolute(struct loader *l, str p)
{
    char cwd[4096];
    if (str_starts(p, S("/")) || !getcwd(cwd, sizeof cwd))
        return clean_path(l, p);
    return clean_path(l, load_text(l, "%s/%.*s", cwd, STR_ARG(p)));
}

static struct cfile *add_file(struct loader *l, str name)
{
    l->files = mem_resize(l->files, l->n_files + 1, sizeof *l->files);
    struct cfile *f = &l->files[l->n_files++];
    *f = (struct cfile){ .name = name };
    return f;
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const str *)x, *(const str *)y);
}

/* The names of the YAML files in the directory, as paths, sorted. */
static bool list_dir(struct loader *l, const char *dir, str **ret, size_t *ret_n)
{
    DIR *d = opendir(dir);
    size_t n = 0, cap = 0;
    struct dirent *ent;
    if (!d) {
        load_error_at(l, STR_NONE, 0, 0, "-config-dir %s: %s", dir, strerror(errno));
        return false;
    }
    while ((ent = readdir(d)) != NULL && n < FILES_MAX) {
        str name = str_c(ent->d_name);
        struct stat st;
        if (!str_ends(name, S(".yml")) && !str_ends(name, S(".yaml")))
            continue;
        str path = clean_path(l, load_text(l, "%s/%s", dir, ent->d_name));
        const char *z = load_cstr(l, path);
        if (!z || (lstat(z, &st) == 0 && S_ISDIR(st.st_mode)))
            continue;
        if (n == cap) {
            cap = cap ? cap * 2 : 16;
            *ret = mem_resize(*ret, cap, sizeof **ret);
        }
        (*ret)[n++] = path;
    }
    closedir(d);
    if (n)
        qsort(*ret, n, sizeof **ret, by_text);
    *ret_n = n;
    return true;
}

static bool read_all(struct loader *l, int fd, str *ret, size_t *left)
{
    struct strbuf b = STRBUF(*left < FILE_MAX ? *left : FILE_MAX);
    ssize_t got;
    while (strbuf_reserve(&b, 1)) {
        size_t room = b.cap - b.len - 1;
        if (room < 4096 && b.max - b.len >= 65536 && strbuf_reserve(&b, 65536))
            room = b.cap - b.len - 1;
        if (room > b.max - b.len)
            room = b.max - b.len;
        got = read(fd, b.ptr + b.len, room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        strbuf_took(&b, (size_t)got);
    }
    bool ok = !b.full && got == 0;
    if (b.full)
        errno = EFBIG;
    int saved = errno;
    *left -= b.len;
    if (ok) {
        *ret = arena_try_dup(&l->scratch, strbuf_str(&b));
        ok = ret->ptr != NULL;
    }
    strbuf_fini(&b);
    errno = saved;
    return ok;
}

static bool read_file(struct loader *l, struct cfile *f, size_t *left)
{
    const char *z = load_cstr(l, f->name);
    int fd = z ? open(z, O_RDONLY | O_CLOEXEC) : -1;
    bool ok = fd >= 0 && read_all(l, fd, &f->text, left);
    int saved = errno;
    if (fd >= 0)
        close(fd);
    if (!ok)
        load_error_at(l, f->name, 0, 0, "failed to read config %.*s: %s", STR_ARG(f->name),
                      strerror(saved));
    return ok;
}

static bool collect(struct loader *l)
{
    const struct config_sources *src = l->src;
    str file = str_c(src->file), dir = str_c(src->dir), *names = NULL;
    size_t n = 0;
    bool ok = true;
    if (!file.len && !dir.len) {
        load_error_at(l, STR_NONE, 0, 0, "at least one of -config or -config-dir must be provided");
        return false;
    }
    if (dir.len)
        ok = list_dir(l, src->dir, &names, &n);
    if (file.len) {
        add_file(l, file);
        str abs = absolute(l, file);
        for (size_t i = 0; i < n; i++)
            if (str_eq(abs, absolute(l, names[i]))) {
                load_error_at(l, file, 0, 0, "%.*s is also present in -config-dir %.*s",
                              STR_ARG(file), STR_ARG(dir));
                ok = false;
            }
    }
    for (size_t i = 0; i < n; i++)
        add_file(l, names[i]);
    free(names);
    if (ok && l->n_files == 0) {
        load_error_at(l, STR_NONE, 0, 0, "no configuration sources found in -config-dir %.*s",
                      STR_ARG(dir));
        ok = false;
    }
    return ok;
}

bool source_read(struct loader *l)
{
    size_t left = TOTAL_MAX;
    bool ok = collect(l);
    for (size_t i = 0; ok && i < l->n_files; i++)
        ok &= read_file(l, &l->files[i], &left);
    return ok;
}

const char *source_store_problem(str path)
{
    char z[4096];
    struct stat st;
    if (path.len >= sizeof z || str_chr(path, '\0') >= 0)
        return "is no usable file name";
    memcpy(z, path.ptr, path.len);
    z[path.len] = '\0';
    if (stat(z, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return "is a directory, not a file";
        return access(z, W_OK) == 0 ? NULL : "is not writable";
    }
    if (errno != ENOENT)
        return strerror(errno);
    size_t cut = path.len;
    while (cut > 0 && z[cut - 1] != '/')
        cut--;
    z[cut > 1 ? cut - 1 : cut] = '\0';
    if (cut == 0)
        z[0] = '.', z[1] = '\0';
    if (stat(z, &st) != 0 || !S_ISDIR(st.st_mode) || access(z, W_OK | X_OK) != 0)
        return "is not writable: its directory is missing or closed to us";
    return NULL;
}
