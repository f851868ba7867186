-- hostile: timers that make timers
local function f() for _ = 1, 10 do luaswap.timer.after(0, f) end end
return { api = 1, name = 'hostile', on_start = function() f() end }
