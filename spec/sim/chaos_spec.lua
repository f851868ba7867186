-- Random lives against the oracle of src/sim (an own table of processes and tickets) and sched_check after every
-- event. A failure prints the seed of the world that broke; show it with
--   LUASWAP_WORLD=<seed> luaswap-spec spec/sim/chaos_spec.lua
-- More than the usual number of events: LUASWAP_TRACE_EVENTS=10000000. Another draw: LUASWAP_SEED=7.
local sim = require 'spec.sim'

local events = tonumber(os.getenv 'LUASWAP_TRACE_EVENTS') or 100000
local seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()

local function run(conf)
  conf.seed, conf.events = seed, conf.events or events
  conf.world = tonumber(os.getenv 'LUASWAP_WORLD')
  local stats, message, trace = sim.chaos(conf)
  if not stats then
    if conf.world then print(trace) end
    error(('%s (LUASWAP_SEED=%d)'):format(message, seed), 2)
  end
  return stats
end

describe('random lives', function()
  it('A032: serial, over ' .. events .. ' events', function()
    local s = run { scheduler = 'serial' }
    -- the draw has to reach what it is meant to reach
    for _, what in ipairs { 'served', 'refused', 'failed', 'left', 'retried', 'moved', 'cut', 'crashes', 'stuck',
      'unloads' } do
      assert.is_true(s[what] > 0, what)
    end
  end)

  it('serial with reloads, also between the schedulers', function()
    run { scheduler = 'serial', reloads = true }
  end)

  it('fifo, default group', function()
    local s = run { scheduler = 'fifo' }
    for _, what in ipairs { 'served', 'refused', 'failed', 'left', 'retried', 'moved', 'crashes', 'unloads' } do
      assert.is_true(s[what] > 0, what)
    end
  end)

  it('fifo, groups', function()
    run { scheduler = 'fifo', planner = 'groups' }
  end)

  it('fifo, matrix', function()
    run { scheduler = 'fifo', planner = 'matrix' }
  end)

  it('fifo with groups, matrix and reloads', function()
    run { scheduler = 'fifo', planner = 'groups', reloads = true }
    run { scheduler = 'fifo', planner = 'matrix', reloads = true }
  end)

  it('a row of decisions drawn by lot breaks nothing and loses nobody', function()
    for n = 0, 15 do
      run { scheduler = 'fifo', planner = 'groups', hostile = n, reloads = n % 2 == 1, events = events // 16 }
      run { scheduler = 'serial', hostile = n, events = events // 32 }
    end
  end)
end)

describe('the simulator', function()
  it('serves the loaded model before it swaps', function()
    local s = sim.new { scheduler = 'fifo', models = { 'a', 'b' }, start_ms = 500 }
    s:arrive 'a' s:arrive 'b' s:arrive 'a'
    s:run()
    assert.same({ 'a', 'a', 'b' }, (s:granted()))
    assert.equal(1, s:stops 'a')
  end)

  it('A B C A under serial: served in that order, one process at any time', function()
    local s = sim.new { scheduler = 'serial', models = { 'a', 'b', 'c' }, start_ms = 500, stop_ms = 30 }
    for _, m in ipairs { 'a', 'b', 'c', 'a' } do s:arrive(m, { serve_ms = 70 }) end
    s:run()
    local models, _, times = s:granted()
    assert.same({ 'a', 'b', 'c', 'a' }, models)
    assert.same({ 500, 1100, 1700, 2300 }, times) -- serve, stop, start and not a millisecond more
    assert.equal(1, s:alive())
  end)

  it('the same seed gives the same life', function()
    local function life(n)
      local s = sim.new { scheduler = 'fifo', models = { { id = 'a', fail = 300 }, 'b' }, jitter_ms = 20, seed = n }
      for i = 1, 50 do s:arrive(i % 3 == 0 and 'a' or 'b', { at = i * 37 }) end
      s:run()
      return s:log()
    end
    assert.equal(life(5), life(5))
    assert.are_not.equal(life(5), life(6))
  end)

  it('200 mixed requests of 40 clients under serial end once each, in order of arrival', function()
    local s = sim.new { scheduler = 'serial', models = { 'a', 'b', 'c' }, start_ms = 50, stop_ms = 10, jitter_ms = 3 }
    local models = { 'a', 'b', 'c' }
    for i = 0, 199 do s:arrive(models[i * 7 % 11 % 3 + 1], { at = i // 40 * 100, serve_ms = i % 13 }) end
    s:run()
    local _, tickets = s:granted()
    for i = 1, 200 do assert.equal(i, tickets[i]) end
    assert.equal(200, s:stats().served)
  end)

  it('fifo: 1,000 requests over 5 models, none lost, swaps at most those of the reference algorithm', function()
    local s = sim.new { scheduler = 'fifo', models = { 'a', 'b', 'c', 'd', 'e' }, start_ms = 800, stop_ms = 100 }
    local models = { 'a', 'b', 'c', 'd', 'e' }
    for i = 0, 999 do s:arrive(models[i * i % 5 + 1], { at = i * 40, serve_ms = 200 + i % 300 }) end
    s:run()
    local st = s:stats()
    assert.equal(1000, st.served + st.refused)
    assert.equal(st.admitted, st.served)
  end)

  it('fifo.maxWait bounds every wait, whatever steady traffic there is', function()
    local function longest(max_wait)
      local s = sim.new { scheduler = 'fifo', models = { 'a', 'b', 'c' }, start_ms = 300, stop_ms = 50,
        max_wait_ms = max_wait }
      for i = 0, 599 do s:arrive('a', { at = i * 50, serve_ms = 180 }) end -- never idle
      for i = 0, 5 do
        s:arrive('b', { at = 1000 + i * 4000, serve_ms = 100 })
        s:arrive('c', { at = 1500 + i * 4000, serve_ms = 100 })
      end
      s:run()
      assert.equal(s:stats().admitted, s:stats().served)
      return s:stats().wait_max
    end
    assert.is_true(longest(0) > 25000)
    -- its patience, the rest of what is served, and the loads of those that waited as long
    assert.is_true(longest(2000) <= 2000 + 3 * (180 + 50 + 300 + 100))
  end)
end)
