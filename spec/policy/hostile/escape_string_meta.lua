-- hostile: the metatable of strings
return { api = 1, name = 'hostile', pick_next = function() getmetatable('').__index = nil end, score = function() string.rep = nil end }
