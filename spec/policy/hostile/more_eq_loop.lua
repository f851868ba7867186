-- hostile: __eq that compares
return { api = 1, name = 'hostile', pick_next = function() local m = { __eq = function(a, b) return a == b end } return setmetatable({}, m) == setmetatable({}, m) end }
