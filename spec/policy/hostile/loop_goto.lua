-- hostile: a loop without a loop statement
return { api = 1, name = 'hostile', pick_next = function() ::again:: goto again end }
