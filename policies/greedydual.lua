-- GreedyDual: when memory is short, the model goes that is worth least: seldom used, quick to load, large. Worth is
-- uses (fading) x load time / memory, on a clock that rises with every eviction, so that old glory fades.
-- Helps when several models fit the GPU together and the choice of the victim matters. Decides only whom to stop.
local S = luaswap.state

local function book()
  S.clock, S.models = S.clock or 0, S.models or {}
  return S.models
end

local function touch(m)
  local models = book()
  local uses = (models[m.id] and models[m.id].uses or 0) * luaswap.config.fade + 1
  models[m.id] = { uses = uses, worth = S.clock + uses * m.load_s * 1024 / m.vram_mb }
end

return {
  api = 1,
  name = 'greedydual',
  version = '1.0.0',
  settings = {
    fade = { type = 'number', default = 0.9, min = 0, max = 1, doc = 'how much of the old uses counts after one more' },
  },

  on_serve_done = function(r)
    local m = luaswap.model(r.model)
    if m then touch(m) end
  end,
  on_swap_done = function(sw)
    if sw.ok then touch(luaswap.model(sw.target)) end
  end,
  on_swap_start = function(sw)
    local models = book()
    for _, id in ipairs(sw.evict) do
      local e = models[id]
      if e and e.worth > S.clock then S.clock = e.worth end
    end
  end,

  evict_cost = function(m)
    local e = book()[m.id]
    return e and e.worth or S.clock
  end,
}
