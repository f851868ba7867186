-- hostile: a pattern that tries everything
return { api = 1, name = 'hostile', pick_next = function() return (('a'):rep(200)):find('.-.-.-.-.-b$') end }
