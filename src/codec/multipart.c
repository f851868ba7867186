/* multipart.c: see multipart.h. */
#include "codec/multipart.h"

#include "base/check.h"

/* A delimiter is CR LF "--" boundary, or LF "--" boundary. It may use the line end before it: at the start of the body,
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

static const char *delim(const struct multipart *m)
{
    return m->delim + m->skip;
}

str multipart_delim(const struct multipart *m)
{
    return str_n(delim(m), m->delim_len);
}

/* No delimiter line has been read so far that tells how lines end. */
static bool undecided(const struct multipart *m)
{
    return m->parts == 0 && m->back == PREAMBLE;
}

static size_t line_end(const struct multipart *m)
{
    return 2 - m->skip;
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

/* Folded lines become one each: their line ends are blanks to everybody. Not so when the rest looks like a header line
 * itself, which a program that trims lines would take it for: false. */
static bool unfold(str head, bool crlf)
{
    char *b = (char *)(uintptr_t)head.ptr;
    for (size_t i = 3; i < head.len; i++) {
        if (b[i - 1] != '\n' || (b[i] != ' ' && b[i] != '\t'))
            continue;
        str line = str_sub(head, i, head.len);
        skip_blank(&line);
        if (take_token(&line).len && line.len && line.ptr[0] == ':')
            return false;
        b[i - 1] = ' ';
        if (crlf)
            b[i - 2] = ' ';
    }
    return true;
}

/* No stray CR or NUL. */
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
    int rc = unfold(rest, m->skip == 0) ? 0 : syntax(m, e, "a folded header line that looks like another one");
    while (!rc && str_cut(rest, '\n', &line, &rest)) {
        str name, value;
        line = str_sub(line, 0, line.len - (line_end(m) - 1));
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
        m->matched = m->lent = line_end(m);
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
    str once = m->skip ? S("\n") : S("\r\n"), twice = m->skip ? S("\n\n") : S("\r\n\r\n");
    if (!str_ends(head, once))
        return syntax(m, e, "lines that end in CRLF and others in LF");
    if (head.len > once.len && !str_ends(head, twice))
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
    give(m, m->pos - n + m->lent, str_n(delim(m) + m->lent, n - m->lent));
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
    while (*i < s.len && m->matched < m->delim_len && s.ptr[*i] == delim(m)[m->matched]) {
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

/* How much of the end of s may be the begin of a delimiter. Its first byte is there only once. */
static size_t partial(const struct multipart *m, str s)
{
    size_t most = s.len < m->delim_len - 1 ? s.len : m->delim_len - 1;
    const char *at = most ? memrchr(s.ptr + s.len - most, delim(m)[0], most) : NULL;
    size_t n = at ? (size_t)(s.ptr + s.len - at) : 0;
    return n && memcmp(at, delim(m), n) == 0 ? n : 0;
}

static void feed_content(struct multipart *m, str s, size_t *i)
{
    if (m->matched) {
        match_on(m, s, i);
        return;
    }
    str rest = str_sub(s, *i, s.len);
    ptrdiff_t hit = str_find(rest, str_n(delim(m), m->delim_len));
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
    if (c != '\r' && c != '\n' && c != ' ' && c != '\t' && c != '-') {
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

/* The end of a delimiter's line; the first one says how lines end. */
static int end_delim_line(struct multipart *m, bool crlf, struct error *e)
{
    if (undecided(m)) {
        m->skip = crlf ? 0 : 1;
        m->delim_len += crlf;
    } else if (crlf != (m->skip == 0)) {
        return syntax(m, e, "lines that end in CRLF and others in LF");
    }
    if (++m->parts > MULTIPART_PARTS_MAX) {
        m->failed = error_set(e, ERR_LIMIT, "multipart body: more than %u parts", MULTIPART_PARTS_MAX);
        return m->failed;
    }
    strbuf_clear(&m->head);
    m->state = HEAD;
    return 0;
}

static int feed_byte(struct multipart *m, char c, struct error *e)
{
    int rc = 0;
    switch ((enum state)m->state) {
    case PADDING:
        if (c == '-' && m->pos == m->end_at + m->delim_len)
            m->state = DASH;
        else if (c == '\r')
            m->state = NEED_LF;
        else if (c == '\n')
            rc = end_delim_line(m, false, e);
        else if (c != ' ' && c != '\t')
            return syntax(m, e, "text behind a delimiter");
        break;
    case NEED_LF:
        if (c != '\n')
            return syntax(m, e, "a line that does not end in CRLF");
        rc = end_delim_line(m, true, e);
        break;
    case DASH:
        if (c != '-')
            return syntax(m, e, "text behind a delimiter");
        m->state = CLOSING;
        break;
    case CLOSING:
        if (c == '\r' && (m->skip == 0 || undecided(m)))
            m->state = CLOSE_LF;
        else if (c == '\n' && m->skip)
            m->state = EPILOGUE;
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
    m->pos += rc == 0;
    return rc;
}

static bool boundary_ok(str boundary)
{
    return boundary.len > 0 && boundary.len <= MULTIPART_BOUNDARY_MAX &&
           str_chr(boundary, '\r') < 0 && str_chr(boundary, '\n') < 0;
}

int multipart_init(struct multipart *m, str boundary, const struct multipart_cb *cb, void *ud,
                   struct error *e)
{
    *m = (struct multipart){ .cb = cb, .ud = ud, .state = PREAMBLE, .matched = 1, .lent = 1, .skip = 1 };
    strbuf_init(&m->head, MULTIPART_HEAD_MAX);
    if (!boundary_ok(boundary)) {
        m->failed = error_set(e, ERR_SYNTAX, "multipart body: no usable boundary");
        return m->failed;
    }
    memcpy(m->delim, "\r\n--", 4);
    memcpy(m->delim + 4, boundary.ptr, boundary.len);
    m->delim_len = boundary.len + 3;
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
