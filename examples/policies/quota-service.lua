-- Quota service: asks an HTTP service whether a key may go on; answers are kept for a while; when the service does not
-- answer, everybody may.
local C = luaswap.config
local cache = {} -- key -> { ok, till }

local function forget(now)
  for key, hit in pairs(cache) do
    if hit.till <= now then cache[key] = nil end
  end
end

local function allowed(key)
  local now = luaswap.now()
  local hit = cache[key]
  if hit and hit.till > now then return hit.ok end
  local name = key:gsub('[^%w_.-]', function(c) return ('%%%02X'):format(c:byte()) end)
  local res, err = luaswap.http.get(C.url .. '?key=' .. name, { timeout = 0.5 })
  if not res or res.status ~= 200 then
    luaswap.log.warn('quota service: %s', err or tostring(res.status))
    luaswap.metrics.counter('quota_errors')
    return true
  end
  local answer = res:json()
  local ok = type(answer) ~= 'table' or answer.allow ~= false
  cache[key] = { ok = ok, till = luaswap.now() + C.keep }
  return ok
end

return {
  api = 1,
  name = 'quota-service',
  requires = { 'http' },
  tick_interval = 60,
  settings = {
    url = { type = 'string', default = 'http://127.0.0.1:9000/check', doc = 'also on http_allow' },
    keep = { type = 'number', default = 30, min = 0, unit = 's', doc = 'how long an answer counts' },
  },

  route = function(req) -- may wait
    if req.key and not allowed(req.key) then
      return luaswap.reject(429, 'quota exhausted', { retry_after = 60, code = 'quota' })
    end
  end,
  tick = forget,
}
