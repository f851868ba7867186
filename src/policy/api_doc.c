/* The API as data, from api.def: for editors (LuaCATS), luacheck, people and programs. */
#include "policy/policy.h"

#include <stdio.h>

static const struct {
    const char *name, *kind, *args, *ret, *doc;
} hooks[] = {
#define HOOK(id, name, kind, args, ret, doc) { name, kind, args, ret, doc },
#include "policy/api.def"
};
static const struct {
    const char *type, *name, *lua, *doc;
} fields[] = {
#define FIELD(type, id, name, lua, doc) { #type, name, lua, doc },
#include "policy/api.def"
};
static const struct {
    const char *type, *name, *sig, *doc;
} methods[] = {
#define METHOD(type, name, sig, doc) { #type, name, sig, doc },
#include "policy/api.def"
};
static const struct {
    const char *table, *name, *phases, *sig, *ret, *doc;
} funcs[] = {
#define FUNC(table, name, phases, sig, ret, doc) { table, name, phases, sig, ret, doc },
#include "policy/api.def"
};
static const struct {
    const char *type, *cls;
} types[] = { { "request", "Request" }, { "model", "Model" }, { "swap", "Swap" }, { "queue", "Queue" }, { "gpu", "Gpu" } };

static void member(struct strbuf *b, const char *key, const char *value, bool more)
{
    strbuf_addf(b, "\"%s\":\"", key);
    strbuf_add_json(b, str_c(value));
    strbuf_add(b, more ? S("\",") : S("\""));
}

void policy_api_json(struct strbuf *b)
{
    strbuf_addf(b, "{\"api_level\":%d,\"api_compatible\":%d,\"hooks\":[", POLICY_API_LEVEL, POLICY_API_COMPATIBLE);
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "name", hooks[i].name, true);
        member(b, "kind", hooks[i].kind[0] == 'N' ? "note" : hooks[i].kind[0] == 'Y' ? "may wait" : "decide", true);
        member(b, "args", hooks[i].args, true);
        member(b, "returns", hooks[i].ret, true);
        member(b, "doc", hooks[i].doc, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("],\"fields\":["));
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "of", fields[i].type, true);
        member(b, "name", fields[i].name, true);
        member(b, "type", fields[i].lua, true);
        member(b, "doc", fields[i].doc, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("],\"methods\":["));
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "of", methods[i].type, true);
        member(b, "name", methods[i].name, true);
        member(b, "signature", methods[i].sig, true);
        member(b, "doc", methods[i].doc, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("],\"functions\":["));
    for (size_t i = 0; i < ARRAY_LEN(funcs); i++) {
        char name[80];
        snprintf(name, sizeof(name), "luaswap.%s%s%s", funcs[i].table, funcs[i].table[0] ? "." : "", funcs[i].name);
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "name", name, true);
        member(b, "phases", funcs[i].phases, true);
        member(b, "signature", funcs[i].sig, true);
        member(b, "returns", funcs[i].ret, true);
        member(b, "doc", funcs[i].doc, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("]}\n"));
}

/* "(a: string, b?: table)" as "---@param" lines and the bare names. */
static void params(struct strbuf *b, const char *sig, struct strbuf *names)
{
    str rest = str_c(sig), item;
    rest = str_sub(rest, 1, rest.len >= 2 ? rest.len - 2 : 0);
    unsigned depth = 0;
    size_t from = 0;
    for (size_t i = 0; i <= rest.len; i++) {
        char c = i < rest.len ? rest.ptr[i] : ',';
        depth += c == '(';
        depth -= c == ')' && depth > 0;
        if (c != ',' || (depth > 0 && i < rest.len))
            continue;
        item = str_trim(str_sub(rest, from, i - from));
        from = i + 1;
        if (item.len == 0)
            continue;
        str name, type;
        if (!str_cut(item, ':', &name, &type))
            type = S("any");
        bool optional = name.len > 0 && name.ptr[name.len - 1] == '?';
        strbuf_addf(b, "---@param " STR_FMT " " STR_FMT "\n", STR_ARG(name), STR_ARG(str_trim(type)));
        if (names->len)
            strbuf_add(names, S(", "));
        strbuf_add(names, optional ? str_sub(name, 0, name.len - 1) : name);
    }
}

static void class_of(struct strbuf *b, const char *type, const char *cls)
{
    strbuf_addf(b, "\n---@class luaswap.%s\n", cls);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].type, type) == 0 && strcmp(fields[i].name, "for") != 0)
            strbuf_addf(b, "---@field %s %s%s%s\n", fields[i].name, fields[i].lua, fields[i].doc[0] ? " " : "", fields[i].doc);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (strcmp(methods[i].type, type) != 0)
            continue;
        const char *sig = methods[i].sig + 1;
        bool none = *sig == ')';
        /* "(filter?): X" -> "fun(self: luaswap.Queue, filter?: any): X" */
        char with[160];
        snprintf(with, sizeof(with), "%s", sig);
        char *bare = strstr(with, "filter?)");
        strbuf_addf(b, "---@field %s fun(self: luaswap.%s%s", methods[i].name, cls, none ? "" : ", ");
        if (bare)
            strbuf_addf(b, "%.*sfilter?: string|fun(r: luaswap.Request): any%s %s\n", (int)(bare - with), with,
                        bare + 7, methods[i].doc);
        else
            strbuf_addf(b, "%s %s\n", with, methods[i].doc);
    }
}

static const char extra[] =
    "\n---@class luaswap.Plan\n---@field evict string[]\n---@field when? \"idle\"|\"drain\"|\"kill\"\n---@field grace? number\n"
    "---@field why? string\n"
    "\n---@class luaswap.Route\n---@field model? string\n---@field models? string[]\n---@field priority? number\n"
    "---@field deadline? number\n---@field tags? table\n"
    "\n---@class luaswap.Admission\n---@field priority? number\n---@field deadline? number\n---@field class? string\n"
    "\n---@class luaswap.Retry\n---@field retry boolean\n---@field model? string\n---@field delay? number\n"
    "\n---@class luaswap.Start\n---@field reason \"start\"|\"reload\"|\"retry\"\n---@field from? string\n"
    "\n---@class luaswap.Stop\n---@field reason \"reload\"|\"shutdown\"|\"disable\"\n---@field kind? string\n"
    "\n---@class luaswap.Hold\n---@class luaswap.Reject\n"
    "\n---@class luaswap.Wall\n---@field year integer\n---@field month integer\n---@field day integer\n---@field hour integer\n"
    "---@field min integer\n---@field sec integer\n---@field wday integer\n---@field yday integer\n---@field zone integer\n"
    "---@field unix integer\n"
    "\n---@class luaswap.Host\n---@field mem_free_mb number\n---@field load1 number\n"
    "\n---@class luaswap.HttpAnswer\n---@field status integer\n---@field headers table<string, string>\n---@field body string\n"
    "---@field text fun(self): string\n---@field json fun(self): any\n"
    "\n---@class luaswap.Timer\n---@field stop fun(self)\n"
    "\n---@class luaswap.Ewma\n---@field add fun(self, x: number): number\n---@field value fun(self): number?\n"
    "\n---@class luaswap.Heap\n---@field push fun(self, x)\n---@field pop fun(self): any\n---@field peek fun(self): any\n"
    "\n---@class luaswap.Ring\n---@field push fun(self, x)\n"
    "\n---@class luaswap.Window\n---@field add fun(self, x: number)\n---@field sum fun(self): number\n"
    "---@field count fun(self): integer\n";

void policy_api_luacats(struct strbuf *b)
{
    strbuf_add(b, S("-- meta.lua: types of the policy API for editors; made by `luaswap policy api --luacats` from "
                    "src/policy/api.def.\n-- luacheck: ignore\n---@meta luaswap\n\n---@class luaswap.Policy\n---@field api integer\n"
                    "---@field name string\n---@field version? string\n---@field requires? string[]\n"
                    "---@field settings? table<string, table>\n---@field fast_ready? boolean\n---@field plan_ready? boolean\n"
                    "---@field classic? boolean\n---@field tick_interval? number\n"
                    "---@field migrate? fun(state: table, version: string): table\n"));
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
        strbuf_addf(b, "---@field %s? fun(%s): %s %s\n", hooks[i].name, hooks[i].args, hooks[i].ret, hooks[i].doc);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        class_of(b, types[i].type, types[i].cls);
    strbuf_add(b, str_c(extra));
    strbuf_add(b, S("\n---@class luaswap\n---@field api_level integer\n---@field api_compatible integer\n---@field version string\n"
                    "---@field config table\n---@field state table\nluaswap = {}\n"));
    static const char *const tables[] = { "builtin", "log", "json", "metrics", "timer", "http" };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        strbuf_addf(b, "luaswap.%s = {}\n", tables[i]);
    strbuf_add(b, S("luaswap.json.null = nil\n"));
    for (size_t i = 0; i < ARRAY_LEN(funcs); i++) {
        struct strbuf names = STRBUF(1000);
        strbuf_addf(b, "\n%s%s%s", funcs[i].doc[0] ? "---" : "", funcs[i].doc, funcs[i].doc[0] ? "\n" : "");
        params(b, funcs[i].sig, &names);
        if (strcmp(funcs[i].ret, "nil") != 0)
            strbuf_addf(b, "---@return %s\n", funcs[i].ret);
        strbuf_addf(b, "function luaswap.%s%s%s(" STR_FMT ") end\n", funcs[i].table, funcs[i].table[0] ? "." : "",
                    funcs[i].name, STR_ARG(strbuf_str(&names)));
        strbuf_fini(&names);
    }
}

void policy_api_markdown(struct strbuf *b)
{
    strbuf_add(b, S("<!-- made by `luaswap policy api --markdown` from src/policy/api.def -->\n\n## Hooks\n\n"
                    "| hook | arguments | returns | |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
        strbuf_addf(b, "| `%s` | `%s` | ", hooks[i].name, hooks[i].args);
        for (const char *c = hooks[i].ret; *c; c++)
            strbuf_addf(b, *c == '|' ? "\\%c" : "%c", *c);
        strbuf_addf(b, " | %s |\n", hooks[i].doc);
    }
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        strbuf_addf(b, "\n## %s\n\n| member | type | |\n|---|---|---|\n", types[t].cls);
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (strcmp(fields[i].type, types[t].type) == 0)
                strbuf_addf(b, "| `%s` | `%s` | %s |\n", fields[i].name, fields[i].lua, fields[i].doc);
        for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
            if (strcmp(methods[i].type, types[t].type) != 0)
                continue;
            strbuf_addf(b, "| `:%s` | `", methods[i].name);
            for (const char *c = methods[i].sig; *c; c++)
                strbuf_addf(b, *c == '|' ? "\\%c" : "%c", *c);
            strbuf_addf(b, "` | %s |\n", methods[i].doc);
        }
    }
    strbuf_add(b, S("\n## Library\n\nPhases: R route and tasks, D decisions, N notes, tick and timers, C the chunk.\n\n"
                    "| function | phases | |\n|---|---|---|\n"));
    for (size_t i = 0; i < ARRAY_LEN(funcs); i++)
        strbuf_addf(b, "| `luaswap.%s%s%s%s` | %s | %s |\n", funcs[i].table, funcs[i].table[0] ? "." : "", funcs[i].name,
                    funcs[i].sig, funcs[i].phases, funcs[i].doc);
}

void policy_api_luacheck(struct strbuf *b)
{
    strbuf_add(b, S("stds.luaswap = { read_globals = { luaswap = { other_fields = true, fields = {\n"
                    "  state = { read_only = false, other_fields = true },\n"));
    for (size_t i = 0; i < ARRAY_LEN(funcs); i++)
        if (!funcs[i].table[0])
            strbuf_addf(b, "  [\"%s\"] = {},\n", funcs[i].name);
    strbuf_add(b, S("} } } }\n"));
}
