/* multipart.c: see multipart.h. */
#include "codec/multipart.h"

#include "base/check.h"

/* A delimiter is CR LF "--" boundary. It may use the line end before it: at the start of the body,
 * and when a part has headers only (RFC 2046 5.1.1); such bytes are "lent", they are no content. */
enum state {
    PREAMBLE, /* text before the first delimiter */
    DATA,     /* content of a part */
    DELIM,    /* behind a whole delimiter: what follows decides whether it is one */
    PADDING,  /* blanks behind it */
    NEED_LF,  /* ... and its CR */
    DASH,     /* one of the two dashes of the closing one */
    CLOSING,  /* behind both */
    CLOSE_LF, /* ... and its CR */
    HEAD,     /* header lines of a part */
    EPILOGUE,
};

/* ---- parameters of Content-Type and Content-Disposition (RFC 2045 5.1) ---- */

static bool is_token(char c)
{
    return c > ' ' && c < 0x7F && !strchr("()<>@,;:\\\"/[]?=", c);
}

static str take_token(str *s)
{
    size_t n = 0;
    while (n < s->len && is_token(s->ptr[n]))
        n++;
    str token = str_sub(*s, 0, n);
    *s = str_sub(*s, n, s->len);
    return token;
}

static void skip_blank(str *s)
{
    size_t n = 0;
    while (n < s->len && (s->ptr[n] == ' ' || s->ptr[n] == '\t'))
        n++;
    *s = str_sub(*s, n, s->len);
}

/* A quoted value, in place or unescaped into `room`, which is as long as *s. A backslash counts
 * only before a quote or another one: some clients send Windows paths as they are. */
static bool take_quoted(str *s, char *room, str *ret)
{
    size_t n = 0;
    for (size_t i = 1; i < s->len; i++) {
        char c = s->ptr[i];
        if (c == '"') {
            *ret = str_n(room, n);
            *s = str_sub(*s, i + 1, s->len);
            return true;
        }
        if (c == '\\' && i + 1 < s->len && (s->ptr[i + 1] == '"' || s->ptr[i + 1] == '\\'))
            c = s->ptr[++i];
        room[n++] = c;
    }
    return false;
}

/* Next "; name=value" of *s: 1; 0 at the end; -1 malformed. */
static int take_param(str *s, char *room, str *name, str *value)
{
    skip_blank(s);
    if (s->len == 0)
        return 0;
    if (s->ptr[0] != ';')
        return -1;
    *s = str_sub(*s, 1, s->len);
    skip_blank(s);
    if (s->len == 0)
        return 0;
    *name = take_token(s);
    skip_blank(s);
    if (name->len == 0 || s->len == 0 || s->ptr[0] != '=')
        return -1;
    *s = str_sub(*s, 1, s->len);
    skip_blank(s);
    if (s->len && s->ptr[0] == '"')
        return take_quoted(s, room, value) ? 1 : -1;
    *value = take_token(s);
    return value->len ? 1 : -1;
}

static str media_type(str *s)
{
    size_t n = 0;
    while (n < s->len && s->ptr[n] != ';')
        n++;
    str type = str_trim(str_sub(*s, 0, n));
    *s = str_sub(*s, n, s->len);
    return type;
}

bool multipart_boundary(str content_type, char *out, size_t *ret_len)
{
    if (content_type.len > 4096 || !str_ieq(media_type(&content_type), S("multipart/form-data")))
        return false;
    char room[4096];
    str name, value;
    size_t len = 0;
    int more;
    while ((more = take_param(&content_type, room, &name, &value)) == 1) {
        if (!str_ieq(name, S("boundary")))
            continue;
        if (len || value.len == 0 || value.len > MULTIPART_BOUNDARY_MAX)
            return false;
        memcpy(out, value.ptr, value.len);
        len = value.len;
    }
    if (len == 0 || more < 0)
        return false;
    *ret_len = len;
    return true;
}

/* ---- header lines of a part ---- */

/* Fills in name and filename from a Content-Disposition. One that is malformed names no field, as
 * in the reference. `room` holds the unescaped values, twice the length of the line. */
static void read_disposition(str line, char *room, struct multipart_part *p)
{
    str name, value, field = STR_NONE, file = STR_NONE;
    int more;
    if (!str_ieq(media_type(&line), S("form-data")))
        return;
    while ((more = take_param(&line, room, &name, &value)) == 1) {
        room += value.len;
        if (str_ieq(name, S("name"))) {
            if (field.ptr)
                return;
            field = value;
        } else if (str_ieq(name, S("filename")) || str_ieq(name, S("filename*"))) {
            file = value;
        }
    }
    if (more < 0)
        return;
    p->name = field;
    p->filename = file;
}

/* No folding, no stray CR or NUL. */
static bool is_header_line(str name, str value)
{
    str token = take_token(&name);
    return token.len && name.len == 0 && str_chr(value, '\r') < 0 && str_chr(value, '\0') < 0;
}

static int syntax(struct multipart *m, struct error *e, const char *what)
{
    m->failed = error_set(e, ERR_SYNTAX, "multipart body: %s at byte %llu", what,
                          (unsigned long long)m->pos);
    return m->failed;
}

/* The header block is complete; announces the part. */
static int begin_part(struct multipart *m, struct error *e)
{
    struct multipart_part p = { .at = m->pos };
    str rest = strbuf_str(&m->head), line;
    bool seen = false;
    char *room = mem_zalloc(m->head.len + 1);
    int rc = 0;
    while (!rc && str_cut(rest, '\n', &line, &rest)) {
        str name, value;
        line = str_sub(line, 0, line.len - 1);
        if (line.len == 0)
            break;
        if (!str_cut(line, ':', &name, &value) || !is_header_line(name, value)) {
            rc = syntax(m, e, "malformed header line");
        } else if (str_ieq(name, S("content-type"))) {
            p.type = str_trim(value);
        } else if (str_ieq(name, S("content-disposition"))) {
            if (seen)
                rc = syntax(m, e, "a second Content-Disposition");
            seen = true;
            read_disposition(str_trim(value), room, &p);
        }
    }
    if (!rc) {
        m->state = DATA;
        m->matched = m->lent = 2;
        m->cb->part(m->ud, &p);
    }
    free(room);
    return rc;
}

/* Takes header bytes up to the end of a line; ends the block at an empty one. */
static int feed_head(struct multipart *m, str s, size_t *i, struct error *e)
{
    const char *nl = memchr(s.ptr + *i, '\n', s.len - *i);
    size_t end = nl ? (size_t)(nl - s.ptr) + 1 : s.len;
    if (!strbuf_add(&m->head, str_sub(s, *i, end - *i))) {
        m->failed = error_set(e, ERR_LIMIT, "multipart body: header lines too long");
        return m->failed;
    }
    m->pos += end - *i;
    *i = end;
    if (!nl)
        return 0;
    str head = strbuf_str(&m->head);
    if (!str_ends(head, S("\r\n")))
        return syntax(m, e, "a line that does not end in CRLF");
    if (head.len > 2 && !str_ends(head, S("\r\n\r\n")))
        return 0;
    return begin_part(m, e);
}

/* ---- content and delimiters ---- */

static void give(struct multipart *m, uint64_t at, str bytes)
{
    if (m->state == DATA && bytes.len)
        m->cb->data(m->ud, at, bytes);
}

/* The first n bytes of what looked like a delimiter and ends here. */
static void give_held(struct multipart *m, size_t n)
{
    give(m, m->pos - n + m->lent, str_n(m->delim + m->lent, n - m->lent));
}

static void found_delim(struct multipart *m)
{
    m->end_at = m->pos - m->delim_len;
    m->back = m->state;
    m->state = DELIM;
}

/* Goes on with a delimiter that began in an earlier piece. */
static void match_on(struct multipart *m, str s, size_t *i)
{
    while (*i < s.len && m->matched < m->delim_len && s.ptr[*i] == m->delim[m->matched]) {
        m->matched++;
        m->pos++;
        (*i)++;
    }
    if (m->matched == m->delim_len) {
        found_delim(m);
    } else if (*i < s.len) {
        /* None after all: what was held back is content. */
        give_held(m, m->matched);
        m->matched = 0;
    }
}

/* How much of the end of s may be the begin of a delimiter. There is only one CR in it, the first
 * byte. */
static size_t partial(const struct multipart *m, str s)
{
    size_t most = s.len < m->delim_len - 1 ? s.len : m->delim_len - 1;
    const char *cr = most ? memrchr(s.ptr + s.len - most, '\r', most) : NULL;
    size_t n = cr ? (size_t)(s.ptr + s.len - cr) : 0;
    return n && memcmp(cr, m->delim, n) == 0 ? n : 0;
}

static void feed_content(struct multipart *m, str s, size_t *i)
{
    if (m->matched) {
        match_on(m, s, i);
        return;
    }
    str rest = str_sub(s, *i, s.len);
    ptrdiff_t hit = str_find(rest, str_n(m->delim, m->delim_len));
    size_t n = hit >= 0 ? (size_t)hit : rest.len - partial(m, rest);
    give(m, m->pos, str_sub(rest, 0, n));
    m->matched = hit >= 0 ? m->delim_len : rest.len - n;
    m->lent = 0;
    size_t used = hit >= 0 ? n + m->delim_len : rest.len;
    m->pos += used;
    *i += used;
    if (hit >= 0)
        found_delim(m);
}

/* The byte behind a delimiter. */
static void after_delim(struct multipart *m, char c)
{
    if (c != '\r' && c != ' ' && c != '\t' && c != '-') {
        m->state = m->back;
        give_held(m, m->delim_len);
        m->matched = 0;
        return; /* and c is looked at again */
    }
    m->bare = m->lent > 0;
    if (m->back == DATA)
        m->cb->end(m->ud, m->end_at + m->lent);
    m->state = PADDING;
}

static int feed_byte(struct multipart *m, char c, struct error *e)
{
    switch ((enum state)m->state) {
    case PADDING:
        if (c == '-' && m->pos == m->end_at + m->delim_len)
            m->state = DASH;
        else if (c == '\r')
            m->state = NEED_LF;
        else if (c != ' ' && c != '\t')
            return syntax(m, e, "text behind a delimiter");
        break;
    case NEED_LF:
        if (c != '\n')
            return syntax(m, e, "a line that does not end in CRLF");
        if (++m->parts > MULTIPART_PARTS_MAX) {
            m->failed =
                error_set(e, ERR_LIMIT, "multipart body: more than %u parts", MULTIPART_PARTS_MAX);
            return m->failed;
        }
        strbuf_clear(&m->head);
        m->state = HEAD;
        break;
    case DASH:
        if (c != '-')
            return syntax(m, e, "text behind a delimiter");
        m->state = CLOSING;
        break;
    case CLOSING:
        if (c == '\r')
            m->state = CLOSE_LF;
        else if (c != ' ' && c != '\t')
            return syntax(m, e, "text behind the last delimiter");
        break;
    case CLOSE_LF:
        if (c != '\n')
            return syntax(m, e, "a line that does not end in CRLF");
        m->state = EPILOGUE;
        break;
    default:
        UNREACHABLE();
    }
    m->pos++;
    return 0;
}

static bool boundary_ok(str boundary)
{
    return boundary.len > 0 && boundary.len <= MULTIPART_BOUNDARY_MAX &&
           str_chr(boundary, '\r') < 0 && str_chr(boundary, '\n') < 0;
}

int multipart_init(struct multipart *m, str boundary, const struct multipart_cb *cb, void *ud,
                   struct error *e)
{
    *m = (struct multipart){ .cb = cb, .ud = ud, .state = PREAMBLE, .matched = 2, .lent = 2 };
    strbuf_init(&m->head, MULTIPART_HEAD_MAX);
    if (!boundary_ok(boundary)) {
        m->failed = error_set(e, ERR_SYNTAX, "multipart body: no usable boundary");
        return m->failed;
    }
    memcpy(m->delim, "\r\n--", 4);
    memcpy(m->delim + 4, boundary.ptr, boundary.len);
    m->delim_len = boundary.len + 4;
    return 0;
}

void multipart_fini(struct multipart *m)
{
    strbuf_fini(&m->head);
}

int multipart_feed(struct multipart *m, str s, struct error *e)
{
    if (m->failed)
        return error_set(e, m->failed, NULL);
    for (size_t i = 0; i < s.len;) {
        int rc = 0;
        switch ((enum state)m->state) {
        case PREAMBLE:
        case DATA:
            feed_content(m, s, &i);
            break;
        case DELIM:
            after_delim(m, s.ptr[i]);
            break;
        case HEAD:
            rc = feed_head(m, s, &i, e);
            break;
        case EPILOGUE:
            m->pos += s.len - i;
            i = s.len;
            break;
        default:
            rc = feed_byte(m, s.ptr[i++], e);
        }
        if (rc)
            return rc;
    }
    return 0;
}

int multipart_done(struct multipart *m, struct error *e)
{
    if (m->failed)
        return error_set(e, m->failed, NULL);
    if (m->state != CLOSING && m->state != EPILOGUE)
        return syntax(m, e, "it ends before the last delimiter");
    return 0;
}

/* ---- text fields ---- */

static void on_field_part(void *ud, const struct multipart_part *p)
{
    struct multipart_fields *f = ud;
    f->taking = -1;
    if (p->filename.len || p->name.len == 0)
        return;
    for (int i = 0; i < 2; i++)
        if (str_eq(f->name[i], p->name))
            f->taking = i;
    if (f->taking < 0)
        return;
    f->taking_at = p->at;
    f->keep = !f->found[f->taking];
    f->found[f->taking] = true;
}

static void on_field_data(void *ud, uint64_t at, str bytes)
{
    (void)at;
    struct multipart_fields *f = ud;
    if (f->taking >= 0 && f->keep && !strbuf_add(&f->value[f->taking], bytes))
        f->too_much = true;
}

static void on_field_end(void *ud, uint64_t end)
{
    struct multipart_fields *f = ud;
    if (f->taking != 0)
        return;
    /* Without a line end of its own there is no place to put another value in. */
    if (f->n_spans == MULTIPART_SPANS_MAX || f->m.bare)
        f->too_much = true;
    else
        f->span[f->n_spans++] = (struct multipart_span){ f->taking_at, end - f->taking_at };
}

int multipart_fields_init(struct multipart_fields *f, str boundary, str name, str other,
                          struct error *e)
{
    static const struct multipart_cb cb = { on_field_part, on_field_data, on_field_end };
    *f = (struct multipart_fields){ .name = { name, other }, .taking = -1 };
    strbuf_init(&f->value[0], MULTIPART_VALUE_MAX);
    strbuf_init(&f->value[1], MULTIPART_VALUE_MAX);
    return multipart_init(&f->m, boundary, &cb, f, e);
}

void multipart_fields_fini(struct multipart_fields *f)
{
    multipart_fini(&f->m);
    strbuf_fini(&f->value[0]);
    strbuf_fini(&f->value[1]);
}

int multipart_fields_feed(struct multipart_fields *f, str bytes, struct error *e)
{
    int rc = multipart_feed(&f->m, bytes, e);
    if (!rc && f->too_much) {
        f->m.failed =
            error_set(e, ERR_LIMIT, "multipart body: field too long, too often there or cut off");
        rc = f->m.failed;
    }
    return rc;
}

int multipart_fields_done(struct multipart_fields *f, struct error *e)
{
    return multipart_done(&f->m, e);
}

uint64_t multipart_fields_length(const struct multipart_fields *f, uint64_t body_len,
                                 size_t value_len)
{
    for (size_t i = 0; i < f->n_spans; i++)
        body_len = body_len - f->span[i].len + value_len;
    return body_len;
}

size_t multipart_fields_splice(const struct multipart_fields *f, uint64_t at, str piece, str value,
                               str *segs)
{
    size_t n = 0, done = 0;
    for (size_t i = 0; i < f->n_spans; i++) {
        struct multipart_span sp = f->span[i];
        if (sp.at + sp.len < at || (sp.at + sp.len == at && sp.at < at) || sp.at >= at + piece.len)
            continue;
        size_t from = sp.at > at ? (size_t)(sp.at - at) : 0;
        if (from > done)
            segs[n++] = str_sub(piece, done, from - done);
        if (sp.at >= at && value.len)
            segs[n++] = value;
        uint64_t to = sp.at + sp.len - at;
        done = to < piece.len ? (size_t)to : piece.len;
    }
    if (done < piece.len)
        segs[n++] = str_sub(piece, done, piece.len - done);
    return n;
}

/* ---- rewriting ---- */

/* Sends what is not sent yet, up to offset `to`; all of it lies in the present piece. */
static void pass(struct multipart_rewrite *r, uint64_t to)
{
    if (to <= r->sent)
        return;
    ASSERT(r->sent >= r->piece_at && to <= r->piece_at + r->piece.len);
    r->emit(r->ud, str_sub(r->piece, (size_t)(r->sent - r->piece_at), (size_t)(to - r->sent)));
    r->sent = to;
}

static void on_rewrite_part(void *ud, const struct multipart_part *p)
{
    struct multipart_rewrite *r = ud;
    if (p->filename.len || p->name.len == 0 || !str_eq(p->name, r->name))
        return;
    pass(r, p->at);
    r->inside = true;
}

static void on_rewrite_data(void *ud, uint64_t at, str bytes)
{
    (void)ud, (void)at, (void)bytes;
}

static void on_rewrite_end(void *ud, uint64_t end)
{
    (void)end;
    struct multipart_rewrite *r = ud;
    if (!r->inside)
        return;
    r->inside = false;
    if (r->value.len)
        r->emit(r->ud, r->value);
    /* Some of the delimiter may have been in an earlier piece. */
    r->emit(r->ud, str_n(r->m.delim, r->m.delim_len));
    r->sent = r->m.pos;
}

int multipart_rewrite_init(struct multipart_rewrite *r, str boundary, str name, str value,
                           multipart_emit *emit, void *ud, struct error *e)
{
    static const struct multipart_cb cb = { on_rewrite_part, on_rewrite_data, on_rewrite_end };
    *r = (struct multipart_rewrite){ .name = name, .value = value, .emit = emit, .ud = ud };
    return multipart_init(&r->m, boundary, &cb, r, e);
}

void multipart_rewrite_fini(struct multipart_rewrite *r)
{
    multipart_fini(&r->m);
}

int multipart_rewrite_feed(struct multipart_rewrite *r, str bytes, struct error *e)
{
    r->piece = bytes;
    r->piece_at = r->m.pos;
    int rc = multipart_feed(&r->m, bytes, e);
    if (!rc && !r->inside)
        pass(r, r->piece_at + bytes.len);
    r->piece = STR_NONE;
    return rc;
}

int multipart_rewrite_done(struct multipart_rewrite *r, struct error *e)
{
    return multipart_done(&r->m, e);
}
