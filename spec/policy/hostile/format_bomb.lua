-- hostile: formats of gigabytes
return { api = 1, name = 'hostile', pick_next = function() return ('%s'):rep(1000):format(table.unpack({ ('x'):rep(500000) })) end }
