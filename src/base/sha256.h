/* sha256.h: SHA-256 (FIPS 180-4), to name the contents of files so that people can compare them with sha256sum.
 *
 * What: a text in pieces, or at once, to 32 bytes or 64 hex digits. Not: for secrets; nothing is wiped.
 * Owns: nothing, allocates nothing. Limits: 2^61 bytes.
 */
#ifndef LUASWAP_BASE_SHA256_H
#define LUASWAP_BASE_SHA256_H

#include "base/str.h"

#define SHA256_HEX 65 /* with the zero at the end */

struct sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64]; /* bytes % 64 of it are filled */
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, str data);
void sha256_end(struct sha256 *s, uint8_t ret[32]); /* s is used up */
void sha256_hex(str data, char ret[SHA256_HEX]);

#endif
