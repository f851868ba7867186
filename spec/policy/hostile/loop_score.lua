-- hostile: an endless loop in score
return { api = 1, name = 'hostile', score = function() for i = 1, math.huge do local _ = i end end }
