-- hostile: endless tail calls
local function f() return f() end
return { api = 1, name = 'hostile', pick_next = f }
