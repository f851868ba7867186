/* run_corpus.c: replays a corpus without a fuzzer, so that it runs with every compiler and on every run.
 *
 *   corpus_<name> DIR...     prints "<n> inputs"; a crash ends the program, the file's name is on stderr
 *
 * Each file is given whole and cut short at up to 24 places, in a buffer of exactly that size, so that a
 * read past the end is caught.
 */
#include "entry.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CUTS 24

static unsigned long count;
static char current[4096];

/* Runs also when a sanitizer or an assertion ends the program. */
static void on_abort(int sig)
{
    (void)!write(STDERR_FILENO, "\nwhile running ", 15);
    (void)!write(STDERR_FILENO, current, strlen(current));
    (void)!write(STDERR_FILENO, "\n", 1);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    count++;
}

static int run_file(const char *path)
{
    snprintf(current, sizeof current, "%s", path);
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    size_t cap = 1 << 16, size = 0, n;
    uint8_t *data = malloc(cap);
    while (data && (n = fread(data + size, 1, cap - size, f)) > 0) {
        size += n;
        if (size == cap)
            data = realloc(data, cap *= 2);
    }
    fclose(f);
    if (!data)
        abort();
    size_t step = size / CUTS + 1;
    for (size_t cut = step; cut < size; cut += step)
        feed(data, cut);
    feed(data, size);
    free(data);
    return 0;
}

static int run_dir(const char *dir)
{
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort), bad = 0;
    if (n < 0)
        return errno == ENOENT ? 0 : 1;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            bad |= run_file(path);
        free(names[i]);
    }
    free(names);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;
    signal(SIGABRT, on_abort);
    feed(NULL, 0);
    for (int i = 1; i < argc; i++)
        bad |= run_dir(argv[i]);
    printf("%lu inputs\n", count);
    return bad;
}
