/* prom.h: the Prometheus text format: HELP and TYPE lines, samples, escaped labels.
 *
 * Order: all samples of a name follow its prom_help() at once; the caller keeps to that.
 * Format: text/plain; version=0.0.4. Label values escape backslash, quote and newline.
 */
#ifndef LUASWAP_METRICS_PROM_H
#define LUASWAP_METRICS_PROM_H

#include "base/strbuf.h"

#define PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct prom_label {
    const char *name;
    str value;
};

void prom_help(struct strbuf *out, const char *name, const char *type, const char *help);
void prom_float(struct strbuf *out, const char *name, const struct prom_label *labels, size_t n_labels, double v);
void prom_uint(struct strbuf *out, const char *name, const struct prom_label *labels, size_t n_labels, uint64_t v);
/* Help and one sample without labels. */
void prom_gauge(struct strbuf *out, const char *name, const char *help, uint64_t v);
void prom_counter(struct strbuf *out, const char *name, const char *help, uint64_t v);

#endif
