-- A scheduler with people around it, one event at a time, for specs: requests have names, effects are short
-- lines. The promises of sched_check are looked at after each event.
--
--   local w = play.new { kind = 'serial', models = { 'a', 'b' } }
--   w:arrive('r1', 'a'):expect { 'admit r1', 'swap a', 'start a' }
--   w:up('a'):expect { 'grant r1' }
local assert = require 'luassert'
local sched = require 'spec.sched'

local play = {}
play.__index = play

function play.new(conf)
  local w = setmetatable({ s = sched.new(conf), now = 0, ids = {}, names = {}, next = 1, log = {}, places = {} }, play)
  return w
end

function play.serial(...)
  return play.new { kind = 'serial', models = { ... } }
end

function play.fifo(...)
  return play.new { kind = 'fifo', models = { ... } }
end

local function line_of(w, a)
  local who = a.ticket and (w.names[a.ticket] or '#' .. a.ticket)
  if a.kind == 'ADMIT' then return 'admit ' .. who end
  if a.kind == 'GRANT' then return 'grant ' .. who end
  if a.kind == 'REJECT' then return ('reject %s %s'):format(who, a.code:gsub('ERR_', ''):lower()) end
  if a.kind == 'START' then return 'start ' .. a.model end
  if a.kind == 'STOP' then return 'stop ' .. a.model end
  if a.kind == 'ABORT_SERVE' then return 'abort ' .. who end
  if a.kind == 'MOVED' then return ('moved %s %s'):format(who, a.model) end
  if a.kind == 'UNLOADED' then return 'unloaded ' .. a.op .. (a.code ~= '' and ' stuck' or '') end
  if a.kind == 'SWAP' then
    return 'swap ' .. a.model .. (#a.evict > 0 and ' -' .. table.concat(a.evict, ',') or '')
  end
end

function play:post(ev)
  ev.now = self.now
  self.actions = self.s:post(ev)
  for _, a in ipairs(self.actions) do
    if a.kind == 'POSITION' then
      table.insert(self.places, self.names[a.ticket] .. ':' .. a.n)
    elseif a.kind == 'WAKE_AT' then
      self.wake = a.at
    else
      self.log[#self.log + 1] = line_of(self, a)
    end
    if a.kind == 'STOP' then self.grace = a.grace end
    if a.kind == 'REJECT' then self.text = a.text end
  end
  local broken = not self.unchecked and self.s:check()
  if broken then error(broken .. '\n' .. self.s:dump(), 2) end
  return self
end

function play:arrive(name, model, more)
  local id = self.next
  self.next = id + 1
  self.ids[name], self.names[id] = id, name
  local ev = { kind = 'ARRIVE', ticket = id, model = model }
  for k, v in pairs(more or {}) do ev[k] = v end
  return self:post(ev)
end

function play:cancel(name) return self:post { kind = 'CANCEL', ticket = self.ids[name] } end
function play:done(name, died) return self:post { kind = 'DONE', ticket = self.ids[name], died = died } end
function play:retry(name, sent) return self:post { kind = 'RETRY', ticket = self.ids[name], sent = sent } end
function play:move(name, model) return self:post { kind = 'MOVE', ticket = self.ids[name], model = model } end
function play:up(model, swap)
  return self:post { kind = 'MODEL_UP', model = model, swap = swap or self.s:order(model) }
end
function play:down(model, swap)
  return self:post { kind = 'MODEL_DOWN', model = model, swap = swap or self.s:order(model) }
end
function play:crash(model) return self:post { kind = 'MODEL_DOWN', model = model, swap = 0 } end
function play:stuck(model) return self:post { kind = 'MODEL_STUCK', model = model, swap = self.s:order(model) } end
function play:failed(model, text)
  return self:post { kind = 'MODEL_FAILED', model = model, swap = self.s:order(model), text = text or 'no' }
end
function play:unload(models, op, grace)
  return self:post { kind = 'UNLOAD', models = models, op = op or 1, grace_ms = grace }
end
function play:recycle(models, op, patience)
  return self:post { kind = 'RECYCLE', models = models, op = op or 1, grace_ms = patience or 30000 }
end
function play:preload(model, evict) return self:post { kind = 'PRELOAD', model = model, evict = evict } end
function play:drain(grace) return self:post { kind = 'DRAIN', grace_ms = grace } end
function play:tick(at)
  if at then self.now = at end
  return self:post { kind = 'TICK' }
end
function play:adopt(model, state) self.s:adopt(model, state, self.now); return self end

-- What happened since the last look.
function play:take()
  local log = self.log
  self.log = {}
  return log
end

function play:expect(want)
  assert.same(want, self:take())
  return self
end

-- Places told since the last look, as 'name:place'.
function play:told(want)
  assert.same(want, self.places)
  self.places = {}
  return self
end

function play:line()
  local names = {}
  for i, id in ipairs(self.s:line()) do names[i] = self.names[id] end
  return table.concat(names, ' ')
end

-- A model that is up and idle, without a trace in the log.
function play:ready(model)
  return self:adopt(model, 'ready')
end

return play
