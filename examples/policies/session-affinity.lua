-- Session affinity: a conversation stays with the model that served it last among those that can stand in for each
-- other, because its prompt is in that model's cache. A session that was quiet for a while may move.
local C = luaswap.config
local S = luaswap.state

local function seats()
  S.seats = S.seats or {}
  return S.seats
end

return {
  api = 1,
  name = 'session-affinity',
  tick_interval = 60,
  settings = {
    same = { type = 'map', default = {}, doc = 'name -> models that may serve it' },
    ttl = { type = 'number', default = 900, min = 1, unit = 's', doc = 'how long a seat is kept' },
  },

  route = function(req)
    local names, seat = C.same[req.model], req.session and seats()[req.session]
    if not names or not seat or luaswap.now() - seat.at > C.ttl then return nil end
    for _, id in ipairs(names) do
      if id == seat.model then return { model = id, tags = { session = 'kept' } } end
    end
  end,

  on_serve_start = function(r)
    if r.session then seats()[r.session] = { model = r.model, at = luaswap.now() } end
  end,

  tick = function(now)
    for session, seat in pairs(seats()) do
      if now - seat.at > C.ttl then seats()[session] = nil end
    end
  end,
}
