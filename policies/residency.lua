-- Residency: what is loaded is served first; once somebody has waited max_wait seconds, the models in its way get no
-- more work and a swap is made for it. A model keeps its seat for min_stay seconds after it was loaded.
-- Helps when requests alternate between models that do not fit together: fewer loads, and nobody waits for ever.
local C = luaswap.config

local function overdue(r) return not r.ready and r.age > C.max_wait end

return {
  api = 1,
  name = 'residency',
  version = '1.0.0',
  settings = {
    max_wait = { type = 'number', default = 45, min = 0, unit = 's', doc = 'longest wait before others have to make room' },
    min_stay = { type = 'number', default = 30, min = 0, unit = 's', doc = 'how long a loaded model stays at least' },
  },

  pick_next = function(q)
    return q:first(overdue) or q:first 'ready' or q:first()
  end,

  plan_swap = function(target, q)
    local plan = luaswap.builtin.plan_swap(target)
    if not plan.evict then return plan end -- the built-in holds
    local now = luaswap.now()
    for _, id in ipairs(plan.evict) do
      local loaded_at = luaswap.model(id).loaded_at
      local left = loaded_at and C.min_stay - (now - loaded_at) or 0
      if left > 0 then return luaswap.hold(left, 'min_stay') end
    end
    local oldest = q:best('age', target.id)
    if oldest and oldest.age > C.max_wait then plan.when = 'drain' end
    return plan
  end,
}
