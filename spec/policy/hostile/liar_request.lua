-- hostile: a request kept from an earlier hook
local keep
return { api = 1, name = 'hostile', on_request = function(r) keep = keep or r end, pick_next = function() return keep end }
