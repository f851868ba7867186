-- hostile: __close that raises
return { api = 1, name = 'hostile', pick_next = function() while true do local x <close> = setmetatable({}, { __close = function() error(1) end }) pcall(error) end end }
