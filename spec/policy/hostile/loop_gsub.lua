-- hostile: a replacement function that loops
return { api = 1, name = 'hostile', pick_next = function() return (('x'):gsub('x', function() while true do end end)) end }
