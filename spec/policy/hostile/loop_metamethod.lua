-- hostile: a loop in a metamethod
local t = setmetatable({}, { __index = function() while true do end end })
return { api = 1, name = 'hostile', pick_next = function() return t.x + t end }
