-- hostile: a log line for everything
return { api = 1, name = 'hostile', pick_next = function(q) for _ = 1, 500 do luaswap.log.info(('x'):rep(1000)) end return q:first() end }
