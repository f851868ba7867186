-- hostile: a loop in __pairs
return { api = 1, name = 'hostile', pick_next = function() for _ in pairs(setmetatable({}, { __pairs = function() while true do end end })) do end end }
