-- hostile: an endless loop in on_start
return { api = 1, name = 'hostile', on_start = function() while true do end end, pick_next = function(q) return q:first() end }
