-- fifo against a second engine, written from the published pseudo-code (runtime.md 3.2, 3.3) and nothing else:
-- random lives, the same effects in the same order, event by event. (Its matrix planner is our solver, which
-- matrix_spec.lua holds against a plain one.)
local json = require 'dkjson'
local sched = require 'spec.sched'
local player = require 'spec.unit.sched.player'

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

-- ---- a random life, in the words of the vectors ----

local function random_sets(names)
  local sets = {}
  for i = 1, math.random(3) do
    local terms = {}
    for j = 1, math.random(3) do
      local atoms = {}
      for k = 1, math.random(3) do atoms[k] = names[math.random(#names)] end
      terms[j] = table.concat(atoms, ' & ')
    end
    sets[i] = { 's' .. i, table.concat(terms, ' | ') }
  end
  return sets
end

local function life(seed, events, matrix)
  math.randomseed(seed)
  local all = { 'a', 'b', 'c', 'd', 'e' }
  local v = { id = 'seed ' .. seed, models = {}, groups = {}, states = {}, events = {}, expect = {} }
  local names, n = {}, math.random(2, 5)
  for i = 1, n do
    names[i] = all[i]
    v.models[all[i]] = { limit = math.random(3) == 1 and math.random(3) or nil,
      priority = math.random(2) == 1 and math.random(-3, 5) or nil }
  end
  local layout = matrix and 1 or math.random(4)
  if layout > 1 then
    for i = 1, layout - 1 do
      v.groups['g' .. i] = { swap = math.random(3) > 1, exclusive = math.random(3) > 1,
        persistent = math.random(4) == 1, members = {} }
    end
    for i = 1, n do
      local g = math.random(0, layout - 1)
      if g > 0 then table.insert(v.groups['g' .. g].members, names[i]) end
    end
  end
  local r = new(v.models, v.groups)
  if matrix then
    v.groups, v.matrix = {}, { models = names, sets = random_sets(names), costs = { [names[1]] = math.random(3) } }
    r.matrix = sched.matrix(v.matrix)
  end
  local live, count = {}, 0
  local function step(ev)
    r.fx = {}
    local act = ev.ev
    if act == 'request' then r:request(ev.r)
    elseif act == 'cancel' then r:cancel(ev.r)
    elseif act == 'serve_done' then r:serve_done(ev.r)
    elseif act == 'swap_done' then r:swap_done(ev.model, ev.error)
    elseif act == 'unload' then r:unload(ev.models, ev.timeout_s) end
    ev.r = nil
    local q = {}
    for i, o in ipairs(r.q) do q[i] = o.id end
    v.events[#v.events + 1] = ev
    v.expect[#v.expect + 1] = { fx = r.fx, queue = q }
    -- who serves, by the effects
    for _, fx in ipairs(r.fx) do
      local id = fx[2]
      if fx[1] == 'serve' then live[id].serving = true
      elseif fx[1] == 'error' or fx[1] == 'reject' then live[id] = nil end
    end
  end
  local function any(test)
    local list = {}
    for _, o in pairs(live) do if test(o) then list[#list + 1] = o end end
    table.sort(list, function(x, y) return x.n < y.n end)
    return #list > 0 and list[math.random(#list)] or nil
  end
  local function swapping()
    local list = {}
    for id in pairs(r.active) do list[#list + 1] = id end
    table.sort(list)
    return #list > 0 and list[math.random(#list)] or nil
  end
  for _ = 1, events do
    local dice = math.random(100)
    if dice <= 45 then
      count = count + 1
      local o = { id = 'r' .. count, n = count, model = names[math.random(n)] }
      live[o.id] = o
      step { ev = 'request', req = o.id, model = o.model, r = o }
    elseif dice <= 70 then
      local o = any(function(x) return x.serving end)
      if o then
        live[o.id] = nil
        step { ev = 'serve_done', req = o.id, model = o.model, r = o }
      end
    elseif dice <= 88 then
      local m = swapping()
      if m then
        local states, err = {}, math.random(6) == 1 and 'upstream command exited prematurely' or nil
        if r.st[m] == 'ready' then err = nil end
        for _, e in ipairs(r.active[m].evict) do states[e] = 'stopped' end
        states[m] = err and 'stopped' or 'ready'
        step { ev = 'swap_done', model = m, error = err, states = states }
      end
    elseif dice <= 95 then
      local o = any(function(x) return not x.serving end)
      if o then
        live[o.id] = nil
        step { ev = 'cancel', req = o.id, r = o }
      end
    else
      local targets, states = {}, nil
      for i = 1, n do
        -- (a swap whose target is up already ends with its last victim; the vectors cannot say that)
        if math.random(3) == 1 and not r:ready_target() then
          targets[#targets + 1] = names[i]
          if r.active[names[i]] then -- its worker had got as far as this
            states = states or {}
            for _, e in ipairs(r.active[names[i]].evict) do states[e], r.st[e] = 'stopped', 'stopped' end
          end
        end
      end
      if #targets > 0 then step { ev = 'unload', models = targets, timeout_s = math.random(20), states = states } end
    end
  end
  return v, r
end

describe('fifo against a second engine', function()
  it('random lives have the same effects', function()
    local seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()
    for i = 1, tonumber(os.getenv 'LUASWAP_LIVES') or 150 do
      local v = life(seed + i, 80, i % 2 == 0)
      local ok, err = pcall(player.check, v, 'fifo')
      assert(ok, ('LUASWAP_SEED=%d LUASWAP_LIVES=%d: %s\n%s'):format(seed, i, err, json.encode { v.models,
        v.groups, v.matrix or false }))
    end
  end)

  it('1,000 requests over 5 models: as many swaps as the reference, none lost', function()
    local v, r = life(4711, 2600)
    assert.is_true(#v.events > 1000 and r.swaps > 50)
    player.check(v, 'fifo')
  end)
end)
