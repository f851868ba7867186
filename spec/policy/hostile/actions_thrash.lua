-- hostile: unloads and preloads in turn
return { api = 1, name = 'hostile', on_serve_done = function(r) luaswap.unload(r.model, { when = 'drain' }) luaswap.preload('b', { evict = true }) end }
