/* schema_doc.c: config.schema.json and the tables of docs/config.md, made from schema.def; see
 * config.h. */
#include "config/schema.h"

#include "config/duration.h"

/* ---- tables for people ---- */

static const char *type_words(const struct schema_key *k)
{
    switch (k->kind) {
    case SCHEMA_INT:
        return "number";
    case SCHEMA_SECS:
        return "seconds";
    case SCHEMA_SIZE:
        return "size";
    case SCHEMA_BOOL:
        return "boolean";
    case SCHEMA_STR:
        return "text";
    case SCHEMA_STRS:
        return "list";
    case SCHEMA_ENUM:
        return "word";
    case SCHEMA_PARAMS:
        return "mapping";
    case SCHEMA_SUB:
        return "section";
    case SCHEMA_MAPOF:
        return "names";
    case SCHEMA_CUSTOM:
        break;
    }
    str s = str_c(k->words);
    return str_find(s, S("\"array\"")) >= 0                                   ? "list"
           : str_find(s, S("\"object\"")) >= 0 || str_find(s, S("$ref")) >= 0 ? "mapping"
           : str_find(s, S("[\"boolean")) >= 0                                ? "boolean"
           : str_find(s, S("enum")) >= 0                                      ? "word"
                                                                              : "text";
}

static bool size_words(int64_t v, struct strbuf *out)
{
    static const char *const units[] = { "", " KiB", " MiB", " GiB", " TiB" };
    size_t i = 0;
    while (v && v % 1024 == 0 && i + 1 < ARRAY_LEN(units)) {
        v /= 1024;
        i++;
    }
    return strbuf_addf(out, "%lld%s", (long long)v, units[i]);
}

static bool default_words(const struct schema_key *k, struct strbuf *out)
{
    switch (k->kind) {
    case SCHEMA_INT:
    case SCHEMA_SECS:
        return strbuf_addf(out, "%lld", (long long)k->dflt);
    case SCHEMA_SIZE:
        return size_words(k->dflt, out);
    case SCHEMA_BOOL:
        return strbuf_add(out, k->dflt ? S("true") : S("false"));
    case SCHEMA_STR:
    case SCHEMA_CUSTOM:
        if (!*k->dflt_text)
            return true;
        return strbuf_addc(out, '`') && strbuf_add(out, str_c(k->dflt_text)) &&
               strbuf_addc(out, '`');
    case SCHEMA_ENUM:
        return strbuf_addc(out, '`') && strbuf_add(out, schema_word(k->words, (size_t)k->dflt)) &&
               strbuf_addc(out, '`');
    default:
        return true;
    }
}

static bool bound_words(const struct schema_key *k, struct strbuf *out)
{
    if (k->kind != SCHEMA_INT && k->kind != SCHEMA_SECS && k->kind != SCHEMA_SIZE)
        return true;
    bool size = k->kind == SCHEMA_SIZE, ok = true;
    if (k->lo != INT64_MIN)
        ok = strbuf_add(out, S(" Least: ")) &&
             (size ? size_words(k->lo, out) : strbuf_addf(out, "%lld", (long long)k->lo)) &&
             strbuf_addc(out, '.');
    if (ok && k->hi != INT64_MAX)
        ok = strbuf_add(out, S(" Most: ")) &&
             (size ? size_words(k->hi, out) : strbuf_addf(out, "%lld", (long long)k->hi)) &&
             strbuf_addc(out, '.');
    return ok;
}

/* A vertical bar would end the cell. */
static bool cell(str s, struct strbuf *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < s.len; i++)
        ok = (s.ptr[i] != '|' || strbuf_addc(out, '\\')) && strbuf_addc(out, s.ptr[i]);
    return ok;
}

static bool doc_row(const struct schema_key *k, struct strbuf *out)
{
    static const char *const when[] = { "reload", "restart", "process", "reload" };
    struct strbuf dflt = STRBUF(1000);
    bool ok =
        default_words(k, &dflt) && strbuf_addf(out, "| `%s` | %s | ", k->key, type_words(k)) &&
        cell(strbuf_str(&dflt), out) && strbuf_addf(out, " | %s | ", when[SCHEMA_WHEN(k->when)]) &&
        cell(str_c(k->doc), out) && bound_words(k, out) && strbuf_add(out, S(" |\n"));
    strbuf_fini(&dflt);
    return ok;
}

bool config_schema_docs(struct strbuf *out)
{
    bool ok = true;
    for (int sec = 0; ok && sec < SEC_COUNT; sec++) {
        const char *path = schema_sections[sec].path;
        ok = strbuf_addf(out, "%s### %s%s%s\n\n", sec ? "\n" : "", *path ? "`" : "",
                         *path ? path : "Top level", *path ? "`" : "") &&
             strbuf_add(out, S("| key | type | default | takes effect | meaning |\n| --- | --- | "
                               "--- | --- | --- |\n"));
        SCHEMA_EACH(k, (enum schema_section)sec)
        ok = ok && doc_row(k, out);
    }
    return ok;
}

/* ---- the JSON Schema ---- */

#define MACRO "{\"$ref\":\"#/$defs/reference\"}"

static bool text(struct strbuf *out, str s)
{
    return strbuf_addc(out, '"') && strbuf_add_json(out, s) && strbuf_addc(out, '"');
}

static bool number_schema(const struct schema_key *k, struct strbuf *out)
{
    bool ok = strbuf_add(out, S("\"anyOf\":[{\"type\":[\"number\",\"null\"]"));
    /* fractions are cut off before the bounds are looked at: -0.5 is 0 */
    bool exact = schema_fractions(k);
    if (ok && k->lo != INT64_MIN && k->lo <= 0 && !exact)
        ok = strbuf_addf(out, ",\"exclusiveMinimum\":%lld", (long long)(k->lo - 1));
    else if (ok && k->lo != INT64_MIN)
        ok = strbuf_addf(out, ",\"minimum\":%lld", (long long)k->lo);
    if (ok && k->hi != INT64_MAX && exact)
        ok = strbuf_addf(out, ",\"maximum\":%lld", (long long)k->hi);
    else if (ok && k->hi != INT64_MAX)
        ok = strbuf_addf(out, ",\"exclusiveMaximum\":%lld", (long long)(k->hi + 1));
    if (ok && k->kind == SCHEMA_SIZE)
        ok =
            strbuf_add(out, S("},{\"type\":\"string\",\"pattern\":\"^ *[0-9]+ *([KMGT]i)?B? *$\""));
    return ok && strbuf_add(out, S("}," MACRO "]"));
}

static bool words_schema(const struct schema_key *k, struct strbuf *out)
{
    bool ok = strbuf_add(out, S("\"anyOf\":[{\"enum\":["));
    for (size_t i = 0; ok && schema_word(k->words, i).ptr; i++)
        ok = text(out, schema_word(k->words, i)) && strbuf_addc(out, ',');
    if (k->section != SEC_ROOT)
        ok = ok && strbuf_add(out, S("\"\","));
    return ok && strbuf_add(out, S("null]}," MACRO "]"));
}

static const char *def_name(enum schema_section sec)
{
    switch (sec) {
    case SEC_MODEL:
        return "model";
    case SEC_PROFILE:
        return "profile";
    case SEC_SELECTOR:
        return "selector";
    case SEC_PEER:
        return "peer";
    case SEC_GROUP:
        return "group";
    case SEC_MATRIX:
        return "matrix";
    case SEC_POLICY:
        return "policy";
    default:
        return NULL;
    }
}

static bool object_schema(enum schema_section sec, bool nullable, struct strbuf *out);

static bool key_schema(const struct schema_key *k, struct strbuf *out)
{
    bool ok = strbuf_addc(out, '{') && strbuf_add(out, S("\"description\":")) &&
              text(out, str_c(k->doc)) && strbuf_addc(out, ',');
    if (!ok)
        return false;
    switch (k->kind) {
    case SCHEMA_INT:
    case SCHEMA_SECS:
    case SCHEMA_SIZE:
        ok = number_schema(k, out);
        break;
    case SCHEMA_BOOL:
        ok = strbuf_add(out, S("\"$ref\":\"#/$defs/boolean\""));
        break;
    case SCHEMA_STR:
        ok = strbuf_add(out, S("\"type\":[\"string\",\"number\",\"boolean\",\"null\"]"));
        break;
    case SCHEMA_STRS:
        ok = strbuf_add(out, S("\"type\":[\"array\",\"null\"],\"items\":{\"type\":[\"string\","
                               "\"number\",\"boolean\",\"null\"]}"));
        break;
    case SCHEMA_ENUM:
        ok = words_schema(k, out);
        break;
    case SCHEMA_PARAMS:
        ok = strbuf_add(out, S("\"type\":[\"object\",\"null\"]"));
        break;
    case SCHEMA_SUB:
        ok = strbuf_add(out, S("\"anyOf\":[")) && object_schema(k->sub, true, out) &&
             strbuf_addc(out, ']');
        break;
    case SCHEMA_MAPOF:
        ok = strbuf_addf(
            out,
            "\"type\":[\"object\",\"null\"],\"additionalProperties\":{\"$ref\":\"#/$defs/%s\"}",
            def_name(k->sub));
        break;
    case SCHEMA_CUSTOM:
        /* its own schema may be text or a word, which a macro may stand for */
        ok = strbuf_add(out, S("\"anyOf\":[")) && strbuf_add(out, str_c(k->words)) &&
             strbuf_add(out, S("," MACRO "]"));
        break;
    }
    return ok && strbuf_addc(out, '}');
}

static bool required_keys(enum schema_section sec, struct strbuf *out)
{
    switch (sec) {
    case SEC_PEER:
        return strbuf_add(out, S(",\"required\":[\"proxy\",\"models\"]"));
    case SEC_SELECTOR:
        return strbuf_add(out, S(",\"required\":[\"strategy\",\"targets\"]"));
    case SEC_PROFILE:
        return strbuf_add(out, S(",\"required\":[\"pins\"]"));
    case SEC_MATRIX:
        return strbuf_add(out, S(",\"required\":[\"sets\"]"));
    case SEC_POLICY:
        return strbuf_add(out, S(",\"required\":[\"file\"]"));
    default:
        return true;
    }
}

static bool object_schema(enum schema_section sec, bool nullable, struct strbuf *out)
{
    bool first = true;
    bool ok = strbuf_add(out, nullable ? S("{\"type\":[\"object\",\"null\"],\"properties\":{")
                                       : S("{\"type\":\"object\",\"properties\":{"));
    SCHEMA_EACH(k, sec)
    {
        ok = ok && (first || strbuf_addc(out, ',')) && text(out, str_c(k->key)) &&
             strbuf_addc(out, ':') && key_schema(k, out);
        first = false;
    }
    return ok && strbuf_addc(out, '}') && required_keys(sec, out) && strbuf_addc(out, '}');
}

bool config_schema_json(struct strbuf *out)
{
    static const enum schema_section defs[] = { SEC_MODEL, SEC_PROFILE, SEC_SELECTOR, SEC_PEER,
                                                SEC_GROUP, SEC_MATRIX,  SEC_POLICY };
    static const char shared[] =
        "\"reference\":{\"type\":\"string\",\"pattern\":\"\\\\$\\\\{[a-zA-Z0-9_.-]+\\\\}\"},"
        "\"boolean\":{\"anyOf\":[{\"type\":[\"boolean\",\"null\"]},{\"enum\":[\"y\",\"Y\",\"yes\","
        "\"Yes\",\"YES\","
        "\"on\",\"On\",\"ON\",\"n\",\"N\",\"no\",\"No\",\"NO\",\"off\",\"Off\",\"OFF\"]}," MACRO
        "]},"
        "\"macros\":{\"type\":[\"object\",\"null\"],\"propertyNames\":{\"pattern\":\"^[a-zA-Z0-9_-]"
        "{1,63}$\"},"
        "\"additionalProperties\":{\"type\":[\"string\",\"number\",\"boolean\"]}}";
    struct strbuf json = STRBUF(out->max);
    bool ok =
        strbuf_add(&json,
                   S("{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":"
                     "\"luaswap configuration\",\"$comment\":\"Made from src/config/schema.def.\","
                     "\"$defs\":{")) &&
        strbuf_add(&json, str_c(shared));
    for (size_t i = 0; ok && i < ARRAY_LEN(defs); i++)
        ok = strbuf_addf(&json, ",\"%s\":", def_name(defs[i])) &&
             object_schema(defs[i], defs[i] == SEC_GROUP || defs[i] == SEC_PEER, &json);
    ok = ok && strbuf_add(&json, S("},\"anyOf\":[")) && object_schema(SEC_ROOT, true, &json) &&
         strbuf_add(&json, S("]}")) && dump_indent(strbuf_str(&json), out);
    strbuf_fini(&json);
    return ok;
}
