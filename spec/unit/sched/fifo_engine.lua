-- A second engine for fifo, written from the published pseudo-code (runtime.md 3.2, 3.3) and nothing else. It works
-- synchronously: events are calls, what they lead to lies in r.fx; r.swaps counts the swaps.
--   local r = require 'spec.unit.sched.fifo_engine'.new(models, groups)   r:request{ id =, model = }  r:serve_done(..)
local ref = {}
ref.__index = ref

local function new(models, groups)
  local r = setmetatable({ models = models, st = {}, active = {}, order = {}, q = {}, inflight = {}, reserved = {},
    gone = {}, group = {}, fx = {}, swaps = 0 }, ref)
  for id in pairs(models) do
    r.st[id], r.inflight[id], r.reserved[id] = 'stopped', 0, 0
    r.group[id] = { name = '(default)', swap = true, exclusive = true, persistent = false }
  end
  for name, g in pairs(groups) do
    for _, id in ipairs(g.members) do
      r.group[id] = { name = name, swap = g.swap, exclusive = g.exclusive, persistent = g.persistent }
    end
  end
  return r
end

function ref:emit(...) self.fx[#self.fx + 1] = { ... } end

function ref:running(except)
  local set, list = {}, {}
  for id, st in pairs(self.st) do if st ~= 'stopped' then set[id] = true end end
  for id in pairs(self.active) do if id ~= except then set[id] = true end end
  for id in pairs(set) do list[#list + 1] = id end
  table.sort(list)
  return list
end

function ref:ready_target()
  for id in pairs(self.active) do if self.st[id] == 'ready' then return true end end
end

function ref:plan(t, running)
  if self.matrix then return self.matrix:solve(t, running).evict end
  local evict, g = {}, self.group[t]
  for _, x in ipairs(running) do
    local h = self.group[x]
    if x ~= t and (h.name == g.name and g.swap or h.name ~= g.name and g.exclusive and not h.persistent) then
      evict[#evict + 1] = x
    end
  end
  return evict
end

function ref:serve(r)
  self:emit('serve', r.id, r.model)
  self.inflight[r.model] = self.inflight[r.model] + 1
end

function ref:fail(r, text)
  self.reserved[r.model] = self.reserved[r.model] - 1
  self:emit('error', r.id, text)
end

-- 'wait', or what was done.
function ref:place(r)
  local m = r.model
  if self.active[m] then
    table.insert(self.active[m].waiters, r)
    return 'joined'
  end
  local evict = self:plan(m, self:running(m))
  local clash, busy, wanted = false, false, {}
  for _, e in ipairs(evict) do
    wanted[e] = true
    if self.inflight[e] > 0 then busy = true end
  end
  for target, s in pairs(self.active) do
    if target ~= m then
      if wanted[target] then clash = true end
      for _, e in ipairs(s.evict) do if e == m or wanted[e] then clash = true end end
    end
  end
  if self.st[m] == 'ready' and #evict == 0 and not clash then
    self:serve(r)
    return 'served'
  elseif clash or busy then
    return 'wait'
  end
  self.active[m] = { evict = evict, waiters = { r } }
  self.swaps = self.swaps + 1
  self:emit('start_swap', m, evict)
  return 'started'
end

function ref:insert(r)
  local p = self.models[r.model].priority or 0
  local at = #self.q + 1
  for i, o in ipairs(self.q) do
    if (self.models[o.model].priority or 0) < p then at = i break end
  end
  table.insert(self.q, at, r)
end

function ref:walk()
  local old = self.q
  self.q = {}
  for _, r in ipairs(old) do
    if self:place(r) == 'wait' then self.q[#self.q + 1] = r end
  end
end

function ref:request(r)
  local limit = self.models[r.model].limit or 10
  if self.reserved[r.model] >= limit then return self:emit('reject', r.id, 'concurrency_limit') end
  self:emit('admit', r.id)
  self.reserved[r.model] = self.reserved[r.model] + 1
  if self:place(r) == 'wait' then self:insert(r) end
end

function ref:swap_done(m, err)
  local s = self.active[m]
  if not s then return end
  for _, e in ipairs(s.evict) do self.st[e] = 'stopped' end
  self.st[m] = err and 'stopped' or 'ready'
  self.active[m] = nil
  for _, r in ipairs(s.waiters) do
    if err then self:fail(r, err) else self:serve(r) end
  end
  self:walk()
end

function ref:serve_done(r)
  local m = r.model
  self.inflight[m], self.reserved[m] = self.inflight[m] - 1, self.reserved[m] - 1
  if self.inflight[m] == 0 then self:walk() end
end

function ref:cancel(r)
  local function drop(list)
    for i, o in ipairs(list) do
      if o == r then
        table.remove(list, i)
        self.reserved[r.model] = self.reserved[r.model] - 1
        return true
      end
    end
  end
  if drop(self.q) then return end
  for _, s in pairs(self.active) do if drop(s.waiters) then return end end
end

function ref:unload(models, timeout)
  local set = {}
  for _, m in ipairs(models) do
    set[m] = true
    if self.active[m] then
      for _, r in ipairs(self.active[m].waiters) do self:fail(r, 'group: model unloaded') end
      self.active[m] = nil
    end
  end
  local kept = {}
  for _, r in ipairs(self.q) do
    if set[r.model] then self:fail(r, 'group: model unloaded') else kept[#kept + 1] = r end
  end
  self.q = kept
  for _, m in ipairs(models) do self.st[m] = 'stopped' end
  self:emit('stop', models, timeout)
  self:walk()
end

return { new = new }
