/* profiles.c: which profile is active (http.md 7.4). Runtime only: none at start and after a reload. */
#include "api/api.h"

#include "codec/json.h"

#define BODY_MAX (64u * 1024)

void api_profiles(struct request *req, const struct route *r)
{
    (void)r;
    const struct config *cfg = req->srv->cfg;
    struct strbuf b = STRBUF(4u * 1024 * 1024);
    struct json_out o;
    json_out_init(&o, &b);
    json_out_object(&o);
    if (req->srv->profile == CONFIG_NONE)
        json_out_knull(&o, "active");
    else
        json_out_kstr(&o, "active", cfg->profiles[req->srv->profile].id);
    json_out_key(&o, S("profiles"));
    json_out_array(&o);
    for (size_t i = 0; i < cfg->n_profiles; i++) {
        const struct config_profile *p = &cfg->profiles[i];
        json_out_object(&o);
        json_out_kstr(&o, "id", p->id);
        json_out_kstr(&o, "description", p->description);
        json_out_key(&o, S("pins"));
        json_out_object(&o);
        for (size_t k = 0; k < p->n_pins; k++) {
            json_out_key(&o, p->pins[k].key);
            json_out_str(&o, p->pins[k].value);
        }
        json_out_end(&o, '}');
        json_out_end(&o, '}');
    }
    json_out_end(&o, ']');
    json_out_end(&o, '}');
    api_reply_json(req, 200, &b);
    strbuf_fini(&b);
}

static void with_body(struct request *req)
{
    struct server *srv = req->srv;
    struct error e = { 0 };
    str body;
    json doc;
    if (spool_all(&req->body, &body, &e) < 0 || json_parse(http_req_arena(req->http), body, &json_caps_small, &doc, &e) < 0 ||
        json_kind(doc) != JSON_OBJECT) {
        req_fail(req, 400, NULL, S("a JSON object with the key `name` is needed"));
        return;
    }
    json name = json_get(doc, S("name"));
    if (json_kind(name) != JSON_NULL && json_kind(name) != JSON_STRING) {
        req_fail(req, 400, NULL, S("`name` must be the name of a profile, or null"));
        return;
    }
    size_t want = CONFIG_NONE;
    if (json_str(name).len > 0) {
        want = config_find_profile(srv->cfg, json_str(name));
        if (want == CONFIG_NONE) {
            req_fail(req, 404, NULL, S("no such profile"));
            return;
        }
    }
    srv->profile = want;
    struct strbuf b = STRBUF(64u * 1024);
    struct json_out o;
    json_out_init(&o, &b);
    json_out_object(&o);
    if (want == CONFIG_NONE)
        json_out_knull(&o, "active");
    else
        json_out_kstr(&o, "active", srv->cfg->profiles[want].id);
    json_out_end(&o, '}');
    api_reply_json(req, 200, &b);
    strbuf_fini(&b);
}

void api_profile_set(struct request *req, const struct route *r)
{
    (void)r;
    req_take_body(req, BODY_MAX, with_body);
}
