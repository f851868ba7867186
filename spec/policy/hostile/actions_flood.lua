-- hostile: more actions than there is room for
return { api = 1, name = 'hostile', tick = function() for _ = 1, 1000 do luaswap.kick() luaswap.preload('a', { evict = true }) luaswap.unload('b') end end }
