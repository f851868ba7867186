-- hostile: a lazy pattern on a long text
return { api = 1, name = 'hostile', pick_next = function() local s = ('a'):rep(60000) for _ = 1, 100 do s:find('.-b') end end }
