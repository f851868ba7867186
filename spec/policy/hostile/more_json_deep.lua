-- hostile: deep JSON, again and again
return { api = 1, name = 'hostile', pick_next = function() while true do luaswap.json.decode(("["):rep(500000)) end end }
