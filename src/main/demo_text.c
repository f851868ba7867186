/* demo_text.c: see demo_text.h. */
#include "main/demo_text.h"

/* %N is the model's name, %Q the beginning of the question. */
static const char *const openings[] = {
    "You asked \"%Q\", and %N has thought about it for almost a full millisecond.",
    "Ah, \"%Q\": %N was hoping somebody would bring that up before the next swap.",
    "Good question. \"%Q\" is exactly what %N was loaded for, probably.",
    "%N has read \"%Q\" twice, once for each eye it does not have.",
};
static const char *const sentences[] = {
    "I am a demonstration, so please do not let me near your taxes.",
    "Somewhere behind me another model is waiting for its turn and pretending to be patient.",
    "My weights are zero bytes large, which makes me the fastest diet in the industry.",
    "If this answer feels short of insight, consider that it also fell short of a graphics card.",
    "The queue is fair here: whoever comes first is disappointed first.",
    "I was started a moment ago by a proxy that will stop me without a tear.",
    "Every word of mine arrives on a timer, like trains in a country with better trains.",
    "A real model would hallucinate now; I merely recite.",
    "Swap me out and back in, and I will not remember you, but I will be just as polite.",
    "It is lonely in a process group of one, yet wonderfully quiet.",
    "Some say patience is a virtue; I say it is a configuration key with a default.",
    "When I am unloaded I dream of page caches, warm and never evicted.",
    "Nothing I say costs a single watt worth mentioning.",
    "Point me at your own server one day and I will step aside with a bow.",
};

void demo_text_fini(struct demo_text *t)
{
    strbuf_fini(&t->text);
}

size_t demo_words(str text)
{
    size_t n = 0;
    bool in_word = false;
    for (size_t i = 0; i < text.len; i++) {
        bool blank = chr_space(text.ptr[i]);
        n += !blank && !in_word;
        in_word = !blank;
    }
    return n;
}

/* The first few words of the question, on one line. */
static void add_quote(struct strbuf *b, str question)
{
    str rest = str_trim(question);
    size_t words = 0, from = b->len;
    bool blank = false;
    for (size_t i = 0; i < rest.len && words < 8 && b->len - from < 80; i++) {
        if (chr_space(rest.ptr[i])) {
            words += !blank;
            blank = true;
            continue;
        }
        if (blank)
            strbuf_addc(b, ' ');
        blank = false;
        strbuf_addc(b, rest.ptr[i]);
    }
    if (b->len == from)
        strbuf_add(b, S("..."));
}

static void add_sentence(struct strbuf *b, const char *pattern, str name, str question)
{
    if (b->len)
        strbuf_addc(b, ' ');
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '%' && p[1] == 'N') {
            strbuf_add(b, name);
            p++;
        } else if (p[0] == '%' && p[1] == 'Q') {
            add_quote(b, question);
            p++;
        } else {
            strbuf_addc(b, *p);
        }
    }
}

void demo_text_init(struct demo_text *t, str name, str question, size_t n)
{
    uint64_t hash = str_hash(name, 7) ^ str_hash(question, 11);
    *t = (struct demo_text){ 0 };
    strbuf_init(&t->text, 64u << 20);
    add_sentence(&t->text, openings[hash % ARRAY_LEN(openings)], name, question);
    size_t words = demo_words(strbuf_str(&t->text));
    for (size_t k = (size_t)(hash >> 8); words < n && !t->text.full; k++) {
        const char *s = sentences[k % ARRAY_LEN(sentences)];
        add_sentence(&t->text, s, name, question);
        words += demo_words(str_c(s));
    }
}

str demo_text_next(struct demo_text *t)
{
    str all = strbuf_str(&t->text);
    size_t from = t->at, i = from;
    while (i < all.len && chr_space(all.ptr[i]))
        i++;
    while (i < all.len && !chr_space(all.ptr[i]))
        i++;
    t->at = i;
    return str_sub(all, from, i - from);
}
