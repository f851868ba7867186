-- hostile: endless loops in all notes
return { api = 1, name = 'hostile', on_serve_start = function() while true do end end, on_serve_done = function() while true do end end, on_swap_start = function() while true do end end, on_swap_done = function() while true do end end, on_model = function() while true do end end }
