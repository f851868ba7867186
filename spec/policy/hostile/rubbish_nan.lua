-- hostile: numbers that are none
return { api = 1, name = 'hostile', score = function() return 0 / 0 end, evict_cost = function() return 0 / 0 end, idle_ttl = function() return -math.huge end, on_request = function() return { priority = 0 / 0 } end }
