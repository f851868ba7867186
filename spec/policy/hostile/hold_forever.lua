-- hostile: holds without an end
return { api = 1, name = 'hostile', pick_next = function() return luaswap.hold() end }
