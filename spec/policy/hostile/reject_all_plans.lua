-- hostile: refuses every load
return { api = 1, name = 'hostile', plan_swap = function() return luaswap.reject(200, 'ok') end }
