/* fuzz_http_response.c: the response reader; pieces must not matter, and the headers that go on to a client frame
 * nothing and belong to no connection. */
#include "codec/http_parse.h"
#include "codec/http_write.h"

#include "http_fuzz.h"

static void fuzz_accepted(const struct http_head *h)
{
    struct strbuf out = STRBUF(1u << 20);
    ASSERT(http_forward_response(&out, h, NULL, NULL) == 0);
    str rest = strbuf_str(&out), line, name, value;
    while (rest.len) {
        ASSERT(str_cut(rest, '\n', &line, &rest) && str_cut(line, ':', &name, &value));
        enum http_hdr id = http_hdr_of(name);
        ASSERT(id != HDR_CONTENT_LENGTH && id != HDR_TRANSFER_ENCODING && id != HDR_CONNECTION && id != HDR_UPGRADE);
    }
    strbuf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_both(HTTP_KIND_RESPONSE, data, size);
    return 0;
}
