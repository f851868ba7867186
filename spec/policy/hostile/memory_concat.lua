-- hostile: large strings thrown away
return { api = 1, name = 'hostile', pick_next = function() local s = ('x'):rep(500000) while true do local _ = s .. s end end }
