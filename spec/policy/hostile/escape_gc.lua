-- hostile: a finaliser
return { api = 1, name = 'hostile', pick_next = function() setmetatable({}, { __gc = function() while true do end end }) end }
