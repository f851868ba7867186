-- hostile: victims that do not exist, twice, and the target
return { api = 1, name = 'hostile', plan_swap = function(t) return { evict = { t.id, 'nobody', t.id } } end }
