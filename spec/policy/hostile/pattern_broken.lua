-- hostile: patterns that are none
return { api = 1, name = 'hostile', pick_next = function() return ('x'):find('[a') end, plan_swap = function() return ('x'):gsub('(', '') end }
