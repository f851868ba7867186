-- hostile: the state grows with each call
return { api = 1, name = 'hostile', on_serve_start = function() local s = luaswap.state for i = 1, 2000 do s[#s + 1] = ('y'):rep(5000) .. i end end, pick_next = function(q) luaswap.state[#luaswap.state + 1] = ('x'):rep(900000) .. #luaswap.state return q:first() end }
