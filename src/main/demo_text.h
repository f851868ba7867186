/* demo_text.h: what the demo models say: sentences, cut into words, one word a token. */
#ifndef LUASWAP_MAIN_DEMO_TEXT_H
#define LUASWAP_MAIN_DEMO_TEXT_H

#include "base/strbuf.h"

struct demo_text {
    struct strbuf text;
    size_t at;
};

/* An answer of at least n words by `name`, to a question of which a little is quoted; the same question to the
 * same model gets the same answer. */
void demo_text_init(struct demo_text *t, str name, str question, size_t n);
void demo_text_fini(struct demo_text *t);
/* The next word, with the blank before it (but the first). */
str demo_text_next(struct demo_text *t);
/* About how many tokens a text is: its words. */
size_t demo_words(str text);

#endif
