-- traffic.lua: helpers of the specs about scheduling: fake models that write one common log, requests with numbers,
-- and what the log says about them.
--
--   local traffic = require 'spec.support.traffic'
--   local t = traffic.start { models = { { 'a', '--load-ms 100', { concurrencyLimit = 2 } }, 'b' }, top = yaml,
--                             use = 'fifo', fifo = { maxWait = 1 }, groups = { g = { swap = true, members = {...} } } }
--   t.srv  t:send(model, id, fake, extra) -> connection with the request sent   t:ok(conn)  t:status(conn)
--   t:hold(model, id) -> connection of a stream that lasts until it is closed
--   t:events(ev [, model])  t:ids(model)  t:loads()  t:was_served(id)  t:queued(n)  t:states()  t:swaps_done()
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local traffic = {}
traffic.__index = traffic

local function flow(v)
  if type(v) ~= 'table' then return tostring(v) end
  local out = {}
  if #v > 0 then
    for i, x in ipairs(v) do out[i] = flow(x) end
    return '[' .. table.concat(out, ', ') .. ']'
  end
  for k, x in pairs(v) do out[#out + 1] = ('%s: %s'):format(k, flow(x)) end
  table.sort(out)
  return '{ ' .. table.concat(out, ', ') .. ' }'
end

function traffic.start(o)
  local log = net.tmpdir() .. '/events'
  local models = {}
  for i, m in ipairs(o.models) do
    if type(m) == 'string' then m = { m } end
    models[i] = { m[1], ('--silent --log %s %s'):format(log, m[2] or ''), m[3] }
  end
  local use = o.use or 'fifo'
  local top = ('routing:\n  scheduler: { use: %s, settings: { %s: %s } }\n'):format(use, use, flow(o[use] or {}))
  if o.groups then top = top .. ('  router: { settings: { groups: %s } }\n'):format(flow(o.groups)) end
  if o.matrix then -- text, because the order of its sets counts
    top = top .. '  router:\n    use: matrix\n    settings:\n      matrix:\n' .. o.matrix:gsub('[^\n]+', '        %0') .. '\n'
  end
  return setmetatable({ srv = server.start { config = server.config(top .. (o.top or ''), models) }, log = log }, traffic)
end

function traffic:entry(model, id, fake, extra)
  local body = { model = model, id = id, messages = {}, fake = fake }
  for k, v in pairs(extra or {}) do body[k] = v end
  return { port = self.srv.port, path = '/v1/chat/completions', body = body }
end

function traffic:send(model, id, fake, extra)
  local c = http.connect(self.srv.port)
  return c:request('POST', '/v1/chat/completions', self:entry(model, id, fake, extra))
end

-- A stream that occupies its model until it is closed; the model has it when this returns.
function traffic:hold(model, id)
  local c = self:send(model, id, { endless = true, tps = 50 }, { stream = true })
  local r = c:head(20 * wait.slow)
  if not r or r.status ~= 200 then error(('hold of %s: %s'):format(model, r and r.status), 2) end
  return c
end

function traffic.status(_, c, timeout)
  local r, why = c:response(timeout or 20 * wait.slow)
  c:close()
  return r and r.status or why, r
end

function traffic:ok(c, timeout)
  local status, r = self:status(c, timeout)
  if status ~= 200 or not r.done then error(('%s %s: %s'):format(status, r and r.cut, r and r.body), 2) end
  return r
end

-- Several that are sent at once, one soon after the other; their answers in order.
function traffic:all(list, stagger)
  local entries = {}
  for i, e in ipairs(list) do entries[i] = self:entry(table.unpack(e)) end
  http.all(entries, 60 * wait.slow, { stagger = stagger or 0.01 })
  local out = {}
  for i, e in ipairs(entries) do out[i] = e.response or { status = e.why } end
  return out
end

function traffic:events(ev, model)
  local list = {}
  for _, e in ipairs(server.read_events(self.log)) do
    if (not ev or e.ev == ev) and (not model or e.model == model) then list[#list + 1] = e end
  end
  return list
end

-- Numbers of the requests that reached a model, in order.
function traffic:ids(model)
  local list = {}
  for _, e in ipairs(self:events('start', model)) do list[#list + 1] = e.req end
  return list
end

-- Names of the models that were started, in order.
function traffic:loads()
  local list = {}
  for _, e in ipairs(self:events 'up') do list[#list + 1] = e.model end
  return list
end

function traffic:was_served(id)
  return wait.till(function()
    for _, e in ipairs(self:events 'start') do if e.req == id then return e end end
  end, 20, ('the model to get %s'):format(id))
end

-- Time of the first event of that kind of a model.
function traffic:at(ev, model)
  local e = self:events(ev, model)[1]
  return e and e.t or error(('no %s of %s'):format(ev, model), 2)
end

function traffic:state() return self.srv:get '/debug/state':json() end

-- Waits until n requests are in the line (or wait for a load).
function traffic:queued(n)
  wait.till(function()
    local list = self:state().requests.queued or {}
    return #list == n, #list
  end, 10, ('%d requests to wait'):format(n))
end

function traffic:states()
  local map = {}
  for _, m in ipairs(self.srv:get '/running':json().running) do map[m.model] = m.state end
  return map
end

function traffic:is(model, state, seconds)
  wait.till(function()
    local s = self:states()[model] or 'stopped'
    return s == state, s
  end, seconds or 10, ('%s to be %s'):format(model, state))
end

-- Nothing is left inside but the question itself.
function traffic:at_rest()
  wait.till(function()
    local s, n = self:state(), 0
    for _, list in pairs(s.requests) do n = n + #list end
    return n == 1 and s.scheduler.waiting == 0 and s.scheduler.inflight == 0 and s.buffered_bytes == 0
      and s.checks_failed == 0, require 'dkjson'.encode(s.requests)
  end, 10, 'everything to be over')
end

-- The largest number of requests of a model that were with it at once.
function traffic:most_at_once(model)
  local open, most = 0, 0
  for _, e in ipairs(self:events(nil, model)) do
    if e.ev == 'start' then open = open + 1 elseif e.ev == 'end' or e.ev == 'gone' then open = open - 1 end
    most = math.max(most, open)
  end
  return most
end

return traffic
