-- fifo against a second engine, written from the published pseudo-code (runtime.md 3.2, 3.3) and nothing else:
-- random lives, the same effects in the same order, event by event. (Its matrix planner is our solver, which
-- matrix_spec.lua holds against a plain one.)
local json = require 'dkjson'
local engine = require 'spec.unit.sched.fifo_engine'
local sched = require 'spec.sched'
local player = require 'spec.unit.sched.player'

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
  local r = engine.new(v.models, v.groups)
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
