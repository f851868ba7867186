-- Gather: a cold model is loaded when k requests want it, or when the first of them has waited t seconds; what is
-- ready is served in the meantime.
-- Helps with background work in small pieces: fewer swaps for a short delay.
local C = luaswap.config

return {
  api = 1,
  name = 'gather',
  version = '1.0.0',
  settings = {
    k = { type = 'integer', default = 3, min = 1, doc = 'requests that are worth a load' },
    t = { type = 'number', default = 20, min = 0, max = 50, unit = 's', doc = 'longest time to wait for them' },
  },

  pick_next = function(q)
    local r = q:first 'ready'
    if r then return r end
    local soonest
    for c in q:each 'cold' do
      local left = C.t - c.age
      if left <= 0 or q:count(c.model) >= C.k then return c end
      if not soonest or left < soonest then soonest = left end
    end
    return soonest and luaswap.hold(soonest, 'gathering') or nil
  end,
}
