-- A/B: a share of the sessions gets another model; which one, depends on the session alone, so that a conversation
-- does not change sides. The tag is in the activity records.
local C = luaswap.config

return {
  api = 1,
  name = 'ab-test',
  settings = {
    a = { type = 'string', default = '', doc = 'the model that is asked for' },
    b = { type = 'string', default = '', doc = 'the other one' },
    share = { type = 'number', default = 0.1, min = 0, max = 1, doc = 'part of the sessions that gets b' },
  },

  route = function(req)
    if C.a == '' or req.model ~= C.a then return nil end
    local who = req.session or req.key or req.client or tostring(req.id)
    local draw = (luaswap.hash(who) & 0xffffff) / 0x1000000
    local side = draw < C.share and 'b' or 'a'
    luaswap.metrics.counter('ab_requests', 1, { side = side })
    return { model = C[side], tags = { ab = side } }
  end,
}
