-- hostile: a subject of megabytes
return { api = 1, name = 'hostile', pick_next = function() return (('a'):rep(1000000)):find('a+b') end }
