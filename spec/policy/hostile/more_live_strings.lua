-- hostile: many live strings
local t, n = {}, 0
return { api = 1, name = 'hostile', pick_next = function() for i = 1, 2000 do n = n + 1 t[n] = "k" .. n end end }
