-- hostile: an endless loop in route
return { api = 1, name = 'hostile', route = function() while true do end end }
