-- hostile: unpack of millions
return { api = 1, name = 'hostile', pick_next = function() return table.unpack({}, 1, 1e8) end }
