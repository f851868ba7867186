-- hostile: long texts in utf8
return { api = 1, name = 'hostile', pick_next = function() local s = ("é"):rep(400000) while true do for _ in utf8.codes(s) do end end end }
