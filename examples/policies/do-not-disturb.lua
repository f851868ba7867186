-- Do not disturb: while something else uses the GPU (a game, a training job), nothing is loaded, and what is idle is
-- given back.
local C = luaswap.config

local function guest()
  for _, g in ipairs(luaswap.gpu()) do
    if g.foreign_mb > C.foreign_mb then return true end
  end
  return false
end

local function free_mb()
  local sum = 0
  for _, g in ipairs(luaswap.gpu()) do sum = sum + g.free_mb end
  return sum
end

return {
  api = 1,
  name = 'do-not-disturb',
  requires = { 'gpu' },
  tick_interval = 5,
  settings = {
    again = { type = 'number', default = 10, min = 0.1, unit = 's', doc = 'how long to wait before looking again' },
    foreign_mb = { type = 'number', default = 4096, min = 0, unit = 'MB', doc = 'use by others from which on we keep quiet' },
    idle = { type = 'number', default = 15, min = 0, unit = 's' },
  },

  plan_swap = function(target)
    if guest() and target.vram_mb > free_mb() then
      return luaswap.hold(C.again, 'the GPU is busy with other work')
    end
  end,

  tick = function()
    if not guest() then return end
    for _, m in ipairs(luaswap.running()) do
      if m.state == 'ready' and m.idle > C.idle then luaswap.unload(m.id) end
    end
  end,
}
