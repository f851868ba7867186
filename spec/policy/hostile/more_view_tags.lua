-- hostile: a field that is made anew each time
return { api = 1, name = 'hostile', pick_next = function(q) local r = q:first() while true do local _ = r.tags end end }
