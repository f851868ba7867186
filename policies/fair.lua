-- Fair share: the API key that has consumed the fewest tokens goes first. A key that comes back from a pause starts at
-- the level of the least of those at work, so that it cannot live on what it saved.
-- Helps when one client floods the line and the others should not notice.
local S, C = luaswap.state, luaswap.config
local active = {} -- key -> requests queued or served

local function key_of(r) return r.key or r.client or 'nobody' end

local function used() -- looked up each time: a reload fills the same luaswap.state
  S.used = S.used or {}
  return S.used
end

local function join(r)
  local key, u = key_of(r), used()
  if not active[key] then
    local floor
    for k in pairs(active) do
      local v = u[k] or 0
      if not floor or v < floor then floor = v end
    end
    u[key] = math.max(u[key] or 0, floor or 0)
  end
  active[key] = (active[key] or 0) + 1
  r.ctx.counted = key
end

local function leave(r)
  local key = r.ctx.counted
  if not key then return end
  r.ctx.counted = nil
  local n = (active[key] or 1) - 1
  active[key] = n > 0 and n or nil
end

-- Keys that are not at work are forgotten when there are too many, those with the least use first.
local function trim()
  local u, n = used(), 0
  for _ in pairs(u) do n = n + 1 end
  if n <= C.keys then return end
  for k in luaswap.sorted_pairs(u) do
    if not active[k] then
      u[k] = nil
      n = n - 1
      if n <= C.keys then return end
    end
  end
end

return {
  api = 1,
  name = 'fair',
  version = '1.0.0',
  tick_interval = 60,
  settings = {
    swap_tokens = { type = 'integer', default = 4000, min = 0, doc = 'what a load costs, in tokens' },
    prompt_weight = { type = 'number', default = 0.1, min = 0, doc = 'how much of a token of output a token of input counts' },
    keys = { type = 'integer', default = 1000, min = 10, doc = 'how many keys are remembered' },
  },

  on_start = function()
    for r in luaswap.queue():each() do join(r) end
  end,
  on_request = function(r) join(r) end,
  on_cancel = leave,
  on_serve_done = function(r)
    local u, key = used(), r.ctx.counted or key_of(r)
    u[key] = (u[key] or 0) + (r.tokens_in or 0) * C.prompt_weight + (r.tokens_out or 0)
    leave(r)
  end,
  tick = trim,

  score = function(r)
    local u = S.used -- called for everybody in the line at every decision: no functions in between
    return -((u and u[r.key or r.client or 'nobody'] or 0) + (r.ready and 0 or C.swap_tokens))
  end,
}
