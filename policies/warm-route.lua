-- Warm route: models that can stand in for each other form a set; a request for one of them goes to the one that is
-- loaded and least busy. When the line is long, short prompts may go to a smaller model.
-- Helps when several models are equally good for the users: most swaps disappear.
local C = luaswap.config

local function least_busy(names)
  local best, least
  for _, id in ipairs(names) do
    local m = luaswap.model(id)
    if m and m.ready then
      local load = m.reserved / m.limit
      if not least or load < least then best, least = id, load end
    end
  end
  return best
end

return {
  api = 1,
  name = 'warm-route',
  version = '1.0.0',
  settings = {
    same = { type = 'map', default = {}, doc = 'name -> models that may serve it, for example { ["big-a"] = { "big-a", "big-b" } }' },
    small = { type = 'string', default = '', doc = 'model for short prompts when the line is long; empty: never' },
    long_queue = { type = 'integer', default = 6, min = 0, doc = 'requests waiting that make the line long' },
    short_prompt = { type = 'integer', default = 300, min = 0, doc = 'tokens up to which a prompt is short' },
  },

  route = function(req)
    local names = C.same[req.model]
    if not names then return nil end
    local best = least_busy(names)
    if best then return best ~= req.model and { model = best, tags = { warm = best } } or nil end
    if C.small ~= '' and #luaswap.queue() > C.long_queue and (req.tokens_in or math.huge) < C.short_prompt then
      return { model = C.small, tags = { degraded = true } }
    end
  end,
}
