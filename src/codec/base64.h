/* base64.h: RFC 4648 section 4, standard alphabet with padding, strict: no blanks, no missing padding, and
 * bits that do not belong to a byte must be zero.
 */
#ifndef LUASWAP_CODEC_BASE64_H
#define LUASWAP_CODEC_BASE64_H

#include "base/arena.h"
#include "base/strbuf.h"

/* False when the buffer is full. */
bool base64_encode(struct strbuf *out, str s);
/* Appends the bytes; false (and out as before) if s is not base64 or the buffer is full. */
bool base64_decode(struct strbuf *out, str s);

#endif
