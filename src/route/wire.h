/* wire.h: names that clients, dashboards and scripts of llama-swap key on, kept byte for byte
 * (decisions.md, "Identity on the wire"). Nothing else in the program spells them out.
 */
#ifndef LUASWAP_ROUTE_WIRE_H
#define LUASWAP_ROUTE_WIRE_H

#define WIRE_SRC "llama-swap"           /* `src` of our error bodies, title of the HTML form */
#define WIRE_TEXT_PREFIX "llama-swap: " /* of errors as text/plain */
#define WIRE_OWNED_BY "llama-swap"      /* /v1/models */
#define WIRE_META_KEY "llamaswap"       /* /v1/models: meta.llamaswap */
#define WIRE_REALM "llama-swap"
#define WIRE_WWW_AUTHENTICATE "Basic realm=\"" WIRE_REALM "\""
#define WIRE_METRIC_PREFIX "llamaswap_" /* Prometheus names */
/* Line before and after the text of a loading stream: five U+2501. */
#define WIRE_LOADING_MARK "\xE2\x94\x81\xE2\x94\x81\xE2\x94\x81\xE2\x94\x81\xE2\x94\x81"
/* The only model that /comfyui/ serves. */
#define WIRE_COMFYUI_MODEL "comfyui_auto"

#endif
