-- hostile: an endless loop in plan_swap
return { api = 1, name = 'hostile', plan_swap = function() repeat until false end }
