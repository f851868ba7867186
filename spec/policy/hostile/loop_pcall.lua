-- hostile: pcall around a loop, again and again
return { api = 1, name = 'hostile', pick_next = function() while true do pcall(function() while true do end end) end end }
