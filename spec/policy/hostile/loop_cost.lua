-- hostile: an endless loop in evict_cost
return { api = 1, name = 'hostile', evict_cost = function() while true do end end }
