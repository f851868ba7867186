-- hostile: an endless loop in tick
return { api = 1, name = 'hostile', tick = function() while true do end end }
