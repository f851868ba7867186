-- hostile: weak tables in a chain
local keep, prev, mt = {}, {}, { __mode = "k" } local root = prev
return { api = 1, name = 'hostile', pick_next = function() for i = 1, 1500 do local nk = {} keep[#keep+1] = setmetatable({ [prev] = nk }, mt) prev = nk end end }
