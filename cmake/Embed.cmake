# luaswap_embed(): every lua/**/*.lua as bytes in one C file, looked up by module name (policy_embedded).
# The file is written again when a Lua file changes, because configuring depends on all of them.
function(luaswap_embed out)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lua/*.lua)
  list(FILTER files EXCLUDE REGEX "/(meta|lab)\\.lua$") # for authors, not for policies
  list(SORT files)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
  set(arrays "")
  set(rows "")
  set(n 0)
  foreach(file ${files})
    file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR}/lua ${file})
    string(REGEX REPLACE "\\.lua$" "" name ${name})
    string(REPLACE "/" "." name ${name})
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
    string(APPEND arrays "static const unsigned char file_${n}[] = { ${bytes} 0 };\n")
    string(APPEND rows "    { \"${name}\", file_${n}, sizeof(file_${n}) - 1 },\n")
    math(EXPR n "${n} + 1")
  endforeach()
  file(CONFIGURE OUTPUT ${out} CONTENT
"/* Made by cmake/Embed.cmake. */
#include \"policy/priv.h\"

@arrays@
static const struct {
    const char *name;
    const unsigned char *at;
    size_t len;
} files[] = {
@rows@    { NULL, NULL, 0 },
};

const char *policy_embedded(str module, size_t *len)
{
    for (size_t i = 0; files[i].name; i++) {
        if (str_eq(module, str_c(files[i].name))) {
            *len = files[i].len;
            return (const char *)files[i].at;
        }
    }
    return NULL;
}
" @ONLY)
endfunction()

if(TARGET luaswap_policy)
  luaswap_embed(${CMAKE_BINARY_DIR}/gen/policy/embedded.c)
  get_target_property(luaswap_policy_type luaswap_policy TYPE)
  if(NOT luaswap_policy_type STREQUAL "INTERFACE_LIBRARY")
    target_sources(luaswap_policy PRIVATE ${CMAKE_BINARY_DIR}/gen/policy/embedded.c)
  endif()
endif()
