/* yaml_scalar.h: inside of codec/yaml.c: scalars with an explicit tag. */
#ifndef LUASWAP_CODEC_YAML_SCALAR_H
#define LUASWAP_CODEC_YAML_SCALAR_H

#include "codec/yaml.h"

/* Sets n->type and value for a tag; NULL, or the end of a message that begins "cannot read `text".
 * */
const char *yaml_scalar_tagged(struct arena *a, struct ynode *n, str tag);

#endif
