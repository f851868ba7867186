-- hostile: table.move of millions
return { api = 1, name = 'hostile', pick_next = function() return table.move({}, 1, 1e9, 2) end }
