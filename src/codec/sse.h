/* sse.h: an incremental splitter of server-sent event streams.
 *
 * What: bytes in pieces of any size -> events (name, joined data lines, id). Line ends may be LF, CR or CRLF.
 * Not:  reconnecting, JSON.
 * Owns: the unfinished line and event. Limits: `max` bytes of data in one event; a larger one is counted in `dropped`
 *       and skipped, the stream goes on. Names and ids above 255 bytes are cut.
 * Source: the HTML standard, section 9.2.6.
 */
#ifndef LUASWAP_CODEC_SSE_H
#define LUASWAP_CODEC_SSE_H

#include "base/strbuf.h"

struct sse_event {
    str name; /* empty: "message" is meant */
    str data; /* lines joined by LF */
    str id;   /* last seen */
};

/* Slices are valid during the call. Returning false stops sse_feed; the rest of the bytes is not looked at. */
typedef bool sse_fn(void *ud, const struct sse_event *ev);

struct sse {
    struct strbuf line, data;
    struct strbuf name, id;
    uint64_t events, dropped;
    size_t max;
    bool cr;      /* the last byte was a CR: an LF that follows belongs to it */
    bool started; /* a byte order mark may only come first */
    bool any;     /* a data line was seen */
    bool over;    /* this event is too large */
};

void sse_init(struct sse *s, size_t max);
void sse_fini(struct sse *s);
/* Number of bytes looked at: all of them unless fn returned false. */
size_t sse_feed(struct sse *s, str bytes, sse_fn *fn, void *ud);

/* Writes one event: data is split at its line ends; name empty: none. A name with a line end is left out. */
bool sse_write(struct strbuf *out, str name, str data);

#endif
