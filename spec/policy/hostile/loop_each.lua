-- hostile: the queue, again and again
return { api = 1, name = 'hostile', pick_next = function(q) while true do for _ in q:each() do end end end }
