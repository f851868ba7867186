-- hostile: gsub with a pattern that tries everything
return { api = 1, name = 'hostile', pick_next = function() return ((('a'):rep(3000)):gsub('(.-)(.-)(.-)b', '%1')) end }
