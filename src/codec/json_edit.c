/* json_edit.c: see json_edit.h.
 *
 * Each top-level member that an op names becomes a slot with its present value; an op on a deeper path
 * is one splice in that value. The slots are put back together with the untouched text at the end, so
 * that a big body is never copied.
 */
#include "codec/json_edit.h"

#include "base/check.h"
#include "codec/json_path.h"

#define GROWTH_MAX ((size_t)4 << 20) /* of a piece put together here, besides what it copies */

struct slot {
    str name;
    bool there;    /* in the document now */
    bool original; /* ... and at its old place; else among the appended ones */
    bool touched;
    unsigned rank; /* order of the appended ones */
    struct json_member old;
    str value[3];
};

struct span {
    size_t from, to;
};

struct editor {
    struct arena *a;
    str body;
    const struct json_top *top;
    struct slot *slots;
    size_t n_slots;
    struct span *removed; /* sorted, disjoint */
    size_t n_removed;
    size_t left;    /* original members still there */
    unsigned ranks; /* members appended so far; the first append drops the text around the object */
    bool changed;
    struct error *e;
};

static int bad_path(struct error *e, str path, const char *why)
{
    return error_set(e, ERR_CONFIG, "parameter \"" STR_FMT "\": %s", STR_ARG(path), why);
}

static int too_big(struct error *e)
{
    return error_set(e, ERR_LIMIT, "request too big to edit");
}

/* Zeroed array, or NULL. */
static void *get(struct editor *ed, size_t n, size_t size)
{
    size_t total;
    return __builtin_mul_overflow(n, size, &total) ? NULL : arena_try(ed->a, total);
}

/* ---- building what is missing ---- */

/* Moves the text into the arena. */
static int take(struct editor *ed, struct strbuf *b, bool ok, str path, str *ret)
{
    str s = ok && !b->full ? arena_try_dup(ed->a, strbuf_str(b)) : STR_NONE;
    bool full = b->full;
    strbuf_fini(b);
    if (!ok)
        return bad_path(ed->e, path, "index too big");
    if (full || !s.ptr)
        return too_big(ed->e);
    *ret = s;
    return 0;
}

static int build(struct editor *ed, const struct json_part *part, size_t n,
                 const struct json_op *op, str *ret)
{
    if (n == 0) {
        *ret = op->value;
        return 0;
    }
    struct strbuf b = STRBUF(op->value.len + GROWTH_MAX);
    bool ok = json_path_add_levels(&b, part, n, op->value);
    return take(ed, &b, ok, op->path, ret);
}

/* ---- inside a value ---- */

/* What to do to a text: [from, to) becomes `with`. from > to: nothing. */
struct splice {
    size_t from, to;
    str with;
};
static const struct splice no_splice = { 1, 0, { NULL, 0 } };

struct child {
    bool found;
    struct json_member m;
    size_t count; /* of all members, or elements */
    size_t end;   /* behind the closing bracket */
};

static bool names_child(str text, bool array, const struct json_part *p, uint64_t index, size_t i,
                        const struct json_member *m)
{
    return array ? i == index : json_text_is(str_sub(text, m->key_at, m->key_len), p->name);
}

static int find_child(struct editor *ed, str text, size_t at, const struct json_part *p,
                      bool want_last, struct child *ret)
{
    struct json_iter it;
    struct json_member m;
    bool array = text.ptr[at] == '[';
    uint64_t index = UINT64_MAX;
    *ret = (struct child){ .found = false };
    if (array)
        json_part_index(p, &index);
    json_iter_init(&it, text, at);
    for (; json_iter_next(&it, &m); ret->count++) {
        bool last = array && want_last && json_part_appends(p);
        if (!last && !names_child(text, array, p, index, ret->count, &m))
            continue;
        if (ret->found && !array)
            return error_set(ed->e, ERR_DUPLICATE, "member \"" STR_FMT "\" is given twice",
                             STR_ARG(p->name));
        ret->found = true;
        ret->m = m;
    }
    if (it.broken)
        return error_set(ed->e, ERR_SYNTAX, "the body is not valid JSON");
    ret->end = it.at;
    return 0;
}

static size_t skip_blank(str s, size_t i)
{
    while (i < s.len && (unsigned char)s.ptr[i] <= ' ')
        i++;
    return i;
}

static struct splice delete_child(str text, size_t at, const struct child *c)
{
    size_t end = c->m.val_at + c->m.val_len;
    if (c->m.lead_at != at)
        return (struct splice){ c->m.lead_at, end, STR_NONE };
    size_t from = text.ptr[at] == '{' ? at + 1 : c->m.val_at;
    size_t next = skip_blank(text, end);
    return (struct splice){ from, text.ptr[next] == ',' ? next + 1 : end, STR_NONE };
}

/* An object at text[at] gets a new last member. */
static int grow_object(struct editor *ed, const struct child *c, const struct json_part *part,
                       size_t n, const struct json_op *op, struct splice *ret)
{
    str value;
    int rc = build(ed, part + 1, n - 1, op, &value);
    if (rc)
        return rc;
    struct strbuf b = STRBUF(value.len + part->name.len * 6 + 64);
    if (c->count)
        strbuf_addc(&b, ',');
    json_path_add_key(&b, part->name);
    strbuf_add(&b, value);
    *ret = (struct splice){ c->end - 1, c->end - 1, STR_NONE };
    return take(ed, &b, true, op->path, &ret->with);
}

/* An array at text[at] gets a new last element; a gap before it is filled, then the array is
 * written anew without blanks between its elements, as the reference does. */
static int grow_array(struct editor *ed, str text, size_t at, const struct child *c,
                      const struct json_part *part, size_t n, const struct json_op *op,
                      struct splice *ret)
{
    uint64_t index;
    if (!json_part_makes_array(part, &index))
        return bad_path(ed->e, op->path, "a name inside an array");
    if (index > JSON_PATH_INDEX)
        return bad_path(ed->e, op->path, "index too big");
    str value;
    int rc = build(ed, part + 1, n - 1, op, &value);
    if (rc)
        return rc;
    struct strbuf b = STRBUF(value.len + text.len + GROWTH_MAX);
    if (json_part_appends(part)) {
        if (c->count)
            strbuf_addc(&b, ',');
        *ret = (struct splice){ c->end - 1, c->end - 1, STR_NONE };
    } else {
        struct json_iter it;
        struct json_member m;
        strbuf_addc(&b, '[');
        json_iter_init(&it, text, at);
        while (json_iter_next(&it, &m)) {
            strbuf_add(&b, str_sub(text, m.val_at, m.val_len));
            strbuf_addc(&b, ',');
        }
        json_path_add_nulls(&b, index > c->count ? index - c->count : 0);
        *ret = (struct splice){ at, c->end - 1, STR_NONE };
    }
    strbuf_add(&b, value);
    return take(ed, &b, true, op->path, &ret->with);
}

static int grow(struct editor *ed, str text, size_t at, const struct child *c,
                const struct json_path *path, size_t i, const struct json_op *op,
                struct splice *ret)
{
    if (op->kind == JSON_DELETE || path->must_exist) {
        *ret = no_splice;
        return 0;
    }
    const struct json_part *part = &path->part[i];
    if (text.ptr[at] == '{')
        return grow_object(ed, c, part, path->n - i, op, ret);
    return grow_array(ed, text, at, c, part, path->n - i, op, ret);
}

/* Applies the parts from the second on to one member's value. */
static int edit_value(struct editor *ed, str text, const struct json_path *path,
                      const struct json_op *op, struct splice *ret)
{
    size_t at = 0, len = text.len;
    for (size_t i = 1; i < path->n; i++) {
        const struct json_part *part = &path->part[i];
        if (text.ptr[at] != '{' && text.ptr[at] != '[') {
            *ret = no_splice;
            if (op->kind == JSON_DELETE || path->must_exist)
                return 0;
            *ret = (struct splice){ at, at + len, STR_NONE };
            return build(ed, part, path->n - i, op, &ret->with);
        }
        struct child c = { .found = false };
        int rc = find_child(ed, text, at, part, op->kind == JSON_DELETE, &c);
        if (rc)
            return rc;
        if (!c.found)
            return grow(ed, text, at, &c, path, i, op, ret);
        if (i + 1 == path->n && op->kind == JSON_DELETE) {
            *ret = delete_child(text, at, &c);
            return 0;
        }
        at = c.m.val_at;
        len = c.m.val_len;
    }
    *ret = (struct splice){ at, at + len, op->value };
    return 0;
}

/* ---- top level ---- */

static str slot_text(struct editor *ed, struct slot *s)
{
    if (!s->touched)
        return str_sub(ed->body, s->old.val_at, s->old.val_len);
    if (s->value[0].len == 0 && s->value[2].len == 0)
        return s->value[1];
    size_t len = s->value[0].len + s->value[1].len + s->value[2].len;
    char *to = arena_try(ed->a, len), *at = to;
    if (!to)
        return STR_NONE;
    for (size_t i = 0; i < 3; i++) {
        if (s->value[i].len)
            memcpy(at, s->value[i].ptr, s->value[i].len);
        at += s->value[i].len;
    }
    return str_n(to, len);
}

static void slot_put(struct editor *ed, struct slot *s, str before, str value, str after)
{
    s->value[0] = before;
    s->value[1] = value;
    s->value[2] = after;
    s->touched = true;
    ed->changed = true;
}

/* Blanks and removed stretches do not count. */
static size_t next_left(const struct editor *ed, size_t i)
{
    for (;;) {
        i = skip_blank(ed->body, i);
        size_t k = 0;
        while (k < ed->n_removed && !(i >= ed->removed[k].from && i < ed->removed[k].to))
            k++;
        if (k == ed->n_removed)
            return i;
        i = ed->removed[k].to;
    }
}

static bool is_removed(const struct editor *ed, size_t i)
{
    for (size_t k = 0; k < ed->n_removed; k++)
        if (i >= ed->removed[k].from && i < ed->removed[k].to)
            return true;
    return false;
}

static void remove_span(struct editor *ed, size_t from, size_t to)
{
    size_t kept = 0;
    for (size_t k = 0; k < ed->n_removed; k++)
        if (ed->removed[k].from < from || ed->removed[k].to > to)
            ed->removed[kept++] = ed->removed[k];
    size_t at = kept;
    while (at > 0 && ed->removed[at - 1].from > from) {
        ed->removed[at] = ed->removed[at - 1];
        at--;
    }
    ed->removed[at] = (struct span){ from, to };
    ed->n_removed = kept + 1;
}

/* With the comma before it. The first one goes with the comma behind it; a member is the first one
 * now when the comma before it went that way. */
static void remove_original(struct editor *ed, const struct slot *s)
{
    size_t open = ed->top->open_at, lead = s->old.lead_at, end = s->old.val_at + s->old.val_len;
    if (lead == open || is_removed(ed, lead)) {
        size_t next = next_left(ed, end);
        remove_span(ed, open + 1, ed->body.ptr[next] == ',' ? next + 1 : end);
    } else {
        remove_span(ed, lead, end);
    }
    ed->left--;
}

static int set_slot(struct editor *ed, struct slot *s, const struct json_path *path,
                    const struct json_op *op)
{
    if (!s->there) {
        str value;
        if (path->must_exist)
            return 0;
        int rc = build(ed, path->part + 1, path->n - 1, op, &value);
        if (rc)
            return rc;
        s->there = true;
        s->original = false;
        s->rank = ed->ranks++;
        slot_put(ed, s, STR_NONE, value, STR_NONE);
    } else {
        slot_put(ed, s, STR_NONE, op->value, STR_NONE);
    }
    return 0;
}

static int run_op(struct editor *ed, struct slot *s, const struct json_path *path,
                  const struct json_op *op)
{
    if (path->nowhere)
        return 0;
    if (op->kind == JSON_DELETE && path->n == 1) {
        if (s->there && s->original)
            remove_original(ed, s);
        ed->changed |= s->there;
        s->there = false;
        return 0;
    }
    if (path->n == 1 || (!s->there && op->kind != JSON_DELETE))
        return set_slot(ed, s, path, op);
    if (!s->there)
        return 0;
    str text = slot_text(ed, s);
    if (!text.ptr)
        return too_big(ed->e);
    struct splice sp = no_splice;
    int rc = edit_value(ed, text, path, op, &sp);
    if (!rc && sp.from <= sp.to)
        slot_put(ed, s, str_sub(text, 0, sp.from), sp.with, str_sub(text, sp.to, text.len));
    return rc;
}

static struct slot *slot_for(struct editor *ed, str name)
{
    for (size_t i = 0; i < ed->n_slots; i++)
        if (str_eq(ed->slots[i].name, name))
            return &ed->slots[i];
    struct slot *s = &ed->slots[ed->n_slots++];
    s->name = name;
    return s;
}

/* Where the slots' members are, from what an earlier pass has noted. */
static int locate_noted(struct editor *ed)
{
    for (size_t i = 0; i < ed->top->n; i++) {
        const struct json_member *m = &ed->top->member[i];
        str key = str_sub(ed->body, m->key_at, m->key_len);
        for (size_t k = 0; k < ed->n_slots; k++) {
            struct slot *s = &ed->slots[k];
            if (!json_text_is(key, s->name))
                continue;
            if (s->there)
                return error_set(ed->e, ERR_DUPLICATE, "member \"" STR_FMT "\" is given twice",
                                 STR_ARG(s->name));
            s->there = s->original = true;
            s->old = *m;
        }
    }
    return 0;
}

static int locate(struct editor *ed, struct json_top *own)
{
    if (!ed->top || ed->top->n > JSON_TOP_MEMBERS) {
        struct json_want *want = get(ed, ed->n_slots, sizeof *want);
        if (!want)
            return too_big(ed->e);
        for (size_t k = 0; k < ed->n_slots; k++)
            want[k] = (struct json_want){ .name = ed->slots[k].name, .unique = true };
        int rc = json_scan_top(ed->body, want, ed->n_slots, own, ed->e);
        if (rc)
            return rc;
        ed->top = own;
        for (size_t k = 0; k < ed->n_slots; k++) {
            ed->slots[k].there = ed->slots[k].original = want[k].found;
            ed->slots[k].old = (struct json_member){ .lead_at = want[k].lead_at,
                                                     .key_at = want[k].key_at,
                                                     .val_at = want[k].val_at,
                                                     .val_len = want[k].val_len };
        }
    } else if (locate_noted(ed)) {
        return ERR_DUPLICATE;
    }
    if (!ed->top->complete)
        return error_set(ed->e, ERR_SYNTAX, "the body is not a valid JSON object");
    ed->left = ed->top->n;
    return 0;
}

/* ---- the result ---- */

static void add_seg(struct json_edit *ret, str s)
{
    if (s.len == 0)
        return;
    ret->segs[ret->n++] = s;
    ret->len += s.len;
}

static int by_place(const void *pa, const void *pb)
{
    const struct slot *const *a = pa, *const *b = pb;
    return ((*a)->old.val_at > (*b)->old.val_at) - ((*a)->old.val_at < (*b)->old.val_at);
}

static int by_rank(const void *pa, const void *pb)
{
    const struct slot *const *a = pa, *const *b = pb;
    return ((*a)->rank > (*b)->rank) - ((*a)->rank < (*b)->rank);
}

/* The body's text in [from, to) without what was removed. */
static void add_left(struct editor *ed, struct json_edit *ret, size_t from, size_t to)
{
    for (size_t k = 0; k < ed->n_removed; k++) {
        struct span r = ed->removed[k];
        if (r.to <= from || r.from >= to)
            continue;
        if (r.from > from)
            add_seg(ret, str_sub(ed->body, from, r.from - from));
        from = r.to;
    }
    if (from < to)
        add_seg(ret, str_sub(ed->body, from, to - from));
}

static void add_value(struct json_edit *ret, const struct slot *s)
{
    for (size_t i = 0; i < 3; i++)
        add_seg(ret, s->value[i]);
}

/* ,"name": of a new member; ptr NULL when the arena is full. */
static str new_key(struct editor *ed, str name, bool first)
{
    struct strbuf b = STRBUF(name.len * 6 + 64);
    if (!first)
        strbuf_addc(&b, ',');
    json_path_add_key(&b, name);
    str key = arena_try_dup(ed->a, strbuf_str(&b));
    strbuf_fini(&b);
    return key;
}

/* The text of the old members; *ret_new gets the slots of the new ones in their order. */
static int assemble_old(struct editor *ed, struct json_edit *ret, struct slot ***ret_new,
                        size_t *ret_n)
{
    size_t n = ed->n_slots, n_old = 0, n_new = 0;
    struct slot **old = get(ed, n, sizeof *old), **new = get(ed, n, sizeof *new);
    ret->segs = get(ed, 6 * n + 4, sizeof *ret->segs);
    if (!old || !new || !ret->segs)
        return too_big(ed->e);
    for (size_t k = 0; k < n; k++) {
        struct slot *s = &ed->slots[k];
        if (s->there && s->touched && s->original)
            old[n_old++] = s;
        else if (s->there && s->touched)
            new[n_new++] = s;
    }
    qsort(old, n_old, sizeof(struct slot *), by_place);
    qsort(new, n_new, sizeof(struct slot *), by_rank);
    size_t at = ed->ranks ? ed->top->open_at : 0;
    for (size_t k = 0; k < n_old; k++) {
        add_left(ed, ret, at, old[k]->old.val_at);
        add_value(ret, old[k]);
        at = old[k]->old.val_at + old[k]->old.val_len;
    }
    add_left(ed, ret, at, ed->ranks ? ed->top->end - 1 : ed->body.len);
    *ret_new = new;
    *ret_n = n_new;
    return 0;
}

static int assemble(struct editor *ed, struct json_edit *ret)
{
    struct slot **new = NULL;
    size_t n_new = 0;
    int rc = assemble_old(ed, ret, &new, &n_new);
    for (size_t k = 0; !rc && k < n_new; k++) {
        str key = new_key(ed, new[k]->name, ed->left == 0 && k == 0);
        if (!key.ptr)
            return too_big(ed->e);
        add_seg(ret, key);
        add_value(ret, new[k]);
    }
    if (!rc && ed->ranks)
        add_seg(ret, S("}"));
    return rc;
}

/* One slot for each first part. */
static int prepare(struct editor *ed, const struct json_op *ops, size_t n_ops,
                   struct json_path *paths, size_t *ret_failed)
{
    for (size_t i = 0; i < n_ops; i++) {
        struct json_path *p = &paths[i];
        *ret_failed = i;
        if (ops[i].kind != JSON_MEMBER) {
            int rc = json_path_parse(ed->a, ops[i].path, ops[i].kind == JSON_DELETE, p, ed->e);
            if (rc)
                return rc;
        } else {
            *p = (struct json_path){ .part = get(ed, 1, sizeof *p->part), .n = 1 };
            if (!p->part)
                return too_big(ed->e);
            p->part[0].name = ops[i].path;
        }
        slot_for(ed, p->part[0].name);
    }
    return 0;
}

static int no_change(struct editor *ed, struct json_edit *ret)
{
    ret->segs = get(ed, 1, sizeof *ret->segs);
    if (!ret->segs)
        return too_big(ed->e);
    add_seg(ret, ed->body);
    return 0;
}

int json_edit(struct arena *a, str body, const struct json_top *top, const struct json_op *ops,
              size_t n_ops, struct json_edit *ret, struct error *e)
{
    struct json_top own;
    struct editor ed = { .a = a, .body = body, .top = top, .e = e };
    *ret = (struct json_edit){ .n = 0 };
    if (n_ops == 0)
        return no_change(&ed, ret);
    ed.slots = get(&ed, n_ops, sizeof *ed.slots);
    ed.removed = get(&ed, n_ops + 1, sizeof *ed.removed);
    struct json_path *paths = get(&ed, n_ops, sizeof *paths);
    if (!ed.slots || !ed.removed || !paths)
        return too_big(e);
    int rc = prepare(&ed, ops, n_ops, paths, &ret->failed);
    if (!rc)
        rc = locate(&ed, &own);
    for (size_t i = 0; !rc && i < n_ops; i++) {
        ret->failed = i;
        rc = run_op(&ed, slot_for(&ed, paths[i].part[0].name), &paths[i], &ops[i]);
    }
    if (rc)
        return rc;
    ret->failed = 0;
    ret->changed = ed.changed;
    return ed.changed ? assemble(&ed, ret) : no_change(&ed, ret);
}

int json_edit_value(struct arena *a, str body, const struct json_want *w, str value,
                    struct json_edit *ret, struct error *e)
{
    size_t end = w->val_at + w->val_len;
    ASSERT(w->found && end <= body.len);
    *ret = (struct json_edit){ .segs = arena_try(a, 3 * sizeof *ret->segs), .changed = true };
    if (!ret->segs)
        return too_big(e);
    add_seg(ret, str_sub(body, 0, w->val_at));
    add_seg(ret, value);
    add_seg(ret, str_sub(body, end, body.len));
    return 0;
}

str json_quote(struct arena *a, str s)
{
    if (s.len > SIZE_MAX / 8)
        return STR_NONE;
    struct strbuf b = STRBUF(s.len * 6 + 2);
    strbuf_addc(&b, '"');
    strbuf_add_json(&b, s);
    strbuf_addc(&b, '"');
    str q = arena_try_dup(a, strbuf_str(&b));
    strbuf_fini(&b);
    return q;
}

bool json_edit_join(const struct json_edit *ed, struct strbuf *out)
{
    bool ok = strbuf_reserve(out, ed->len);
    for (size_t i = 0; ok && i < ed->n; i++)
        ok = strbuf_add(out, ed->segs[i]);
    return ok;
}
