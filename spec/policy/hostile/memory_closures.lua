-- hostile: closures in closures
return { api = 1, name = 'hostile', pick_next = function() local f = function() end while true do local g = f f = function() return g end end end }
