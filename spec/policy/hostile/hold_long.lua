-- hostile: holds for a day
return { api = 1, name = 'hostile', pick_next = function() return luaswap.hold(86400) end }
