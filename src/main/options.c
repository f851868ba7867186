/* options.c: see options.h. */
#include "main/options.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>

static const char usage[] =
    "Usage: luaswap -config FILE [flags]     serve the models of a llama-swap configuration\n"
    "       luaswap demo [-listen ADDR]      serve built-in demo models, no configuration needed\n"
    "       luaswap demo-model ...           one demo model (what `demo` starts)\n"
    "       luaswap check|simulate|policy|trace ...   Lua policies without a server; see docs/policies.md\n"
    "\n"
    "  -config FILE          configuration (YAML)\n"
    "  -config-dir DIR       directory whose *.yml and *.yaml are merged after -config\n"
    "  -watch-config         load the configuration again when a file of it changes (SIGHUP always does)\n"
    "  -listen ADDR          address to listen on: host:port, [v6]:port or unix:/path (default :8080, with TLS :8443)\n"
    "  -tls-cert-file FILE   certificate chain (PEM): listen with TLS; SIGHUP reads both files again\n"
    "  -tls-key-file FILE    its key\n"
    "  -check-config         print every error and warning of the configuration, exit 0 or 1\n"
    "  -dump-config          print the effective configuration as JSON, secrets masked\n"
    "  -version              print the version and exit\n"
    "  -h, -help             this text\n";

static bool to_bool(str v, bool *ret)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eq(v, str_c(yes[i])) || str_eq(v, str_c(no[i]))) {
            *ret = str_eq(v, str_c(yes[i]));
            return true;
        }
    }
    return false;
}

int options_parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){ 0 };
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } flags[] = {
        { "config", &o->config, NULL },       { "config-dir", &o->config_dir, NULL },
        { "listen", &o->listen, NULL },       { "version", NULL, &o->version },
        { "tls-cert-file", &o->tls_cert, NULL }, { "tls-key-file", &o->tls_key, NULL },
        { "watch-config", NULL, &o->watch },
        { "check-config", NULL, &o->check },  { "dump-config", NULL, &o->dump },
        { "config-schema", NULL, &o->schema }, { "h", NULL, &o->help },
        { "help", NULL, &o->help },
    };
    for (int i = 1; i < argc; i++) {
        str arg = str_c(argv[i]);
        if (arg.len < 2 || arg.ptr[0] != '-' || str_eq(arg, S("--")))
            break;
        str name = str_sub(arg, arg.ptr[1] == '-' ? 2 : 1, arg.len), value;
        bool given = str_cut(name, '=', &name, &value);
        size_t f = 0;
        while (f < ARRAY_LEN(flags) && !str_eq(name, str_c(flags[f].name)))
            f++;
        if (f == ARRAY_LEN(flags)) {
            fprintf(stderr, "flag provided but not defined: -" STR_FMT "\n%s", STR_ARG(name), usage);
            return 2;
        }
        if (flags[f].flag) {
            *flags[f].flag = true;
            if (given && !to_bool(value, flags[f].flag)) {
                fprintf(stderr, "invalid boolean value \"" STR_FMT "\" for -%s\n%s", STR_ARG(value), flags[f].name, usage);
                return 2;
            }
            continue;
        }
        if (!given && i + 1 >= argc) {
            fprintf(stderr, "flag needs an argument: -%s\n%s", flags[f].name, usage);
            return 2;
        }
        *flags[f].text = given ? value.ptr : argv[++i];
    }
    if (o->help)
        fputs(usage, stderr);
    return 0;
}
