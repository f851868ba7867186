-- Office hours: by day a set of models is kept loaded, by night everything that is idle is given back.
-- Helps when the machine has another life after hours, or when the first request of the morning should not wait.
local C = luaswap.config

local function open()
  local now = luaswap.wall()
  if C.weekdays and (now.wday == 1 or now.wday == 7) then return false end
  if C.open <= C.close then return now.hour >= C.open and now.hour < C.close end
  return now.hour >= C.open or now.hour < C.close -- past midnight
end

local function is_warm(id)
  for _, w in ipairs(C.warm) do
    if w == id then return true end
  end
  return false
end

return {
  api = 1,
  name = 'office-hours',
  version = '1.0.0',
  tick_interval = 30,
  settings = {
    open = { type = 'integer', default = 9, min = 0, max = 23, unit = 'h' },
    close = { type = 'integer', default = 18, min = 0, max = 24, unit = 'h' },
    weekdays = { type = 'boolean', default = false, doc = 'closed on Saturday and Sunday' },
    warm = { type = 'list', default = {}, doc = 'models to keep loaded by day' },
    night_idle = { type = 'number', default = 300, min = 0, unit = 's', doc = 'idle time after which a model goes by night' },
  },

  tick = function()
    if open() then
      for _, id in ipairs(C.warm) do
        local m = luaswap.model(id)
        if m and m.state == 'stopped' then luaswap.preload(id) end
      end
      return
    end
    for _, m in ipairs(luaswap.running()) do
      if m.state == 'ready' and m.idle > C.night_idle then luaswap.unload(m.id) end
    end
  end,

  evict_cost = function(m)
    return (open() and is_warm(m.id) and 1e9 or 0) - math.min(m.idle, 1e6)
  end,
}
