-- hostile: string.rep of gigabytes
return { api = 1, name = 'hostile', pick_next = function() return ('x'):rep(1 << 40) end }
