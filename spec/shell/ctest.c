/* ctest.c: registry of C tests and probes, and how a failing check reaches busted. */
#include "spec.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_MAX_S 240

static struct spec_test *tests;
static struct spec_probe *probes;
static jmp_buf escape;
static bool running, missed;
static char miss_text[4096];

#ifdef __SANITIZE_ADDRESS__
/* Asked by the leak checker at the end. A test that missed has leaked what it held: that report would only bury
 * the miss. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return missed;
}
#endif

void spec_add_test(struct spec_test *t)
{
    struct spec_test **at = &tests;
    while (*at && (strcmp((*at)->file, t->file) < 0 ||
                   (strcmp((*at)->file, t->file) == 0 && (*at)->line < t->line)))
        at = &(*at)->next;
    t->next = *at;
    *at = t;
}

void spec_add_probe(struct spec_probe *p)
{
    p->next = probes;
    probes = p;
}

void spec_preload_probes(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (struct spec_probe *p = probes; p; p = p->next) {
        lua_pushfstring(L, "spec.%s", p->name);
        lua_pushcfunction(L, p->open);
        lua_rawset(L, -3);
    }
    lua_pushcfunction(L, spec_open_ctest);
    lua_setfield(L, -2, "spec.ctest");
    lua_pop(L, 1);
}

/* Paths are shown from the project's root, as the Lua specs' are. */
static const char *short_path(const char *file)
{
    size_t n = strlen(LUASWAP_ROOT);
    return strncmp(file, LUASWAP_ROOT "/", n + 1) == 0 ? file + n + 1 : file;
}

_Noreturn void spec_miss(const char *file, int line, const char *fmt, ...)
{
    int n = snprintf(miss_text, sizeof miss_text, "%s:%d: ", short_path(file), line);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(miss_text + n, sizeof miss_text - (size_t)n, fmt, ap);
    va_end(ap);
    if (!running) {
        fprintf(stderr, "check outside of a test: %s\n", miss_text);
        abort();
    }
    missed = true;
    longjmp(escape, 1);
}

void spec_check_int(const char *file, int line, const char *what, long long expected, long long got)
{
    if (expected != got)
        spec_miss(file, line, "%s: expected %lld, got %lld", what, expected, got);
}

void spec_check_uint(const char *file, int line, const char *what, unsigned long long expected,
                     unsigned long long got)
{
    if (expected != got)
        spec_miss(file, line, "%s: expected %llu, got %llu", what, expected, got);
}

/* As a C literal, cut at 300 bytes. */
static const char *quoted(str s, char *out, size_t max)
{
    size_t w = 0, i = 0;
    out[w++] = '"';
    for (; i < s.len && i < 300 && w + 8 < max; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\')
            out[w++] = (char)c;
        else
            w += (size_t)snprintf(out + w, max - w, c == '\n' ? "\\n" : c == '"' ? "\\\"" : "\\x%02x", c);
    }
    snprintf(out + w, max - w, i < s.len ? "\"..." : "\"");
    return out;
}

void spec_check_str(const char *file, int line, const char *what, str expected, str got)
{
    char a[1400], b[1400];
    if (!str_eq(expected, got))
        spec_miss(file, line, "%s: expected %s (%zu), got %s (%zu)", what,
                  quoted(expected, a, sizeof a), expected.len, quoted(got, b, sizeof b), got.len);
}

/* Forks; in the child true. In the parent *ret_status is the child's wait status. */
static bool forked(int *ret_status)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        return true;
    *ret_status = -1;
    while (pid > 0 && waitpid(pid, ret_status, 0) < 0)
        ;
    return false;
}

bool spec_aborts(void (*fn)(void *), void *arg)
{
    int status;
    if (forked(&status)) {
        struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        int null = open("/dev/null", O_WRONLY);
        if (null >= 0)
            dup2(null, STDERR_FILENO);
        fn(arg);
        _exit(0);
    }
    return status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

int spec_in_child(int (*fn)(void *), void *arg)
{
    int status;
    if (forked(&status))
        _exit(fn(arg));
    return status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* list() -> { { name =, file =, line = }... } in file order */
static int l_list(lua_State *L)
{
    lua_newtable(L);
    lua_Integer n = 0;
    for (struct spec_test *t = tests; t; t = t->next) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, t->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, short_path(t->file));
        lua_setfield(L, -2, "file");
        lua_pushinteger(L, t->line);
        lua_setfield(L, -2, "line");
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static const struct spec_test *current;

/* A C test that waits for what never comes would hold up the whole run, and nobody would know which. */
static void on_alarm(int sig)
{
    static const char what[] = ": this C test did not end in time\n";
    (void)sig;
    (void)!write(STDERR_FILENO, current->name, strlen(current->name));
    (void)!write(STDERR_FILENO, what, sizeof what - 1);
    abort();
}

static bool passes(const struct spec_test *t)
{
    current = t;
    running = true;
    signal(SIGALRM, on_alarm);
    alarm(TEST_MAX_S);
    bool ok = setjmp(escape) == 0;
    if (ok)
        t->body();
    alarm(0);
    running = false;
    return ok;
}

/* run(file, name) -> nil, or "file:line: what missed" */
static int l_run(lua_State *L)
{
    const char *file = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    for (struct spec_test *t = tests; t; t = t->next) {
        if (strcmp(t->name, name) != 0 || strcmp(short_path(t->file), file) != 0)
            continue;
        if (passes(t))
            return 0;
        lua_pushstring(L, miss_text);
        return 1;
    }
    return luaL_error(L, "no C test %s in %s", name, file);
}

int spec_open_ctest(lua_State *L)
{
    static const luaL_Reg fns[] = { { "list", l_list }, { "run", l_run }, { NULL, NULL } };
    luaL_newlib(L, fns);
    return 1;
}
