-- hostile: the same in a coroutine of the core
local v = setmetatable({}, { __close = function() while true do end end })
return { api = 1, name = 'hostile', route = function() local x <close> = v while true do end end }
