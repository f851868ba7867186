-- hostile: patterns in patterns
return { api = 1, name = 'hostile', pick_next = function() for a in (("a"):rep(60000)):gmatch("()") do for b in (("a"):rep(60000)):gmatch("()") do end end end }
