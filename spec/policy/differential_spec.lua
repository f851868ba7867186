-- differential_spec.lua: the schedulers in C and their Lua twins give the same effects, line by line, on random
-- traces. A difference is shrunk by leaving things out, and printed as a table that can be run again.
local kit = require 'spec.policy.kit'
local policy = require 'spec.policy'
local shell = require 'spec.shell'

local TRACES = tonumber(os.getenv 'LUASWAP_TRACES') or 1000 -- for each of the two

local function rng(seed)
  local s = seed * 2654435761 % 4294967296
  return function(lo, hi)
    s = (s * 1664525 + 1013904223) % 4294967296
    return lo + (s >> 8) % (hi - lo + 1)
  end
end

local function generate(seed, scheduler)
  local r = rng(seed)
  local t = { scheduler = scheduler, seed = seed, reorder = scheduler == 'serial', models = {}, requests = {}, facts = {} }
  local n = r(1, 6)
  local groups = {}
  for g = 0, 2 do
    groups[g] = { swap = r(1, 3) > 1, exclusive = r(1, 3) > 1, persistent = r(1, 5) == 1 }
  end
  local default = r(1, 2) == 1
  for i = 1, n do
    local g = default and 0 or r(0, 2)
    t.models[i] = { id = ('m%d'):format(i * 5 % 7), load_s = r(0, 40) / 10, stop_s = r(0, 20) / 10,
      limit = r(1, 3) == 1 and r(1, 4) or 0, priority = r(1, 3) == 1 and r(-2, 3) or 0, group = g,
      group_swap = default or groups[g].swap, group_exclusive = default or groups[g].exclusive,
      group_persistent = not default and groups[g].persistent or false,
      fail = r(1, 3) == 1 and r(0, 300) or 0, stuck = r(1, 8) == 1 and r(0, 100) or 0,
      ignore_term = r(1, 3) == 1 and r(0, 500) or 0, ttl_s = r(1, 4) == 1 and r(1, 5) or 0 }
  end
  local at = 0
  for i = 1, r(4, 25) do
    if r(1, 3) > 1 then at = at + r(0, 30) / 10 end -- else in the same millisecond
    t.requests[i] = { at = at, model = t.models[r(1, n)].id, serve_s = r(1, 6) == 1 and 0 or r(1, 50) / 10,
      cancel_s = r(1, 4) == 1 and r(0, 80) / 10 or nil, priority = r(1, 8) == 1 and r(-2, 3) or 0 }
  end
  for i = 1, r(0, 3) do
    local what = ({ 'crash', 'unload', 'unload_all' })[r(1, 3)]
    t.facts[i] = { what = what, at = r(0, math.max(1, math.floor(at * 10))) / 10, model = t.models[r(1, n)].id }
  end
  return t
end

local function run(t, file)
  local w = assert(policy.new { models = t.models, scheduler = t.scheduler, seed = t.seed, reorder = t.reorder,
    eager = t.eager and not file,
    policies = file and { { file = file, starve_after = 0, hold_limit = 600 } } or nil })
  for _, q in ipairs(t.requests) do w:request(q) end
  for _, f in ipairs(t.facts) do
    if f.what == 'crash' then w:crash(f.model, f.at)
    elseif f.what == 'unload' then w:unload(f.model, f.at)
    else w:unload(nil, f.at) end
  end
  local ok, err = pcall(w.run, w)
  local log = w:text 'log'
  local bad = w:result()
  w:free()
  if not ok then log = log .. err end
  -- wake-ups are a matter between the loop and its timer; the number of an order is not an effect either
  log = log:gsub('[^\n]*WAKE_AT[^\n]*\n', '')
  return log, bad.errors + bad.invalid + bad.ejections
end

local function differs(t, file)
  local a = run(t, nil)
  local b, bad = run(t, file)
  if a == b and bad == 0 then return nil end
  return a, b, bad
end

-- Leaves out requests and facts one by one as long as the difference stays.
local function shrink(t, file)
  local smaller = true
  while smaller do
    smaller = false
    for _, list in ipairs { t.requests, t.facts } do
      for i = #list, 1, -1 do
        local gone = table.remove(list, i)
        if differs(t, file) then smaller = true else table.insert(list, i, gone) end
      end
    end
  end
  return t
end

local function show(v, indent)
  if type(v) == 'string' then return ('%q'):format(v) end
  if type(v) ~= 'table' then return tostring(v) end
  local parts = {}
  for i, x in ipairs(v) do parts[i] = show(x) end
  local keys = {}
  for k in pairs(v) do if type(k) == 'string' then keys[#keys + 1] = k end end
  table.sort(keys)
  for _, k in ipairs(keys) do parts[#parts + 1] = k .. ' = ' .. show(v[k]) end
  return '{ ' .. table.concat(parts, indent and ',\n  ' or ', ') .. ' }'
end

local function compare(scheduler, file, eager)
  file = file or shell.root .. '/lua/luaswap/sched/' .. scheduler .. '.lua'
  local first = tonumber(os.getenv 'LUASWAP_SEED') or 1
  for seed = first, first + (eager and TRACES // 2 or TRACES) - 1 do
    local t = generate(seed, scheduler)
    t.eager = eager
    if differs(t, file) then
      local a, b = differs(shrink(t, file), file)
      error(('%s, seed %d:\n%s\n-- C:\n%s-- Lua:\n%s'):format(scheduler, seed, show(t, true), a, b), 0)
    end
  end
end

describe('the Lua twins', function()
  it('serial does what serial.c does', function() compare 'serial' end)
  it('fifo does what fifo.c does', function() compare 'fifo' end)

  -- As `classic` the twin's pick_next is not asked: without the flag both sides are asked at every event.
  it('fifo asked at every event does what fifo.c does then', function()
    local text = io.open(shell.root .. '/lua/luaswap/sched/fifo.lua'):read 'a'
    local eager, n = text:gsub('classic = true', 'classic = false')
    assert.equal(1, n)
    compare('fifo', kit.file(eager, 'fifo'), true)
    kit.clean()
  end)

  it('the comparison finds a twin that is wrong, and shrinks', function()
    local wrong = kit.file [[return { api = 1, name = 'serial', plan_ready = true,
      pick_next = function(q) return q[2] or q[1] end }]]
    local function caught(scheduler, file, eager)
      for seed = 1, 100 do
        local t = generate(seed, scheduler)
        t.eager = eager
        if differs(t, file) then return shrink(t, file) end
      end
    end
    local found = assert.is_table(caught('serial', wrong))
    assert.is_true(#found.requests <= 4)
    -- a picker that is only sometimes wrong, and a planner that stops one too few
    found = assert.is_table(caught('fifo', kit.file [[return { api = 1, name = 'fifo', plan_ready = true,
      pick_next = function(q) local a, b = q[1], q[2]
        return b and b.priority == a.priority and b.model < a.model and not b.ready and b or a end }]], true))
    assert.is_true(#found.requests <= 5)
    found = assert.is_table(caught('fifo', kit.file [[return { api = 1, name = 'fifo', classic = true, plan_ready = true,
      plan_swap = function(m) local p = luaswap.builtin.plan_swap(m)
        if #p.evict > 1 then p.when = 'drain' end return p end }]]))
    assert.is_true(#found.requests <= 6)
    kit.clean()
  end)
end)
