-- hostile: on_start raises
return { api = 1, name = 'hostile', on_start = function() error('no') end, pick_next = function(q) return q:first() end }
