-- hostile: a new series with each call
return { api = 1, name = 'hostile', pick_next = function(q) for i = 1, 100 do luaswap.metrics.counter('c', 1, { i = tostring(math.random(1e9)) }) end return q:first() end }
