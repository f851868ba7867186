/* report.h: everything that is wrong or odd about a configuration, with the place of each.
 *
 * Owns: its arena; all texts are copies.
 * Limits: 1,000 entries are kept, the rest is only counted.
 */
#ifndef LUASWAP_CONFIG_REPORT_H
#define LUASWAP_CONFIG_REPORT_H

#include "base/arena.h"
#include "base/strbuf.h"

struct config_issue {
    bool error;         /* else a warning */
    str file;           /* as given on the command line; empty: no file is to blame */
    unsigned line, col; /* 1-based; 0 = the file as a whole */
    str key;            /* "models.otter.ttl"; may be empty */
    str text;           /* the message */
    str hint;           /* what to write instead; may be empty */
};

struct config_report {
    struct arena arena;
    struct config_issue *at;
    size_t len, cap;
    size_t errors, warnings; /* counted in full */
};

void config_report_init(struct config_report *r);
void config_report_fini(struct config_report *r);
/* Copies; an entry that is there already (same place and text) is not added again. */
void config_report_add(struct config_report *r, const struct config_issue *i);
/* "conf.yaml:12:5: error: model otter: ... [models.otter.proxy]" and, indented, the hint: one
 * entry. */
void config_issue_print(const struct config_issue *i, struct strbuf *out);
/* All entries, errors and warnings in the order in which they were found, then a line of counts. */
void config_report_print(const struct config_report *r, struct strbuf *out);

#endif
