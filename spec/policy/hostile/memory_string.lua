-- hostile: a string that doubles
return { api = 1, name = 'hostile', pick_next = function() local s = 'x' while true do s = s .. s end end }
