-- hostile: a comparator that always says yes, on a large table
return { api = 1, name = 'hostile', pick_next = function() local t = {} for i = 1, 20000 do t[i] = i end table.sort(t, function() return true end) end }
