-- hostile: an endless loop at the door
return { api = 1, name = 'hostile', on_request = function() while true do end end }
