/* fuzz_json_edit.c: path edits. Input: lines of ops ("s path", "d path", "m name"), an empty line, the body.
 * The second character of a line picks the value.
 *
 * All ops at once must give what they give one after the other, apart from blanks around members; what
 * was valid JSON stays valid; a member that was set last is there, one that was deleted last is not.
 */
#include "base/check.h"
#include "base/utf8.h"
#include "codec/json.h"
#include "codec/json_edit.h"

#define OPS_MAX 12

static const struct json_caps caps = { .bytes = 1u << 20, .values = 200000, .depth = 400 };

static size_t read_ops(str *text, struct json_op ops[OPS_MAX])
{
    static const char *const values[] = { "1",  "\"x\\\"y\"", "{\"q\":[1,2]}",
                                          "[]", "null",       "[{\"z\":1},2]" };
    size_t n = 0;
    str line;
    bool more = true;
    while (more && n < OPS_MAX) {
        more = str_cut(*text, '\n', &line, text);
        if (line.len < 2)
            break;
        if (!utf8_valid(str_sub(line, 2, SIZE_MAX)))
            continue; /* names come from YAML */
        ops[n].kind = line.ptr[0] == 's'   ? JSON_SET
                      : line.ptr[0] == 'm' ? JSON_MEMBER
                                           : JSON_DELETE;
        ops[n].path = str_sub(line, 2, SIZE_MAX);
        ops[n].value = str_c(values[(unsigned char)line.ptr[1] % ARRAY_LEN(values)]);
        n++;
    }
    return n;
}

/* The text without blanks outside strings. */
static void squeeze(struct strbuf *out, str s)
{
    bool in_string = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (in_string && c == '\\' && i + 1 < s.len) {
            strbuf_addc(out, c);
            c = s.ptr[++i];
        } else if (c == '"') {
            in_string = !in_string;
        }
        if (in_string || !chr_space(c))
            strbuf_addc(out, c);
    }
}

static int edit(str body, bool noted, const struct json_op *ops, size_t n, struct strbuf *out)
{
    struct arena a;
    struct json_top top;
    struct json_edit ed;
    struct error e = { 0 };
    arena_init(&a, 64u << 20);
    int rc = noted ? json_scan_top(body, NULL, 0, &top, &e) : 0;
    if (!rc)
        rc = json_edit(&a, body, noted ? &top : NULL, ops, n, &ed, &e);
    if (!rc) {
        ASSERT(json_edit_join(&ed, out) && out->len == ed.len);
        for (size_t i = 0; i < ed.n; i++)
            ASSERT(ed.segs[i].len > 0);
    } else {
        ASSERT(rc == e.code && e.msg[0]);
    }
    arena_fini(&a);
    return rc;
}

static int edit_stepwise(str body, const struct json_op *ops, size_t n, struct strbuf *out)
{
    struct strbuf now = STRBUF(64u << 20), next = STRBUF(64u << 20);
    strbuf_add(&now, body);
    int rc = n ? 0 : edit(body, false, ops, 0, &next);
    for (size_t i = 0; !rc && i < n; i++) {
        strbuf_clear(&next);
        rc = edit(strbuf_str(&now), i % 2, &ops[i], 1, &next);
        strbuf_clear(&now);
        strbuf_add(&now, strbuf_str(&next));
    }
    squeeze(out, strbuf_str(&now));
    strbuf_fini(&now);
    strbuf_fini(&next);
    return rc;
}

static bool is_plain(str path)
{
    for (size_t i = 0; i < path.len; i++)
        if (strchr(".:|#@\\", path.ptr[i]) || path.ptr[i] < ' ')
            return false;
    return path.len > 0;
}

static void check_result(str before, str after, const struct json_op *last)
{
    struct arena a;
    json old, new;
    arena_init(&a, 64u << 20);
    if (json_parse(&a, before, &caps, &old, NULL) == 0) {
        int rc = json_parse(&a, after, &caps, &new, NULL);
        ASSERT(rc == 0 || rc == ERR_LIMIT);
        if (rc == 0 && last && is_plain(last->path)) {
            bool there = json_kind(json_get(new, last->path)) != JSON_NONE;
            ASSERT(there == (last->kind != JSON_DELETE));
        }
    }
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_op ops[OPS_MAX];
    str body = str_n((const char *)data, size);
    size_t n = read_ops(&body, ops);
    struct strbuf whole = STRBUF(64u << 20), noted = STRBUF(64u << 20), steps = STRBUF(64u << 20),
                  flat = STRBUF(64u << 20);
    int rc = edit(body, false, ops, n, &whole);
    int rc_noted = edit(body, true, ops, n, &noted);
    ASSERT(rc == rc_noted || rc == ERR_LIMIT || rc_noted == ERR_LIMIT);
    if (!rc && !rc_noted)
        ASSERT(str_eq(strbuf_str(&whole), strbuf_str(&noted)));
    int rc_steps = edit_stepwise(body, ops, n, &steps);
    if (rc != ERR_LIMIT && rc_steps != ERR_LIMIT)
        ASSERT((rc == 0) == (rc_steps == 0));
    if (!rc && !rc_steps) {
        squeeze(&flat, strbuf_str(&whole));
        if (n)
            ASSERT(str_eq(strbuf_str(&flat), strbuf_str(&steps)));
        if (utf8_valid(body))
            check_result(body, strbuf_str(&whole), n ? &ops[n - 1] : NULL);
    }
    strbuf_fini(&whole);
    strbuf_fini(&noted);
    strbuf_fini(&steps);
    strbuf_fini(&flat);
    return 0;
}
