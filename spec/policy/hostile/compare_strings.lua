-- hostile: comparisons of very long strings
local a, b = ('x'):rep(900000) .. 'a', ('x'):rep(900000) .. 'b'
return { api = 1, name = 'hostile', pick_next = function() while true do local _ = a < b end end }
