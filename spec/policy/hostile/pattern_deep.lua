-- hostile: a pattern that nests deeply
return { api = 1, name = 'hostile', pick_next = function() return (('x'):rep(1000)):match(('x?'):rep(1000)) end }
