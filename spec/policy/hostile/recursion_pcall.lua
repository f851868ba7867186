-- hostile: endless recursion through pcall
local function f() return pcall(f), pcall(f) end

return { api = 1, name = 'hostile', pick_next = function() return f() end }
