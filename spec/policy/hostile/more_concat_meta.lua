-- hostile: __concat that concatenates
return { api = 1, name = 'hostile', pick_next = function() local m = {} m.__concat = function(a, b) return a .. b end return setmetatable({}, m) .. "x" end }
