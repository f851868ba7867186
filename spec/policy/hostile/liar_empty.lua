-- hostile: never stops anybody
return { api = 1, name = 'hostile', plan_swap = function() return { evict = {} } end }
