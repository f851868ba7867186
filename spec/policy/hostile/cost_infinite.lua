-- hostile: nobody may ever be stopped
return { api = 1, name = 'hostile', evict_cost = function() return math.huge end }
