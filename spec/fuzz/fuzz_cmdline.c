/* fuzz_cmdline.c: macros, command lines, URLs, patterns and durations from any bytes.
 *
 * The input's lines up to an empty one are macros ("name value"); what follows is the text that
 * they go into, which is then split as a command.
 */
#include "config/cmdline.h"
#include "config/duration.h"
#include "config/gourl.h"
#include "config/load.h"
#include "config/re2.h"

#include "base/check.h"

#define MACROS_MAX 12

static str expand(struct loader *l, str input)
{
    static const struct ynode place = { .type = YN_STR, .line = 1, .col = 1, .size = 1 };
    struct lmacro at[MACROS_MAX];
    struct lmacros m = { at, 0 };
    str line, name, value;
    while (m.len < MACROS_MAX && str_cut(input, '\n', &line, &input) && line.len) {
        str_cut(line, ' ', &name, &value);
        if (name.len == 0 || name.len > 63)
            continue;
        struct ynode *v = (struct ynode *)(uintptr_t)tree_text(l, &place, value);
        ynode_resolve(&l->scratch, v);
        at[m.len++] = (struct lmacro){ name, v };
    }
    const struct ynode *n = macros_apply(l, tree_text(l, &place, input), &m);
    str text = n->type == YN_STR ? n->text : macro_text(l, n);
    ASSERT(text.len <= input.len || text.len <= (size_t)1 << 20);
    size_t from = 0, end = 0;
    while (macro_next(text, &from, &end, &name)) {
        ASSERT(end > from && end <= text.len && name.len > 0);
        from = end;
    }
    return text;
}

static void split(struct arena *a, str cmd)
{
    str *argv = NULL, *bare_argv = NULL;
    size_t n = 0, bare_n = 0, bytes = 0;
    struct error e;
    str bare = cmdline_strip_comments(a, cmd);
    int r = cmdline_split(a, cmd, &argv, &n, &e),
        bare_r = cmdline_split(a, bare, &bare_argv, &bare_n, &e);
    if (str_chr(cmd, '\0') >= 0)
        return;
    /* a command without its comment lines is the same command */
    ASSERT(r == bare_r && n == bare_n && (r == 0) == (n > 0));
    for (size_t i = 0; i < n; i++) {
        ASSERT(str_eq(argv[i], bare_argv[i]) && argv[i].ptr[argv[i].len] == '\0');
        bytes += argv[i].len;
    }
    ASSERT(bytes <= cmd.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str input = str_n((const char *)data, size);
    struct config_report report;
    struct loader l = { .report = &report };
    config_report_init(&report);
    arena_init(&l.scratch, (size_t)32 << 20);
    str text = expand(&l, input);
    if (text.len <= (size_t)1 << 20)
        split(&l.scratch, text);
    struct gourl u;
    struct error e;
    if (gourl_parse(text, &u, &e) == 0)
        ASSERT(u.host.len + u.path.len + u.port.len + u.query.len <= text.len &&
               u.port_num <= 65535);
    if (text.len < 100000)
        (void)!re2_check(text, &e);
    int64_t ns, back;
    if (duration_parse(text, &ns) == 0 && ns >= 0) {
        struct strbuf b = STRBUF(100);
        ASSERT(duration_text(ns, &b) && duration_parse(strbuf_str(&b), &back) == 0);
        ASSERT(back - ns <= 1 && ns - back <= 1);
        strbuf_fini(&b);
    }
    arena_fini(&l.scratch);
    config_report_fini(&report);
    return 0;
}
