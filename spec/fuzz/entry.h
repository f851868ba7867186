/* entry.h: prototype of libFuzzer's entry point; the build includes it ahead of every target. */
#ifndef LUASWAP_FUZZ_ENTRY_H
#define LUASWAP_FUZZ_ENTRY_H

#include <stddef.h>
#include <stdint.h>

/* One input; returns 0. Whatever is wrong with our code ends the process (ASSERT, sanitizers). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
