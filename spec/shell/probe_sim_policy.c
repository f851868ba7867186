/* require 'spec.policy': policies on the simulated world, driven from Lua. Also what luaswap.lab is made of. */
#include "spec.h"

#include "lab_core.h"

PROBE(policy, lab_core_open);
