-- hostile: an iterator without an end
return { api = 1, name = 'hostile', pick_next = function() for _ in function() return 1 end do end end }
