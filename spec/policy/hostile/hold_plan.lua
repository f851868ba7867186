-- hostile: never lets a model be loaded
return { api = 1, name = 'hostile', plan_swap = function() return luaswap.hold(5) end }
