-- hostile: a loop in __close
local v = setmetatable({}, { __close = function() while true do end end })
return { api = 1, name = 'hostile', pick_next = function() local x <close> = v return nil end }
