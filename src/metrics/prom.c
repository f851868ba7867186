#include "metrics/prom.h"

#include "codec/json.h"

#include <math.h>

void prom_help(struct strbuf *out, const char *name, const char *type, const char *help)
{
    strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void head(struct strbuf *out, const char *name, const struct prom_label *labels, size_t n)
{
    strbuf_add(out, str_c(name));
    for (size_t i = 0; i < n; i++) {
        strbuf_addf(out, "%c%s=\"", i ? ',' : '{', labels[i].name);
        for (size_t k = 0; k < labels[i].value.len; k++) {
            char c = labels[i].value.ptr[k];
            if (c == '\\' || c == '"')
                strbuf_addc(out, '\\');
            if (c == '\n')
                strbuf_add(out, S("\\n"));
            else
                strbuf_addc(out, c);
        }
        strbuf_addc(out, '"');
    }
    strbuf_add(out, n ? S("} ") : S(" "));
}

void prom_float(struct strbuf *out, const char *name, const struct prom_label *labels, size_t n_labels, double v)
{
    char text[JSON_NUM_MAX];
    head(out, name, labels, n_labels);
    if (isfinite(v))
        strbuf_add(out, str_n(text, json_num_text(text, v, false)));
    else
        strbuf_add(out, isnan(v) ? S("NaN") : v > 0 ? S("+Inf") : S("-Inf"));
    strbuf_addc(out, '\n');
}

void prom_uint(struct strbuf *out, const char *name, const struct prom_label *labels, size_t n_labels, uint64_t v)
{
    head(out, name, labels, n_labels);
    strbuf_addu(out, v);
    strbuf_addc(out, '\n');
}

void prom_gauge(struct strbuf *out, const char *name, const char *help, uint64_t v)
{
    prom_help(out, name, "gauge", help);
    prom_uint(out, name, NULL, 0, v);
}

void prom_counter(struct strbuf *out, const char *name, const char *help, uint64_t v)
{
    prom_help(out, name, "counter", help);
    prom_uint(out, name, NULL, 0, v);
}
