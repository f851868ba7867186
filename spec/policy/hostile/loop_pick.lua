-- hostile: an endless loop in a decision
return { api = 1, name = 'hostile', pick_next = function() while true do end end }
