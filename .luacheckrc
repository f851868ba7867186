std = "lua54"
max_line_length = 120
files["spec"] = { std = "lua54+busted" }
files["policies/*_spec.lua"] = { std = "lua54+busted" }
stds.luaswap = { read_globals = { luaswap = { other_fields = true,
  fields = { state = { read_only = false, other_fields = true } } } } }
files["policies"] = { std = "lua54+luaswap" }
files["examples"] = { std = "lua54+luaswap" }
files["lua"] = { std = "lua54+luaswap" }
files["spec/policy"] = { std = "lua54+busted", max_line_length = false }
files["spec/functional/policy_*.lua"] = { std = "lua54+busted", max_line_length = false }
files["policies/*_spec.lua"] = { std = "lua54+busted", max_line_length = false }
files["policies/*.lua"] = { max_line_length = 140 }
files["examples/**/*_spec.lua"] = { std = "lua54+busted", max_line_length = false }
files["lua/luaswap/lab.lua"] = { max_line_length = 140 }
exclude_files = { "build*", "spec/policy/hostile" }
