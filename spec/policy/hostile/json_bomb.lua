-- hostile: json that is nested and endless
return { api = 1, name = 'hostile', pick_next = function() luaswap.json.decode(('['):rep(100000)) local t = {} t.t = t luaswap.json.encode(t) end }
