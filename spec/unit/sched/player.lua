-- A player of recorded lives (the format of spec/vectors/{serial,fifo}_trace.jsonl).
--
-- The reference has one "swap" effect and a synchronous unload; ours is asynchronous. The player stands between:
-- it answers STOP and START when the life says so and writes down what happened in the words of the format.
local assert = require 'luassert'
local json = require 'dkjson'
local sched = require 'spec.sched'

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

-- ---- configuration of a vector ----

local function conf_of(v, kind)
  local conf = { kind = kind, models = {}, matrix = v.matrix }
  if kind == 'serial' then
    for _, id in ipairs(v.models) do conf.models[#conf.models + 1] = { id = id } end
    return conf
  end
  local group_of, number = {}, 0
  for _, name in ipairs(sorted_keys(v.groups)) do
    number = number + 1
    for _, id in ipairs(v.groups[name].members) do
      group_of[id] = { number = number, g = v.groups[name] }
    end
  end
  for _, id in ipairs(sorted_keys(v.models)) do
    local m, g = v.models[id], group_of[id]
    conf.models[#conf.models + 1] = {
      id = id, limit = m.limit, priority = m.priority, group = g and g.number or 0,
      group_swap = not g or g.g.swap, group_exclusive = not g or g.g.exclusive,
      group_persistent = g ~= nil and g.g.persistent,
    }
  end
  return conf
end

-- ---- the player ----

local player = {}
player.__index = player

local function new_player(v, kind)
  local p = setmetatable({ s = sched.new(conf_of(v, kind)), known = {}, gone = {}, fx = {}, now = 0 }, player)
  for _, m in ipairs(conf_of(v, kind).models) do p.known[m.id] = true end
  for id, state in pairs(v.states) do
    if state ~= 'stopped' then p.s:adopt(id, state) end
  end
  return p
end

local function ticket_of(req) return tonumber(req:match '%d+') + 1 end
local function req_of(ticket) return 'r' .. ticket - 1 end

local why = { ERR_BUSY = 'concurrency_limit', ERR_UNKNOWN_MODEL = 'not_found' }

function player:note(a)
  local fx = self.fx
  if a.kind == 'ADMIT' then
    fx[#fx + 1] = { 'admit', req_of(a.ticket) }
    self.admitted[a.ticket] = true
  elseif a.kind == 'REJECT' then
    if self.admitted[a.ticket] then
      fx[#fx + 1] = { 'error', req_of(a.ticket), a.text }
    else
      fx[#fx + 1] = { 'reject', req_of(a.ticket), why[a.code] }
    end
  elseif a.kind == 'SWAP' then
    fx[#fx + 1] = { 'start_swap', a.model, a.evict }
  elseif a.kind == 'GRANT' then
    local req = req_of(a.ticket)
    if self.gone[req] then
      fx[#fx + 1] = { 'serve_failed', req, a.model }
      self.failed[#self.failed + 1] = a.ticket
    else
      fx[#fx + 1] = { 'serve', req, a.model }
    end
  elseif a.kind == 'STOP' then
    self.stops[#self.stops + 1] = a
  elseif a.kind == 'UNLOADED' then
    self.unloaded = a
  end
end

function player:post(ev)
  self.now = self.now + 1
  ev.now = self.now
  for _, a in ipairs(self.s:post(ev)) do self:note(a) end
  local broken = self.s:check()
  assert(not broken, broken)
  while #self.failed > 0 do
    self:post { kind = 'DONE', ticket = table.remove(self.failed, 1) }
  end
end

function player:down(id)
  if self.s:state(id) ~= 'stopped' then
    self:post { kind = 'MODEL_DOWN', model = id, swap = self.s:state(id) == 'ready' and 0 or self.s:order(id) }
  end
end

function player:up(id)
  if self.s:state(id) == 'stopping' then self:down(id) end
  if self.s:state(id) == 'starting' and self.s:order(id) > 0 then
    self:post { kind = 'MODEL_UP', model = id, swap = self.s:order(id) }
  elseif self.s:state(id) ~= 'ready' then
    self.s:adopt(id, 'ready')
  end
end

function player:swap_of(id)
  for _, sw in ipairs(self.s:swaps()) do
    if sw.model == id then return sw end
  end
end

-- The facts of an event, processes that end first.
function player:set_states(states, but)
  for _, id in ipairs(sorted_keys(states)) do
    -- the generated lives restart a target that was up already
    if states[id] == 'starting' and self.s:state(id) == 'ready' then self:down(id) end
  end
  for _, id in ipairs(sorted_keys(states)) do
    if states[id] == 'stopped' and id ~= but then self:down(id) end
  end
  for _, id in ipairs(sorted_keys(states)) do
    local want, have = states[id], self.s:state(id)
    if id ~= but and want ~= have then
      if want == 'ready' then
        self:up(id)
      elseif want == 'starting' then
        if have == 'stopped' and not self:swap_of(id) then self.s:adopt(id, 'starting') end
      elseif want == 'stopping' then
        self.s:adopt(id, 'stopping')
      end
    end
  end
end

function player:swap_done(ev)
  local sw = self:swap_of(ev.model)
  self:set_states(ev.states or {}, sw and ev.model or nil)
  if not sw then -- the result of a load that nobody waits for any more
    self:post { kind = ev.error and 'MODEL_FAILED' or 'MODEL_UP', model = ev.model, swap = 0, text = ev.error }
    return
  end
  -- A target that was up all along is handed over with the end of its last victim.
  local function open() return self:swap_of(ev.model) and self:swap_of(ev.model).id == sw.id end
  for _, id in ipairs(sw.evict) do
    if open() then self:down(id) end
  end
  if not open() then return end
  if self.s:state(ev.model) == 'stopping' then self:down(ev.model) end
  if self.s:state(ev.model) == 'starting' then
    self:post { kind = ev.error and 'MODEL_FAILED' or 'MODEL_UP', model = ev.model, swap = self.s:order(ev.model),
                text = ev.error }
  end
end

function player:unload(ev)
  self:post { kind = 'UNLOAD', op = 7, models = ev.models, grace_ms = ev.timeout_s * 1000 }
  local fx = self.fx
  local at = 1
  while fx[at] and fx[at][1] == 'error' do at = at + 1 end
  table.insert(fx, at, { 'stop', ev.models, ev.timeout_s })
  local targets = {}
  for _, id in ipairs(ev.models) do targets[id] = true end
  for _, a in ipairs(self.stops) do
    if targets[a.model] then assert.equal(ev.timeout_s * 1000, a.grace) end
  end
  for _, id in ipairs(ev.models) do
    if self.known[id] then self:down(id) end
  end
  assert(self.unloaded and self.unloaded.op == 7, 'the unload was not answered')
end

function player:event(ev)
  self.fx, self.failed, self.stops, self.unloaded = {}, {}, {}, nil
  self.admitted = self.admitted or {}
  for _, req in ipairs(ev.gone or {}) do self.gone[req] = true end
  if ev.ev ~= 'swap_done' then self:set_states(ev.states or {}) end
  if ev.ev == 'request' then
    if not self.gone[ev.req] then
      self:post { kind = 'ARRIVE', ticket = ticket_of(ev.req), model = ev.model, positions = true }
    end
  elseif ev.ev == 'cancel' then
    self:post { kind = 'CANCEL', ticket = ticket_of(ev.req) }
  elseif ev.ev == 'serve_done' then
    self:post { kind = 'DONE', ticket = ticket_of(ev.req) }
  elseif ev.ev == 'swap_done' then
    self:swap_done(ev)
  elseif ev.ev == 'unload' then
    self:unload(ev)
  elseif ev.ev == 'shutdown' then
    self:post { kind = 'DRAIN' }
  end
  return self.fx
end

-- ---- comparing ----

local function same_text(want, got)
  return want == got or want:find(got, 1, true) ~= nil
end

-- Runs of errors have no order in unload and shutdown.
local function sort_errors(fx)
  local out, i = {}, 1
  while i <= #fx do
    local j = i
    while fx[j] and fx[j][1] == 'error' do j = j + 1 end
    if j > i then
      local run = table.move(fx, i, j - 1, 1, {})
      table.sort(run, function(a, b) return ticket_of(a[2]) < ticket_of(b[2]) end)
      table.move(run, 1, #run, #out + 1, out)
      i = j
    else
      out[#out + 1] = fx[i]
      i = i + 1
    end
  end
  return out
end

local function check(v, kind)
  local p = new_player(v, kind)
  for i, ev in ipairs(v.events) do
    local where = ('%s, event %d %s'):format(v.id, i, json.encode(ev))
    local ok, fx = xpcall(p.event, debug.traceback, p, ev)
    assert(ok, where .. ': ' .. tostring(fx))
    local want = v.expect[i].fx
    if ev.ev == 'unload' or ev.ev == 'shutdown' then fx, want = sort_errors(fx), sort_errors(want) end
    for k = 1, math.max(#fx, #want) do
      local w, g = want[k], fx[k]
      if w and g and w[1] == 'error' and g[1] == 'error' and w[2] == g[2] and same_text(w[3], g[3]) then g[3] = w[3] end
    end
    assert.same(want, fx, where)
    if ev.ev ~= 'shutdown' then -- the reference leaves rejected requests in its list
      local line = {}
      for _, t in ipairs(p.s:line()) do line[#line + 1] = req_of(t) end
      assert.same(v.expect[i].queue, line, where)
    end
  end
end

-- Plays the life and compares each event's effects and line with v.expect.
return { check = check }
