-- hostile: a chain of __index
local t = {} for _ = 1, 3000 do t = setmetatable({}, { __index = t }) end
return { api = 1, name = 'hostile', pick_next = function() return t.x end }
