-- hostile: a chain of __call that never ends, inside of one instruction
return { api = 1, name = 'hostile', pick_next = function() local t = {} setmetatable(t, { __call = t }) return t() end }
