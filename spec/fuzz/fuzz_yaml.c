/* fuzz_yaml.c: any bytes as YAML: no crash, errors have a place, the tree is whole, and its JSON is
 * YAML again. */
#include "codec/yaml.h"

#include "base/check.h"
#include "base/utf8.h"

static void on_error(void *ud, uint32_t line, uint32_t col, const char *text)
{
    ASSERT(line >= 1 && col >= 1 && *text);
    ++*(size_t *)ud;
}

/* Sizes add up and every text is valid; follows aliases, so only for small trees. */
static uint64_t walk(struct arena *a, const struct ynode *n, unsigned depth)
{
    uint64_t size = 1;
    ASSERT(depth <= 3000 && n->line >= 1 && n->col >= 1 && n->file == 7);
    if (n->type == YN_SEQ) {
        for (uint32_t i = 0; i < n->n; i++)
            size += walk(a, n->items[i], depth + 1);
    } else if (n->type == YN_MAP) {
        for (uint32_t i = 0; i < n->n; i++) {
            ASSERT(n->pairs[i].key_node->type != YN_SEQ && n->pairs[i].key_node->type != YN_MAP);
            for (uint32_t k = 0; k < i && n->n < 50; k++)
                ASSERT(!str_eq(n->pairs[i].key, n->pairs[k].key));
            size += 1 + walk(a, n->pairs[i].value, depth + 1);
        }
    } else {
        str s = ynode_scalar_text(a, n);
        ASSERT(s.ptr || n->type == YN_NULL);
    }
    ASSERT(size == n->size);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    size_t errors = 0;
    const struct ynode *root = NULL, *again = NULL;
    struct yaml_opts opts = { .file = 7, .on_error = on_error, .ud = &errors };
    arena_init(&a, (size_t)16 << 20);
    int r = yaml_tree_parse(&a, str_n((const char *)data, size), &opts, &root);
    ASSERT((r != 0) == (errors > 0));
    if (r == 0 && root && root->size < 20000) {
        struct strbuf json = STRBUF((size_t)4 << 20), twice = STRBUF((size_t)4 << 20);
        walk(&a, root, 0);
        if (ynode_json(root, &json)) {
            ASSERT(utf8_valid(strbuf_str(&json)));
            /* JSON is YAML, as far as libyaml goes: DEL and some others may stand in JSON only */
            if (yaml_tree_parse(&a, strbuf_str(&json), &opts, &again) == 0) {
                ASSERT(ynode_json(again, &twice));
                struct strbuf third = STRBUF((size_t)4 << 20);
                const struct ynode *last = NULL;
                ASSERT(yaml_tree_parse(&a, strbuf_str(&twice), &opts, &last) == 0 &&
                       ynode_json(last, &third));
                ASSERT(str_eq(strbuf_str(&twice), strbuf_str(&third)));
                strbuf_fini(&third);
            }
        }
        strbuf_fini(&json);
        strbuf_fini(&twice);
    }
    arena_fini(&a);
    return 0;
}
