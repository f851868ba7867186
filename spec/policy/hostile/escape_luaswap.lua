-- hostile: changes the library
return { api = 1, name = 'hostile', pick_next = function() luaswap.hold = nil end, score = function() luaswap.config.x = 1 end, on_serve_start = function(r) r.priority = 99 end, plan_swap = function(t) rawset(t, 'id', 'x') end }
