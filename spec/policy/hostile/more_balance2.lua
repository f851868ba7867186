-- hostile: a quadratic pattern
return { api = 1, name = 'hostile', pick_next = function() return (("("):rep(30000)):gsub("%b()x", "") end }
