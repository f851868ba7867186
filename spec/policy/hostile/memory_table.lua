-- hostile: a table without an end
local keep = {}
return { api = 1, name = 'hostile', pick_next = function() for i = 1, math.huge do keep[i] = { i } end end }
