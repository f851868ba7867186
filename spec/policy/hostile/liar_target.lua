-- hostile: the target as its own victim
return { api = 1, name = 'hostile', plan_swap = function(t) return { evict = { t.id, 'a', 'b', 'c' } } end }
