-- hostile: a numeric loop without end
return { api = 1, name = 'hostile', pick_next = function() for i = 0, 1, 1e-300 do end end }
