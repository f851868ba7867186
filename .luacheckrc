std = "lua54"
max_line_length = 120
files["spec"] = { std = "lua54+busted" }
files["policies/*_spec.lua"] = { std = "lua54+busted" }
stds.luaswap = { read_globals = { luaswap = { other_fields = true,
  fields = { state = { read_only = false, other_fields = true } } } } }
files["policies"] = { std = "lua54+luaswap" }
files["examples"] = { std = "lua54+luaswap" }
files["lua"] = { std = "lua54+luaswap" }
exclude_files = { "build*" }
