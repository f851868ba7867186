# The luaswap program takes libuv, Lua, libyaml and PCRE2 into itself where the system has them as archives: it is
# started once more for every model (`luaswap --supervise`), and loading eight libraries is then most of what it
# does. Test programs use the shared ones. Distributions that want those everywhere turn the option off.
option(LUASWAP_ARCHIVES "link libraries into luaswap itself where the system has archives of them" ON)

# luaswap_archive(LUA "lua5.4;lua" m dl): the archive of PkgConfig::LUA, by one of its names, and what it needs.
function(luaswap_archive pkg names)
  list(TRANSFORM names REPLACE "(.+)" "lib\\1.a")
  find_library(LUASWAP_${pkg}_ARCHIVE NAMES ${names} HINTS ${${pkg}_LIBDIR})
  mark_as_advanced(LUASWAP_${pkg}_ARCHIVE)
  if(NOT LUASWAP_ARCHIVES OR NOT LUASWAP_${pkg}_ARCHIVE)
    return()
  endif()
  get_target_property(shared PkgConfig::${pkg} INTERFACE_LINK_LIBRARIES)
  set(program $<BOOL:$<TARGET_PROPERTY:LUASWAP_PROGRAM>>)
  set_property(TARGET PkgConfig::${pkg} PROPERTY INTERFACE_LINK_LIBRARIES
    "$<${program}:${LUASWAP_${pkg}_ARCHIVE}>" ${ARGN} "$<$<NOT:${program}>:${shared}>")
endfunction()
