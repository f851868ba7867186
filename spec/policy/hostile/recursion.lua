-- hostile: endless recursion
local function f() return 1 + f() end

return { api = 1, name = 'hostile', pick_next = function() return f() end }
