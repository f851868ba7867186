/* match.c: see match.h. */
#include "route/match.h"

#include "base/check.h"
#include "config/re2.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define STEPS_MAX 200000
#define HEAP_KIB_MAX 1024
#define PATTERN_MAX 4096

struct match_set {
    pcre2_match_context *limits;
    pcre2_match_data *data;
    size_t n;
    pcre2_code *code[];
};

/* Puts the pattern in front of the reason. */
static int refuse(struct error *e, str pattern)
{
    if (e)
        e->code = ERR_CONFIG;
    error_wrap(e, "pattern \"" STR_FMT "\"", STR_ARG(pattern));
    return ERR_CONFIG;
}

static int compile(str pattern, pcre2_code **ret, struct error *e)
{
    if (pattern.len > PATTERN_MAX)
        return error_set(e, ERR_CONFIG, "a pattern of more than %d bytes", PATTERN_MAX);
    if (re2_check(pattern, e))
        return refuse(e, pattern);
    int why;
    PCRE2_SIZE at;
    /* As RE2: `$` is the very end, characters are UTF-8 also where the path is not. */
    uint32_t options =
        PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)(pattern.ptr ? pattern.ptr : ""), pattern.len,
                                     options, &why, &at, NULL);
    if (!code) {
        PCRE2_UCHAR text[120];
        pcre2_get_error_message(why, text, sizeof text);
        error_set(e, ERR_CONFIG, "%s at byte %zu", (const char *)text, at + 1);
        return refuse(e, pattern);
    }
    *ret = code;
    return 0;
}

int match_new(const str *patterns, size_t n, struct match_set **ret, struct error *e)
{
    ASSERT(n < SIZE_MAX / 64);
    struct match_set *m = mem_zalloc(sizeof *m + n * sizeof m->code[0]);
    m->limits = pcre2_match_context_create(NULL);
    m->data = pcre2_match_data_create(1, NULL);
    ASSERT(m->limits && m->data);
    pcre2_set_match_limit(m->limits, STEPS_MAX);
    pcre2_set_heap_limit(m->limits, HEAP_KIB_MAX);
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        rc = compile(patterns[i], &m->code[m->n], e);
        m->n += rc == 0;
    }
    if (rc) {
        match_free(m);
        return rc;
    }
    *ret = m;
    return 0;
}

void match_free(struct match_set *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        pcre2_code_free(m->code[i]);
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->limits);
    free(m);
}

bool match_any(const struct match_set *m, str path)
{
    for (size_t i = 0; i < m->n; i++)
        if (pcre2_match(m->code[i], (PCRE2_SPTR)(path.ptr ? path.ptr : ""), path.len, 0, 0, m->data,
                        m->limits) >= 0)
            return true;
    return false;
}
