-- hostile: kills what must not be killed
return { api = 1, name = 'hostile', plan_swap = function() return { evict = { 'a', 'b', 'c' }, when = 'kill', grace = 0 } end }
