/* http_parse.h: strict HTTP/1 reading: heads, and chunked bodies.
 *
 * What: bytes come in pieces of any size; a head is complete or refused at the earliest byte that decides it.
 *       llhttp (compiled strict) finds the end of the head and judges framing; then every line is checked again
 *       here: token-only names, no folding, no bare CR or LF, no control bytes, one Host, one Content-Length or
 *       exactly `Transfer-Encoding: chunked`, never both, no Transfer-Encoding below 1.1. Whatever both
 *       readings do not agree on is refused. The request line is read by ourselves alone: any token is a method, and
 *       a target may hold bytes above 127 (they are escaped when it is sent on).
 * Not:  bodies with a length (the caller counts), time-outs, what to answer.
 * Owns: the bytes of an incomplete head. A complete one is copied into the caller's arena.
 * Limits: head_max bytes, HTTP_HEADERS_MAX lines; framing bytes of a chunked body in proportion to its content.
 */
#ifndef LUASWAP_CODEC_HTTP_PARSE_H
#define LUASWAP_CODEC_HTTP_PARSE_H

#include "base/arena.h"
#include "codec/http_head.h"

#define HTTP_HEADERS_MAX 256

enum http_kind { HTTP_KIND_REQUEST, HTTP_KIND_RESPONSE };
enum { HTTP_MORE = 0, HTTP_DONE = 1, HTTP_PAUSED = 2 };

struct http_reader;
struct http_reader *http_reader_new(enum http_kind kind, size_t head_max);
void http_reader_free(struct http_reader *r);
/* Forgets everything: the next byte begins a message. Keeps at most a little memory. */
void http_reader_reset(struct http_reader *r);
/* Was any byte of a head seen (leading CRLFs do not count). */
bool http_reader_begun(const struct http_reader *r);
/* Takes *ret_used bytes. HTTP_MORE: all were taken; HTTP_DONE: http_reader_head must follow before `in` goes;
 * negative: refused, http_reader_status tells what to answer (requests). */
int http_reader_feed(struct http_reader *r, str in, size_t *ret_used, struct error *e);
/* The complete head, copied into the arena. head_request: the answer of a HEAD (responses only). Negative:
 * refused after all. */
int http_reader_head(struct http_reader *r, struct arena *a, bool head_request, struct http_head *out,
                     struct error *e);
int http_reader_status(const struct http_reader *r); /* 400, 405, 417, 431, 505 */

/* Decodes the chunked body that follows the head which r has just delivered. */
struct http_chunked;
/* False: stop here, as soon as possible. */
typedef bool http_sink_fn(void *ud, str bytes);
struct http_chunked *http_chunked_new(const struct http_reader *r, http_sink_fn *sink, void *ud);
void http_chunked_free(struct http_chunked *c);
/* HTTP_DONE: the body and its trailers have ended, *ret_used is where the next message begins. HTTP_PAUSED: the
 * sink said stop; go on later with the bytes from *ret_used. */
int http_chunked_feed(struct http_chunked *c, str in, size_t *ret_used, struct error *e);
/* After HTTP_DONE: "Name: value\r\n" lines, without fields that must not be trailers. */
str http_chunked_trailers(const struct http_chunked *c);

#endif
