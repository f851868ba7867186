-- hostile: next over a large emptied table
local t = {} for i = 1, 100000 do t[i] = true end for i = 1, 100000 do t[i] = nil end
return { api = 1, name = 'hostile', pick_next = function() while true do next(t) end end }
