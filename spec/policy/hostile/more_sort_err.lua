-- hostile: a comparator that lies, in a pcall
return { api = 1, name = 'hostile', pick_next = function() local t = {} for i = 1, 5000 do t[i] = i end while true do pcall(table.sort, t, function() return true end) end end }
