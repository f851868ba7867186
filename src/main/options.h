/* options.h: the command line, in Go's flag conventions (config.md 1.1): one or two dashes, `-x v` or `-x=v`, booleans
 * only `-x` or `-x=false`, parsing stops at the first word that is no flag. */
#ifndef LUASWAP_MAIN_OPTIONS_H
#define LUASWAP_MAIN_OPTIONS_H

#include <stdbool.h>

struct options {
    const char *config, *config_dir, *listen, *tls_cert, *tls_key;
    bool version, watch, check, dump, schema, help;
};

/* 0, or the exit status to end with (usage has been printed): 2 for a bad flag. */
int options_parse(int argc, char **argv, struct options *o);

#endif
