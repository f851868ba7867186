/* demo.h: the built-in configuration of `luaswap demo`. */
#ifndef LUASWAP_MAIN_DEMO_H
#define LUASWAP_MAIN_DEMO_H

#include "base/strbuf.h"

/* YAML whose models are this program run as `luaswap demo-model`. */
void demo_config(struct strbuf *out, const char *program);
/* What to try, for a person at a terminal. */
void demo_greeting(struct strbuf *out, str addr);

#endif
