-- hostile: memory errors caught and ignored
return { api = 1, name = 'hostile', pick_next = function() while true do pcall(function() local t = {} for i = 1, 1e9 do t[i] = {} end end) end end }
