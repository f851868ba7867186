-- hostile: the loop goes on in what follows the pcall
return { api = 1, name = 'hostile', pick_next = function() pcall(function() while true do end end) while true do end end }
