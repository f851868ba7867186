-- hostile: writes a global
return { api = 1, name = 'hostile', pick_next = function() counter = 1 end }
