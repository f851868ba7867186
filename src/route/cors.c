/* cors.c: see cors.h. */
#include "route/cors.h"

static bool is_token(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool plain = chr_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && (!c || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.len > 0;
}

void cors_allow_headers(struct strbuf *out, str requested)
{
    if (!requested.ptr) {
        strbuf_add(out, S("Content-Type, Authorization, Accept, X-Requested-With"));
        return;
    }
    str item;
    size_t from = out->len;
    while (str_item(&requested, ',', &item)) {
        if (!is_token(item))
            continue;
        if (out->len > from)
            strbuf_add(out, S(", "));
        strbuf_add(out, item);
    }
}
