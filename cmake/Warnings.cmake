# Warnings of our own code; foreign sources (llhttp) are built without them.
add_library(luaswap_warnings INTERFACE)
target_compile_options(luaswap_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wundef
  -Wwrite-strings -Wvla -Wformat=2 -Wcast-qual -Wpointer-arith -Wno-unused-parameter)
if(LUASWAP_WERROR)
  target_compile_options(luaswap_warnings INTERFACE -Werror)
endif()
