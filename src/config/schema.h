/* schema.h: inside of config/: schema.def as data, and what is driven by it. */
#ifndef LUASWAP_CONFIG_SCHEMA_H
#define LUASWAP_CONFIG_SCHEMA_H

#include "config/load.h"

enum schema_section {
#define SECTION(id, type, path) SEC_##id,
#define INT(...)
#define SECS(...)
#define SIZE(...)
#define BOOL(...)
#define STR(...)
#define STRS(...)
#define ENUM(...)
#define PARAMS(...)
#define SUB(...)
#define SUBF(...)
#define MAPOF(...)
#define CUSTOM(...)
#include "config/schema.def"
#include "config/schema_undef.h"
    SEC_COUNT
};

enum schema_kind {
    SCHEMA_INT,
    SCHEMA_SECS,
    SCHEMA_SIZE,
    SCHEMA_BOOL,
    SCHEMA_STR,
    SCHEMA_STRS,
    SCHEMA_ENUM,
    SCHEMA_PARAMS,
    SCHEMA_SUB,
    SCHEMA_MAPOF,
    SCHEMA_CUSTOM,
};

enum schema_when {
    SCHEMA_LIVE = 0,
    SCHEMA_START = 1,
    SCHEMA_HARD = 2,
    SCHEMA_SOFT = 3,
    SCHEMA_OWN = 8
};
#define SCHEMA_WHEN(w) ((w)&3)

struct dumper {
    const struct config *cfg;
    bool secrets; /* show them: for comparing, and for specs */
};
typedef bool schema_dump(const struct dumper *d, const void *base, struct strbuf *out);
typedef void schema_decode(struct loader *l, void *base, const struct ynode *n,
                           const struct cpath *path);

struct schema_key {
    enum schema_section section, sub;
    enum schema_kind kind;
    const char *key;
    size_t off, off_n;
    int64_t dflt, lo, hi;
    const char *dflt_text; /* STR: the default; CUSTOM: for the documents */
    const char *words;     /* ENUM: the words; CUSTOM: its JSON schema */
    const char *what;      /* ENUM, MAPOF: the noun of messages */
    unsigned when;
    schema_decode *decode;
    schema_dump *dump;
    const char *doc;
};
struct schema_section_info {
    const char *name, *path; /* "TIMEOUTS", "models.<id>.timeouts" */
};

extern const struct schema_section_info schema_sections[SEC_COUNT];

const struct schema_key *schema_first(enum schema_section sec);
const struct schema_key *
schema_next(const struct schema_key *k); /* NULL after the section's last */
#define SCHEMA_EACH(k, sec)                                                                        \
    for (const struct schema_key *k = schema_first(sec); k; k = schema_next(k))
const struct schema_key *schema_find(enum schema_section sec, str key);
bool schema_fractions(const struct schema_key *k); /* may its number of seconds have a fraction? (upstream's are cut) */
/* The n-th word of "a, b, c"; STR_NONE past the end. */
str schema_word(const char *words, size_t n);

/* Defaults into the struct at base, nested sections included. */
void schema_defaults(enum schema_section sec, void *base);
/* Values of a mapping into the struct at base. Keys that are unknown get a warning, wrong types an
 * error and the default. Null and absent (NULL) leave the defaults. */
void schema_read(struct loader *l, enum schema_section sec, void *base, const struct ynode *n,
                 const struct cpath *path);
/* The section as a JSON object: "{...}". */
bool schema_show(const struct dumper *d, enum schema_section sec, const void *base,
                 struct strbuf *out);
/* One key's value as JSON; false for keys that are not shown. */
bool schema_show_params(const struct config_params *p, struct strbuf *out);
bool schema_show_key(const struct dumper *d, const struct schema_key *k, const void *base,
                     struct strbuf *out);

/* A text as JSON, the password of a URL in it masked unless `secrets`. */
bool schema_show_text(const struct dumper *d, str s, struct strbuf *out);
/* Compact JSON with line ends and indentation. */
bool dump_indent(str json, struct strbuf *out);

#define SCHEMA_DECODE(name)                                                                        \
    void name(struct loader *l, void *base, const struct ynode *n, const struct cpath *path)
#define SCHEMA_DUMP(name) bool name(const struct dumper *d, const void *base, struct strbuf *out)

SCHEMA_DECODE(decode_log_level);
SCHEMA_DECODE(decode_log_time);
SCHEMA_DECODE(decode_store);
SCHEMA_DECODE(decode_every);
SCHEMA_DECODE(decode_aliases);
SCHEMA_DECODE(decode_env);
SCHEMA_DECODE(decode_loading);
SCHEMA_DECODE(decode_modalities_in);
SCHEMA_DECODE(decode_modalities_out);
SCHEMA_DECODE(decode_by_id);
SCHEMA_DECODE(decode_peer_key);
SCHEMA_DECODE(decode_settings);

SCHEMA_DUMP(dump_log_level);
SCHEMA_DUMP(dump_log_time);
SCHEMA_DUMP(dump_store);
SCHEMA_DUMP(dump_every);
SCHEMA_DUMP(dump_macros);
SCHEMA_DUMP(dump_api_keys);
SCHEMA_DUMP(dump_models);
SCHEMA_DUMP(dump_profiles);
SCHEMA_DUMP(dump_selectors);
SCHEMA_DUMP(dump_peers);
SCHEMA_DUMP(dump_policies);
SCHEMA_DUMP(dump_session_id);
SCHEMA_DUMP(dump_aliases);
SCHEMA_DUMP(dump_model_macros);
SCHEMA_DUMP(dump_env);
SCHEMA_DUMP(dump_loading);
SCHEMA_DUMP(dump_modalities_in);
SCHEMA_DUMP(dump_modalities_out);
SCHEMA_DUMP(dump_by_id);
SCHEMA_DUMP(dump_peer_key);
SCHEMA_DUMP(dump_pins);
SCHEMA_DUMP(dump_strategy);
SCHEMA_DUMP(dump_router);
SCHEMA_DUMP(dump_groups);
SCHEMA_DUMP(dump_matrix);
SCHEMA_DUMP(dump_members);
SCHEMA_DUMP(dump_scheduler);
SCHEMA_DUMP(dump_priority);
SCHEMA_DUMP(dump_preload);
SCHEMA_DUMP(dump_ignore_paths);
SCHEMA_DUMP(dump_settings);

#endif
