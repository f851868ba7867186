-- Residency: what is loaded is served first; once somebody has waited max_wait seconds, the models in its way get no
-- more work and a swap is made for it. A model keeps its seat for min_stay seconds after it was loaded.
-- Helps when requests alternate between models that do not fit together: fewer loads, and nobody waits for ever.
local C, hold, model, now = luaswap.config, luaswap.hold, luaswap.model, luaswap.now
local builtin_plan = luaswap.builtin.plan_swap

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
    local oldest = q:best 'age' -- found without a call into Lua: mostly nobody is late
    return oldest and oldest.age > C.max_wait and q:first(overdue) or q:first 'ready' or q:first()
  end,

  plan_swap = function(target, q)
    local plan = builtin_plan(target)
    local evict = plan.evict
    if not evict then return plan end -- the built-in holds
    for i = 1, #evict do
      local loaded_at = model(evict[i]).loaded_at
      local left = loaded_at and C.min_stay - (now() - loaded_at) or 0
      if left > 0 then return hold(left, 'min_stay') end
    end
    local oldest = q:best('age', target.id)
    if oldest and oldest.age > C.max_wait then plan.when = 'drain' end
    return plan
  end,
}
