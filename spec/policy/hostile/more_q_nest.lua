-- hostile: loops over the queue in loops
return { api = 1, name = 'hostile', pick_next = function(q) for a in q:each() do for b in q:each() do for c in q:each() do for d in q:each() do for e in q:each() do end end end end end end }
