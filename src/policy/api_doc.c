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
    const char *table, *name, *lua, *doc;
} values[] = {
#define VALUE(table, name, lua, doc) { table, name, lua, doc },
#include "policy/api.def"
};
static const struct {
    const char *name, *lua, *doc;
} members[] = {
#define MEMBER(name, lua, doc) { name, lua, doc },
#include "policy/api.def"
};
static const struct {
    const char *cls, *name, *lua, *doc;
} answers[] = {
#define ANSWER(cls, name, lua, doc) { #cls, name, lua, doc },
#include "policy/api.def"
};
static const struct {
    const char *name, *doc;
} capabilities[] = {
#define CAPABILITY(name, doc) { name, doc },
#include "policy/api.def"
};
static const struct policy_deprecated deprecated[] = {
#define DEPRECATED(name, since, instead) { name, since, instead },
#include "policy/api.def"
    { NULL, NULL, NULL },
};
static const struct {
    const char *type, *cls;
} types[] = { { "request", "Request" }, { "model", "Model" }, { "swap", "Swap" }, { "queue", "Queue" }, { "gpu", "Gpu" } };

const struct policy_deprecated *policy_api_deprecated(const char *name, const struct policy_deprecated *more, size_t n)
{
    for (size_t i = 0; deprecated[i].name; i++)
        if (strcmp(deprecated[i].name, name) == 0)
            return &deprecated[i];
    for (size_t i = 0; i < n; i++)
        if (strcmp(more[i].name, name) == 0)
            return &more[i];
    return NULL;
}

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
    strbuf_add(b, S("],\"values\":["));
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char name[80];
        snprintf(name, sizeof(name), "luaswap.%s%s%s", values[i].table, values[i].table[0] ? "." : "", values[i].name);
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "name", name, true);
        member(b, "type", values[i].lua, true);
        member(b, "doc", values[i].doc, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("],\"members\":["));
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "name", members[i].name, true);
        member(b, "type", members[i].lua, true);
        member(b, "doc", members[i].doc, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("],\"answers\":["));
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "of", answers[i].cls, true);
        member(b, "name", answers[i].name, true);
        member(b, "type", answers[i].lua, true);
        member(b, "doc", answers[i].doc, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("],\"capabilities\":["));
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++) {
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "name", capabilities[i].name, true);
        member(b, "doc", capabilities[i].doc, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("],\"deprecated\":["));
    for (size_t i = 0; deprecated[i].name; i++) {
        strbuf_add(b, i ? S(",{") : S("{"));
        member(b, "name", deprecated[i].name, true);
        member(b, "since", deprecated[i].since, true);
        member(b, "instead", deprecated[i].instead, false);
        strbuf_addc(b, '}');
    }
    strbuf_add(b, S("]}\n"));
}

static void lua_row(struct strbuf *b, const char *const *keys, const char *const *texts, size_t n)
{
    strbuf_add(b, S("  {"));
    for (size_t i = 0; i < n; i++) {
        strbuf_addf(b, "%s %s = \"", i ? "," : "", keys[i]);
        strbuf_add_json(b, str_c(texts[i]));
        strbuf_addc(b, '"');
    }
    strbuf_add(b, S(" },\n"));
}
#define LUA_ROW(b, n, k, ...) lua_row(b, (const char *const[])k, (const char *const[]){ __VA_ARGS__ }, n)
#define KEYS(...) { __VA_ARGS__ }

void policy_api_lua(struct strbuf *b)
{
    strbuf_addf(b, "return { level = %d, compatible = %d,\nhooks = {\n", POLICY_API_LEVEL, POLICY_API_COMPATIBLE);
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
        LUA_ROW(b, 4, KEYS("name", "kind", "args", "ret"), hooks[i].name, hooks[i].kind, hooks[i].args, hooks[i].ret);
    strbuf_add(b, S("}, fields = {\n"));
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (strcmp(fields[i].type, types[t].type) == 0)
                LUA_ROW(b, 4, KEYS("of", "name", "type", "doc"), types[t].cls, fields[i].name, fields[i].lua, fields[i].doc);
    strbuf_add(b, S("}, methods = {\n"));
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (size_t i = 0; i < ARRAY_LEN(methods); i++)
            if (strcmp(methods[i].type, types[t].type) == 0)
                LUA_ROW(b, 4, KEYS("of", "name", "sig", "doc"), types[t].cls, methods[i].name, methods[i].sig, methods[i].doc);
    strbuf_add(b, S("}, funcs = {\n"));
    for (size_t i = 0; i < ARRAY_LEN(funcs); i++)
        LUA_ROW(b, 5, KEYS("table", "name", "phases", "sig", "ret"), funcs[i].table, funcs[i].name, funcs[i].phases, funcs[i].sig,
                funcs[i].ret);
    strbuf_add(b, S("}, values = {\n"));
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        LUA_ROW(b, 2, KEYS("table", "name"), values[i].table, values[i].name);
    strbuf_add(b, S("}, members = {\n"));
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        LUA_ROW(b, 2, KEYS("name", "type"), members[i].name, members[i].lua);
    strbuf_add(b, S("}, answers = {\n"));
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        LUA_ROW(b, 3, KEYS("of", "name", "type"), answers[i].cls, answers[i].name, answers[i].lua);
    strbuf_add(b, S("}, capabilities = {\n"));
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++)
        LUA_ROW(b, 2, KEYS("name", "doc"), capabilities[i].name, capabilities[i].doc);
    strbuf_add(b, S("}, deprecated = {\n"));
    for (size_t i = 0; deprecated[i].name; i++)
        LUA_ROW(b, 3, KEYS("name", "since", "instead"), deprecated[i].name, deprecated[i].since, deprecated[i].instead);
    strbuf_add(b, S("} }\n"));
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

/* "number?" -> name? and number */
static void optional_field(struct strbuf *b, const char *name, const char *lua, const char *doc)
{
    str type = str_c(lua);
    bool optional = false;
    if (type.len > 1 && type.ptr[type.len - 1] == '?') {
        optional = true;
        type.len--;
    } else if (type.len > 4 && str_eq(str_sub(type, type.len - 4, 4), S("|nil"))) {
        optional = true;
        type.len -= 4;
    }
    if (type.len > 1 && type.ptr[0] == '(') /* (fun(...): x)? */
        type = str_sub(type, 1, type.len - 2);
    strbuf_addf(b, "---@field %s%s " STR_FMT "%s%s\n", name, optional ? "?" : "", STR_ARG(type), doc[0] ? " " : "", doc);
}

static void answer_classes(struct strbuf *b)
{
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        if (i == 0 || strcmp(answers[i].cls, answers[i - 1].cls) != 0)
            strbuf_addf(b, "\n---@class luaswap.%s\n", answers[i].cls);
        optional_field(b, answers[i].name, answers[i].lua, answers[i].doc);
    }
}

void policy_api_luacats(struct strbuf *b)
{
    strbuf_add(b, S("-- meta.lua: types of the policy API for editors; made by `luaswap policy api --luacats` from "
                    "src/policy/api.def.\n-- luacheck: ignore\n---@meta luaswap\n\n---@class luaswap.Policy\n"));
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        optional_field(b, members[i].name, members[i].lua, members[i].doc);
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
        strbuf_addf(b, "---@field %s? fun(%s): %s %s\n", hooks[i].name, hooks[i].args, hooks[i].ret, hooks[i].doc);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        class_of(b, types[i].type, types[i].cls);
    answer_classes(b);
    strbuf_add(b, str_c(extra));
    strbuf_add(b, S("\n---@class luaswap\n"));
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (!values[i].table[0])
            strbuf_addf(b, "---@field %s %s %s\n", values[i].name, values[i].lua, values[i].doc);
    strbuf_add(b, S("luaswap = {}\n"));
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
        char full[80];
        snprintf(full, sizeof(full), "luaswap.%s%s%s", funcs[i].table, funcs[i].table[0] ? "." : "", funcs[i].name);
        const struct policy_deprecated *d = policy_api_deprecated(full, NULL, 0);
        if (d)
            strbuf_addf(b, "---@deprecated since %s: use %s\n", d->since, d->instead);
        strbuf_addf(b, "function luaswap.%s%s%s(" STR_FMT ") end\n", funcs[i].table, funcs[i].table[0] ? "." : "",
                    funcs[i].name, STR_ARG(strbuf_str(&names)));
        strbuf_fini(&names);
    }
}

static void cell(struct strbuf *b, const char *text)
{
    for (; *text; text++)
        strbuf_addf(b, *text == '|' ? "\\%c" : "%c", *text);
}

static void row(struct strbuf *b, const char *name, const char *type, const char *doc)
{
    strbuf_addf(b, "| `%s` | ", name);
    if (type[0]) {
        strbuf_addc(b, '`');
        cell(b, type);
        strbuf_addc(b, '`');
    }
    strbuf_add(b, S(" | "));
    cell(b, doc);
    strbuf_add(b, S(" |\n"));
}

static void library_markdown(struct strbuf *b)
{
    char name[160];
    strbuf_add(b, S("\n## Library\n\nPhases: R `route`, `after_ready`, `before_stop` and tasks; D decisions; N notes, `tick` and timers; "
                    "C the chunk, while it is loaded.\nA call elsewhere raises.\n\n| function | phases | |\n|---|---|---|\n"));
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        snprintf(name, sizeof(name), "luaswap.%s%s%s", values[i].table, values[i].table[0] ? "." : "", values[i].name);
        row(b, name, "", values[i].doc);
    }
    for (size_t i = 0; i < ARRAY_LEN(funcs); i++) {
        strbuf_addf(b, "| `luaswap.%s%s%s", funcs[i].table, funcs[i].table[0] ? "." : "", funcs[i].name);
        cell(b, funcs[i].sig);
        strbuf_addf(b, "` | %s | ", funcs[i].phases);
        cell(b, funcs[i].doc);
        strbuf_add(b, S(" |\n"));
    }
    strbuf_add(b, S("\n## Capabilities\n\n| for `requires` and `luaswap.has` | |\n|---|---|\n"));
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++)
        strbuf_addf(b, "| `%s` | %s |\n", capabilities[i].name, capabilities[i].doc);
    strbuf_add(b, S("\n## Deprecated\n\n"));
    if (!deprecated[0].name)
        strbuf_add(b, S("Nothing yet.\n"));
    for (size_t i = 0; deprecated[i].name; i++)
        strbuf_addf(b, "- `%s` since %s: use `%s`\n", deprecated[i].name, deprecated[i].since, deprecated[i].instead);
}

void policy_api_markdown(struct strbuf *b)
{
    strbuf_addf(b, "<!-- made by `luaswap policy api --markdown` from src/policy/api.def -->\n# The policy API, level %d\n\n"
                   "How to use it: [policies.md](policies.md). Times are seconds, memory is MB.\n\n## The file\n\n"
                   "A policy is a file that returns a table of these members and of hooks.\n\n| member | type | |\n|---|---|---|\n",
                POLICY_API_LEVEL);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        row(b, members[i].name, members[i].lua, members[i].doc);
    strbuf_add(b, S("\n## Hooks\n\nKind: D decides (nil: the built-in does), Y decides and may wait, N is told.\n\n"
                    "| hook | kind | arguments | returns | |\n|---|---|---|---|---|\n"));
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
        strbuf_addf(b, "| `%s` | %s | `%s` | `", hooks[i].name, hooks[i].kind, hooks[i].args);
        cell(b, hooks[i].ret);
        strbuf_add(b, S("` | "));
        cell(b, hooks[i].doc);
        strbuf_add(b, S(" |\n"));
    }
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        if (i == 0 || strcmp(answers[i].cls, answers[i - 1].cls) != 0)
            strbuf_addf(b, "\n### %s\n\n| member | type | |\n|---|---|---|\n", answers[i].cls);
        row(b, answers[i].name, answers[i].lua, answers[i].doc);
    }
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        strbuf_addf(b, "\n## %s\n\n| member | type | |\n|---|---|---|\n", types[t].cls);
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (strcmp(fields[i].type, types[t].type) == 0)
                row(b, fields[i].name, fields[i].lua, fields[i].doc);
        for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
            if (strcmp(methods[i].type, types[t].type) != 0)
                continue;
            char name[60];
            snprintf(name, sizeof(name), ":%s", methods[i].name);
            row(b, name, methods[i].sig, methods[i].doc);
        }
    }
    library_markdown(b);
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
