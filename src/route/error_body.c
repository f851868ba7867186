/* error_body.c: see error_body.h. */
#include "route/error_body.h"

#include "base/utf8.h"
#include "route/wire.h"

const char *error_body_type(int status)
{
    if (status == 401 || status == 403)
        return "authentication_error";
    if (status == 429)
        return "rate_limit_error";
    return status >= 400 && status < 500 ? "invalid_request_error" : "server_error";
}

const char *error_body_code(int status)
{
    switch (status) {
    case 400:
        return "bad_request";
    case 401:
        return "unauthorized";
    case 403:
        return "forbidden";
    case 404:
        return "not_found";
    case 409:
        return "conflict";
    case 429:
        return "rate_limit_exceeded";
    case 502:
        return "bad_gateway";
    case 503:
        return "service_unavailable";
    case 504:
        return "gateway_timeout";
    default:
        return status >= 400 && status < 500 ? "invalid_request" : "internal_error";
    }
}

static void envelope(struct strbuf *out, int status, str message, const char *code)
{
    strbuf_add(out, S("{\"src\":\"" WIRE_SRC "\",\"error\":{\"message\":\""));
    strbuf_add_json(out, message);
    strbuf_add(out, S("\",\"type\":\""));
    strbuf_add(out, str_c(error_body_type(status)));
    strbuf_add(out, S("\",\"param\":null,\"code\":\""));
    strbuf_add_json(out, str_c(code ? code : error_body_code(status)));
    strbuf_add(out, S("\"}}"));
}

static str html_entity(char c)
{
    switch (c) {
    case '&':
        return S("&amp;");
    case '<':
        return S("&lt;");
    case '>':
        return S("&gt;");
    case '"':
        return S("&#34;");
    case '\'':
        return S("&#39;");
    default:
        return STR_NONE;
    }
}

/* Escaped for HTML if so asked; bytes that are not UTF-8 become U+FFFD. */
static void add_text(struct strbuf *out, str s, bool html)
{
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_next(str_sub(s, i, 4));
        str entity = html ? html_entity(s.ptr[i]) : STR_NONE;
        if (entity.len)
            strbuf_add(out, entity);
        else
            strbuf_add(out, n ? str_sub(s, i, n) : S("\xEF\xBF\xBD"));
        i += n ? n : 1;
    }
}

void error_body(struct strbuf *out, str accept, int status, str message, const char *code_override,
                const char **ret_content_type)
{
    if (str_find(accept, S("text/plain")) >= 0) {
        *ret_content_type = "text/plain";
        strbuf_add(out, S(WIRE_TEXT_PREFIX));
        add_text(out, message, false);
    } else if (str_find(accept, S("text/html")) >= 0) {
        *ret_content_type = "text/html";
        strbuf_add(out, S("<html><body><h1>" WIRE_SRC "</h1><p>"));
        add_text(out, message, true);
        strbuf_add(out, S("</p></body></html>"));
    } else {
        *ret_content_type = "application/json";
        envelope(out, status, message, code_override);
    }
}

void error_body_limit(struct strbuf *out, str message, const char **ret_content_type)
{
    *ret_content_type = "application/json";
    envelope(out, 429, message.len ? message : S("Too many requests"), "concurrency_limit");
}

void error_body_event(struct strbuf *out, int status, str message, const char *code_override)
{
    strbuf_add(out, S("data: "));
    envelope(out, status, message, code_override);
    strbuf_add(out, S("\n\n"));
}
