-- hostile: an endless loop in idle_ttl
return { api = 1, name = 'hostile', idle_ttl = function() while true do end end }
