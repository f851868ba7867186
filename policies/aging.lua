-- Aging: a priority per API key that grows with the time waited, one point for each `step` seconds, and a bonus for
-- requests whose model is loaded. People go before batch jobs, and a batch job is never forgotten.
-- Helps when interactive users and jobs share a machine.
local C = luaswap.config

return {
  api = 1,
  name = 'aging',
  version = '1.0.0',
  settings = {
    base = { type = 'map', default = {}, doc = 'points per key, for example { alice = 10 }' },
    unknown = { type = 'number', default = 0, doc = 'points of keys that are not in base' },
    step = { type = 'number', default = 15, min = 0.1, unit = 's', doc = 'seconds of waiting that are worth one point' },
    bonus = { type = 'number', default = 20, doc = 'points for a request whose model is loaded' },
  },

  score = function(r)
    return (C.base[r.key or ''] or C.unknown) + r.age / C.step + (r.ready and C.bonus or 0)
  end,
}
