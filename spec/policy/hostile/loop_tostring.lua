-- hostile: a loop in __tostring
return { api = 1, name = 'hostile', pick_next = function() return tostring(setmetatable({}, { __tostring = function() while true do end end })) end }
