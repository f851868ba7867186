#include "sim/policy_cli.h"

#include "policy/policy.h"
#include "sim/cli.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int cli_usage(void)
{
    fputs("usage: luaswap check FILE.lua|CONFIG.yaml... [--settings JSON] [--json]\n"
          "       luaswap simulate TRACE.jsonl [--policy FILE]... [--compare FILE|serial|fifo|builtin]...\n"
          "               [--set KEY=VALUE]... [--settings JSON] [--scheduler serial|fifo] [--seed N] [--until SECONDS]\n"
          "               [--stretch K] [--chaos] [--log] [--json]\n"
          "       luaswap policy api [--json | --luacats | --markdown | --luacheck | --lua]\n"
          "       luaswap policy new NAME\n"
          "       luaswap trace synth [--requests N] [--gap SECONDS] [--burst N] [--models N | --model ID:LOAD_S[:MB[:SHARE]]]...\n"
          "               [--key NAME:SHARE[:SECONDS]]... [--gpu MB] [--limit N] [--scheduler serial|fifo] [--start TIME] [--seed N]\n"
          "       luaswap trace record [--server URL] [--key KEY] [--seconds N] [--max N]\n"
          "       luaswap trace import ACTIVITY.csv|METRICS.json [--load SECONDS] [--scheduler serial|fifo]\n",
          stderr);
    return 1;
}

int cli_out(struct strbuf *b)
{
    bool ok = !b->full && (b->len == 0 || fwrite(b->ptr, 1, b->len, stdout) == b->len) && fflush(stdout) == 0;
    strbuf_fini(b);
    return ok ? 0 : 2;
}

struct config_policy cli_file(const char *path, const char *settings)
{
    return (struct config_policy){ .file = str_c(path), .settings_json = str_c(settings), .memory_mb = 64, .instructions = 250000,
                                   .wall_ms = 50, .starve_after_ms = 600000, .hold_limit_ms = 60000 };
}

bool cli_number(const char *text, double lo, double hi, double *ret)
{
    char *end;
    *ret = strtod(text, &end);
    return end != text && *end == '\0' && *ret >= lo && *ret <= hi;
}

bool cli_read(const char *command, const char *path, struct strbuf *b)
{
    FILE *f = fopen(path, "rb");
    size_t n = 1;
    while (f && n > 0 && strbuf_reserve(b, 1u << 16)) {
        n = fread(b->ptr + b->len, 1, 1u << 16, f);
        strbuf_took(b, n);
    }
    bool ok = f && !ferror(f) && n == 0;
    if (!ok)
        fprintf(stderr, "luaswap %s: cannot read %s: %s\n", command, path, f && n > 0 ? "too large" : strerror(errno));
    if (f)
        fclose(f);
    return ok;
}

/* ---- policy ---- */

static int write_new(const char *path, const char *text)
{
    FILE *f = fopen(path, "wx");
    if (!f) {
        fprintf(stderr, "luaswap policy new: %s: %s\n", path, strerror(errno));
        return 2;
    }
    bool ok = fputs(text, f) >= 0;
    ok = fclose(f) == 0 && ok;
    printf("wrote %s\n", path);
    return ok ? 0 : 2;
}

static void write_policy(struct strbuf *text, const char *name)
{
    strbuf_addf(text,
                "-- %s: a model is loaded only for somebody who has waited `patience` seconds.\n-- Until then requests gather.\n"
                "local C = luaswap.config\n\nreturn {\n  api = 1,\n  name = '%s',\n  version = '0.1.0',\n  settings = {\n"
                "    patience = { type = 'number', default = 20, min = 0, max = 50, unit = 's', doc = 'wait before a load' },\n"
                "  },\n\n  -- Who is next? A request, luaswap.hold(seconds) for \"nobody yet\", or nil: the built-in decides.\n"
                "  pick_next = function(q)\n    local late = q:first(function(r) return r.age >= C.patience end)\n"
                "    return q:first 'ready' or late or luaswap.hold(1, 'gathering')\n  end,\n}\n",
                name, name);
}

static void write_spec(struct strbuf *text, const char *name)
{
    strbuf_addf(text,
                "-- %s_spec.lua: run with busted.\nlocal lab = require 'luaswap.lab'\n"
                "local world = { models = { a = { load_s = 10, limit = 100 }, b = { load_s = 5, limit = 100 } } }\n\n"
                "describe('%s', function()\n  it('serves everybody', function() -- the real scheduler, virtual time\n"
                "    local w = lab.new(world, '%s.lua', { patience = 5 })\n    lab.play(w, lab.traffic(world, 50, 4))\n"
                "    assert.equal(50, w.served)\n    assert.equal(0, w.errors + w.invalid)\n  end)\n\n"
                "  it('lets requests gather before a load', function() -- one decision, no clock\n"
                "    local p = lab.load('%s.lua', { patience = 10 })\n"
                "    assert.is_true(p.pick_next(lab.queue { { model = 'a', age = 1 } }).hold)\n"
                "    assert.equal('a', p.pick_next(lab.queue { { model = 'a', age = 10 } }).model)\n"
                "    assert.equal('b', p.pick_next(lab.queue { { model = 'a', age = 99 }, { model = 'b', ready = true } }).model)\n"
                "  end)\nend)\n",
                name, name, name, name);
}

/* Files that a folder has once, however many policies are in it. */
static int write_once(const char *path, const char *text)
{
    return access(path, F_OK) == 0 ? 0 : write_new(path, text);
}

static int policy_new_files(const char *name)
{
    size_t len = strlen(name);
    bool good = len >= 1 && len <= 32;
    for (size_t i = 0; i < len; i++)
        good = good && ((name[i] >= 'a' && name[i] <= 'z') || chr_digit(name[i]) || name[i] == '-');
    if (!good) {
        fputs("luaswap policy new: a name is 1 to 32 of a-z, 0-9 and '-'\n", stderr);
        return 2;
    }
    char path[2][120];
    snprintf(path[0], sizeof(path[0]), "%s.lua", name);
    snprintf(path[1], sizeof(path[1]), "%s_spec.lua", name);
    for (size_t i = 0; i < 2; i++)
        if (access(path[i], F_OK) == 0) { /* before anything is written */
            fprintf(stderr, "luaswap policy new: %s: %s\n", path[i], strerror(EEXIST));
            return 2;
        }
    struct strbuf text = STRBUF(1u << 20);
    write_policy(&text, name);
    int rc = write_new(path[0], text.ptr);
    strbuf_clear(&text);
    write_spec(&text, name);
    rc = rc ? rc : write_new(path[1], text.ptr);
    strbuf_clear(&text);
    policy_api_luacheck(&text);
    strbuf_add(&text, S("std = 'lua54+luaswap'\nfiles['*_spec.lua'] = { std = 'lua54+busted' }\n"));
    rc = rc ? rc : write_once(".luacheckrc", text.ptr);
    strbuf_clear(&text);
    policy_api_luacats(&text);
    rc = rc ? rc : write_once("luaswap.meta.lua", text.ptr);
    rc = rc ? rc : write_once(".busted", "return { default = { lua = 'lua5.4', ROOT = { '.' } } }\n");
    rc = rc ? rc : write_once(".luarc.json", "{ \"runtime.version\": \"Lua 5.4\", \"workspace.library\": [ \"luaswap.meta.lua\" ] }\n");
    strbuf_fini(&text);
    return rc;
}

int cli_policy(int argc, char **argv)
{
    static const struct {
        const char *flag;
        void (*write)(struct strbuf *out);
    } forms[] = { { "--markdown", policy_api_markdown }, { "--json", policy_api_json }, { "--luacats", policy_api_luacats },
                  { "--luacheck", policy_api_luacheck }, { "--lua", policy_api_lua } };
    if (argc == 3 && strcmp(argv[1], "new") == 0)
        return policy_new_files(argv[2]);
    if (argc < 2 || argc > 3 || strcmp(argv[1], "api") != 0)
        return cli_usage();
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (argc == 3 && strcmp(forms[i].flag, argv[2]) != 0)
            continue;
        struct strbuf b = STRBUF(4u << 20);
        forms[i].write(&b);
        return cli_out(&b);
    }
    return cli_usage();
}

/* ---- which command ---- */

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = { { "check", cli_check }, { "simulate", cli_simulate }, { "policy", cli_policy }, { "trace", cli_trace } };

bool policy_cli_knows(const char *command)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, command) == 0)
            return true;
    return false;
}

int policy_cli_main(int argc, char **argv)
{
    for (size_t i = 0; argc > 0 && i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, argv[0]) == 0)
            return commands[i].run(argc, argv);
    return cli_usage();
}
