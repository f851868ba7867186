/* fuzz_json_scan.c: the scanner against cJSON, and its two builds against each other.
 *
 * Whatever cJSON reads as an object must be complete for us, with the same members and the same model
 * name. No bytes at all may crash, or make SSE2 and plain C differ.
 */
#include "base/check.h"
#include "base/utf8.h"
#include "codec/json_scan.h"

#include <cjson/cJSON.h>

size_t json_plain_skip_value(str s);

/* A second copy without SSE2. */
#define LUASWAP_NO_SIMD 1
#define json_scan_top json_plain_scan_top
#define json_iter_init json_plain_iter_init
#define json_iter_next json_plain_iter_next
#define json_text_is json_plain_text_is
#define json_skip_value json_plain_skip_value
#define json_value_text json_plain_value_text
#define json_value_true json_plain_value_true
#define json_unescape json_plain_unescape
int json_scan_top(str body, struct json_want *want, size_t n, struct json_top *ret_top,
                  struct error *e);
bool json_iter_init(struct json_iter *it, str s, size_t open_at);
bool json_iter_next(struct json_iter *it, struct json_member *ret);
bool json_text_is(str raw, str name);
int json_value_text(struct arena *a, str raw, str *ret, struct error *e);
bool json_value_true(str raw);
int json_unescape(struct arena *a, str raw, str *ret, struct error *e);
#include "codec/json_scan.c"
#undef json_scan_top
#undef json_skip_value
#undef json_value_text
#undef json_text_is
#undef json_unescape

/* cJSON takes every control character for a blank, and lets \u0000 and malformed \u end a string;
 * we do not. */
static bool comparable(str s)
{
    for (str rest = s;;) {
        ptrdiff_t at = str_find(rest, S("\\u"));
        if (at < 0)
            break;
        rest = str_sub(rest, (size_t)at + 2, SIZE_MAX);
        for (size_t k = 0; k < 4; k++)
            if (k >= rest.len || chr_hex(rest.ptr[k]) < 0)
                return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < ' ' && c != '\n' && c != '\r' && c != '\t')
            return false;
    }
    return str_find(s, S("\\u0000")) < 0;
}

static const cJSON *first_named(const cJSON *object, const char *name, size_t *ret_count)
{
    const cJSON *hit = NULL;
    for (const cJSON *c = object->child; c; c = c->next) {
        if (strcmp(c->string, name) != 0)
            continue;
        hit = hit ? hit : c;
        (*ret_count)++;
    }
    return hit;
}

static void compare(str s, const cJSON *root, size_t used)
{
    struct json_want want[2] = { { .name = S("model") }, { .name = S("stream") } };
    struct json_top top;
    struct arena a;
    size_t models = 0, members = 0;
    const cJSON *model = first_named(root, "model", &models);
    for (const cJSON *c = root->child; c; c = c->next)
        members++;
    int rc = json_scan_top(s, want, 2, &top, NULL);
    if (members > JSON_TOP_MAX) {
        ASSERT(rc == ERR_LIMIT);
        return;
    }
    ASSERT(rc == 0 && top.object && top.complete);
    ASSERT(top.n == members && top.end == used);
    ASSERT(want[0].found == (model != NULL));
    arena_init(&a, 64u << 20);
    if (model && cJSON_IsString(model)) {
        str text;
        ASSERT(json_value_text(&a, json_want_value(s, &want[0]), &text, NULL) == 0);
        ASSERT(str_eq(text, str_c(model->valuestring)));
    }
    arena_fini(&a);
    want[0].unique = true;
    rc = json_scan_top(s, want, 2, NULL, NULL);
    ASSERT((rc == ERR_DUPLICATE) == (models > 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str s = str_n((const char *)data, size);
    for (size_t i = 0; i < size && i < 3; i++) {
        str part = str_sub(s, i, SIZE_MAX);
        ASSERT(json_skip_value(part) == json_plain_skip_value(part));
    }
    struct json_want want[1] = { { .name = S("model"), .unique = true } };
    struct json_top top, plain;
    struct json_want want_plain[1] = { want[0] };
    int rc = json_scan_top(s, want, 1, &top, NULL);
    ASSERT(rc == json_plain_scan_top(s, want_plain, 1, &plain, NULL));
    ASSERT(top.n == plain.n && top.complete == plain.complete && top.end == plain.end);
    ASSERT(want[0].found == want_plain[0].found && want[0].val_at == want_plain[0].val_at &&
           want[0].val_len == want_plain[0].val_len);
    if (!comparable(s) || !utf8_valid(s))
        return 0;
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(s.ptr, s.len, &end, 0);
    if (cJSON_IsObject(root))
        compare(s, root, (size_t)(end - s.ptr));
    cJSON_Delete(root);
    return 0;
}
