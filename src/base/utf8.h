/* utf8.h: validation and cutting at a safe place (Unicode 15, table 3-7: well-formed UTF-8). */
#ifndef LUASWAP_BASE_UTF8_H
#define LUASWAP_BASE_UTF8_H

#include "base/str.h"

/* Length (1..4) of the well-formed sequence that s begins with, 0 if it begins with none. */
size_t utf8_next(str s);
bool utf8_valid(str s);
/* Largest n <= max such that s[0..n) does not end inside a character. */
size_t utf8_cut(str s, size_t max);
/* Decodes a sequence that utf8_next() accepted. */
uint32_t utf8_decode(str s, size_t n);
/* Writes cp (<= 0x10FFFF, no surrogate) to out, returns 1..4; 0 for an invalid one. */
size_t utf8_encode(uint32_t cp, char out[4]);

#endif
