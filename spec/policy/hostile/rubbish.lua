-- hostile: values of the wrong type from every hook
return { api = 1, name = 'hostile', route = function() return 7 end, on_request = function() return 'x' end, pick_next = function() return {} end, plan_swap = function() return { evict = 7 } end, evict_cost = function() return {} end, idle_ttl = function() return 'x' end }
