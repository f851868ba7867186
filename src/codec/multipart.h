/* multipart.h: multipart/form-data as a stream (RFC 7578, RFC 2046 5.1).
 *
 * What: a push parser that takes the body in pieces of any size and says where parts begin and end; a
 *       rewriter on top that replaces the value of one text field and passes everything else through.
 * Not:  collecting files; content transfer encodings (RFC 7578 4.7 deprecates them).
 * Strict: lines end in CRLF, or all of them in LF: the line of the first delimiter decides, and what does not follow
 *       it is refused, because programs would read it differently. Header lines may be folded. The closing delimiter
 *       must come; text before the first and behind the last delimiter is skipped.
 * Limits: 70 bytes of boundary, 16 KiB of header lines per part, 1000 parts, 4 KiB of a kept value.
 *       More is ERR_LIMIT. Memory does not depend on the size of the body.
 * Order: part, data*, end, part ... done. Callbacks must not feed.
 */
#ifndef LUASWAP_CODEC_MULTIPART_H
#define LUASWAP_CODEC_MULTIPART_H

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"

#define MULTIPART_BOUNDARY_MAX 70
#define MULTIPART_HEAD_MAX ((size_t)16 << 10)
#define MULTIPART_PARTS_MAX 1000u
#define MULTIPART_VALUE_MAX 4096u

struct multipart_part {
    str name;     /* of the field; empty: no form-data part, nobody's field */
    str filename; /* empty: a text field */
    str type;     /* its Content-Type, "" if none */
    uint64_t at;  /* offset of its first content byte in the body */
};

struct multipart_cb {
    /* `p` is valid during the call. */
    void (*part)(void *ud, const struct multipart_part *p);
    /* Content; `at` is the offset of its first byte in the body. Slices of what was fed, or of the
     * parser's own memory for bytes that looked like a delimiter at first. */
    void (*data)(void *ud, uint64_t at, str bytes);
    /* The part's content is [part.at, end); the parser has just read the delimiter behind it. */
    void (*end)(void *ud, uint64_t end);
};

struct multipart {
    const struct multipart_cb *cb;
    void *ud;
    int state, back; /* back: the state a false delimiter returns to */
    uint64_t end_at; /* of the content before the delimiter that is being read */
    char delim[MULTIPART_BOUNDARY_MAX + 5]; /* CR LF - - boundary */
    size_t skip;                            /* 1: its CR does not count (not known yet, or lines end in LF) */
    size_t delim_len, matched;
    size_t lent;  /* bytes at the begin of the match that belong to the line before */
    bool bare;    /* the part that ends has no content, not even the CR LF before a delimiter */
    uint64_t pos; /* bytes fed */
    unsigned parts;
    struct strbuf head;
    int failed; /* first error, repeated by later calls */
};

/* The boundary parameter of a Content-Type value; false if there is none or it is malformed. `out`
 * needs MULTIPART_BOUNDARY_MAX bytes. */
bool multipart_boundary(str content_type, char *out, size_t *ret_len);

/* ERR_SYNTAX if the boundary is empty, too long or holds CR or LF. */
MUSTCHECK int multipart_init(struct multipart *m, str boundary, const struct multipart_cb *cb,
                             void *ud, struct error *e);
void multipart_fini(struct multipart *m);
MUSTCHECK int multipart_feed(struct multipart *m, str bytes, struct error *e);
/* The body is over: ERR_SYNTAX unless the closing delimiter was seen. */
MUSTCHECK int multipart_done(struct multipart *m, struct error *e);

/* What stands between two parts, its line end in front: of the kind that this body has. */
str multipart_delim(const struct multipart *m);

/* ---- text fields: what routing needs ---- */

struct multipart_span {
    uint64_t at, len;
};
#define MULTIPART_SPANS_MAX 16

/* Collects the first value of two text fields, and where all values of the first one are: with
 * these spans a spooled body can be sent with another value by cutting and pasting. */
struct multipart_fields {
    struct multipart m;
    str name[2]; /* borrowed; name[1] may be empty: none */
    struct strbuf value[2];
    bool found[2];
    struct multipart_span span[MULTIPART_SPANS_MAX];
    size_t n_spans; /* more of them: ERR_LIMIT */
    int taking;     /* field being read, -1 = none */
    bool keep;      /* ... its value is wanted: it is the first one */
    uint64_t taking_at;
    bool too_much;
};

MUSTCHECK int multipart_fields_init(struct multipart_fields *f, str boundary, str name, str other,
                                    struct error *e);
void multipart_fields_fini(struct multipart_fields *f);
MUSTCHECK int multipart_fields_feed(struct multipart_fields *f, str bytes, struct error *e);
MUSTCHECK int multipart_fields_done(struct multipart_fields *f, struct error *e);
/* Length of the body once each value of the first field is `value`. */
uint64_t multipart_fields_length(const struct multipart_fields *f, uint64_t body_len,
                                 size_t value_len);
/* Cuts the piece of the body that lies at `at` into what stays, with `value` in place of the old
 * ones: appends at most 2 * MULTIPART_SPANS_MAX + 1 slices to segs, returns how many. For pieces in
 * order. */
size_t multipart_fields_splice(const struct multipart_fields *f, uint64_t at, str piece, str value,
                               str *segs);

/* ---- rewriting while streaming ---- */

typedef void multipart_emit(void *ud, str bytes); /* valid during the call */

struct multipart_rewrite {
    struct multipart m;
    str name, value; /* borrowed */
    multipart_emit *emit;
    void *ud;
    str piece;         /* being fed */
    uint64_t piece_at; /* its offset in the body */
    uint64_t sent;     /* offset up to which the body was handled */
    bool inside;       /* a value that is being replaced */
};

MUSTCHECK int multipart_rewrite_init(struct multipart_rewrite *r, str boundary, str name, str value,
                                     multipart_emit *emit, void *ud, struct error *e);
void multipart_rewrite_fini(struct multipart_rewrite *r);
/* Emits at once whatever can be; at most MULTIPART_BOUNDARY_MAX + 5 bytes are held back. */
MUSTCHECK int multipart_rewrite_feed(struct multipart_rewrite *r, str bytes, struct error *e);
MUSTCHECK int multipart_rewrite_done(struct multipart_rewrite *r, struct error *e);

#endif
