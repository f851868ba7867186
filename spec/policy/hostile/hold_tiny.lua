-- hostile: holds for almost nothing
return { api = 1, name = 'hostile', pick_next = function() return luaswap.hold(1e-9) end }
