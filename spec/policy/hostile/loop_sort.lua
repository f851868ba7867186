-- hostile: a comparator that loops
return { api = 1, name = 'hostile', pick_next = function() table.sort({ 3, 1, 2 }, function() while true do end end) end }
