-- hostile: pcall within pcall
local function f(n) if n == 0 then while true do end end pcall(f, n - 1) return f(n - 1) end
return { api = 1, name = 'hostile', pick_next = function() return f(150) end }
