-- hostile: quarantines every model
return { api = 1, name = 'hostile', tick = function() for _, m in ipairs(luaswap.models()) do luaswap.quarantine(m.id, 1) end end }
