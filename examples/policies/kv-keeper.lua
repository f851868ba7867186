-- KV keeper: saves a model's caches before it is stopped and restores them after it was loaded again, through
-- llama-server's /slots endpoints (it must be started with --slot-save-path). The swap waits, but not for ever.
local C = luaswap.config
local S = luaswap.state

local function url(m, slot, what)
  local base = C.urls[m.id]
  return base and ('%s/slots/%d?action=%s'):format(base, slot, what)
end

local function each_slot(m, what)
  for slot = 0, C.slots - 1 do
    local u = url(m, slot, what)
    if not u then return end
    local name = ('%s-%d.kv'):format(m.id:gsub('[^%w_-]', '_'), slot)
    local res, err = luaswap.http.post(u, luaswap.json.encode { filename = name }, { timeout = 5 })
    if not res or res.status ~= 200 then
      luaswap.log.warn('%s of slot %d: %s', what, slot, err or tostring(res.status))
      return
    end
    S.saved = S.saved or {}
    S.saved[m.id] = true
  end
end

return {
  api = 1,
  name = 'kv-keeper',
  requires = { 'http' },
  settings = {
    urls = { type = 'map', default = {}, doc = 'model -> http://127.0.0.1:PORT, also on http_allow' },
    slots = { type = 'integer', default = 1, min = 1, max = 16 },
  },

  before_stop = function(m) each_slot(m, 'save') end,
  after_ready = function(m)
    if S.saved and S.saved[m.id] then each_slot(m, 'restore') end
  end,
}
