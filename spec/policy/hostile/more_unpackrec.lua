-- hostile: arguments that pile up on the stack
return { api = 1, name = 'hostile', pick_next = function() local function f(...) return f(1, ...) end f() end }
