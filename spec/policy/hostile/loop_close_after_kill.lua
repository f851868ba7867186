-- hostile: a loop in __close that runs because of a kill
local v = setmetatable({}, { __close = function() while true do end end })
return { api = 1, name = 'hostile', pick_next = function() local x <close> = v while true do end end }
