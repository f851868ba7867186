-- residency_spec.lua: policies/residency.lua on the test bench.
local lab = require 'luaswap.lab'
local file = 'policies/residency.lua'
local world = { gpu_mb = 24000, models = {
  ['big-a'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 }, ['big-b'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 },
  ['small-c'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 }, ['small-d'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 },
  embed = { load_s = 3, stop_s = 0.5, vram_mb = 2000, limit = 100 } } }

describe('residency', function()
  it('serves everybody and never answers out of order of the rules', function()
    for seed = 1, 3 do
      local w = lab.new(world, file)
      lab.play(w, lab.traffic(world, 80, 6, seed))
      assert.equal(80, w.served)
      assert.equal(0, w.invalid)
      assert.equal(0, w.errors + w.budget)
      assert.equal(0, w.ejections)
    end
  end)

  it('makes fewer loads than the built-in', function()
    local mine, base = 0, 0
    for seed = 1, 5 do
      local traffic = lab.traffic(world, 100, 6, seed)
      mine = mine + lab.play(lab.new(world, file), traffic).loads
      base = base + lab.play(lab.new(world, {}), traffic).loads
    end
    assert(mine < base, mine .. ' loads, ' .. base .. ' without')
  end)

  it('makes room for a request that has waited too long', function()
    local two = { gpu_mb = 24000, models = { big = { load_s = 20, vram_mb = 20000, limit = 100 }, small = { load_s = 5, vram_mb = 8000 } } }
    local w = lab.new(two, file, { max_wait = 10, min_stay = 0 })
    for t = 0, 60, 2 do w:at(t):request { model = 'big', serve_s = 5 } end
    w:at(1):request { id = 99, model = 'small', serve_s = 1 }
    w:run()
    assert(w:wait(99) < 45, 'waited ' .. w:wait(99))
    assert.equal(0, w.invalid)
  end)

  it('answers one decision', function()
    local p = lab.load(file, { max_wait = 10 })
    local q = lab.queue { { model = 'big', ready = true, age = 1 }, { model = 'small', age = 11 } }
    assert.equal('small', p.pick_next(q).model)
    assert.equal('big', p.pick_next(lab.queue { { model = 'small', age = 9 }, { model = 'big', ready = true } }).model)
    assert.is_true(lab.budget(p, lab.big_queue(1000)) < 50000)
  end)

  it('lets a loaded model keep its seat for a while', function()
    local p = lab.load(file, { min_stay = 30 }, { now = 100, models = { a = { loaded_at = 90 } }, plan = { evict = { 'a' }, when = 'idle' } })
    local answer = p.plan_swap({ id = 'b' }, lab.queue { { model = 'b', age = 1 } })
    assert.is_true(answer.hold)
    assert.equal(20, answer.seconds)
    p.luaswap.set_now(130)
    assert.same({ 'a' }, p.plan_swap({ id = 'b' }, lab.queue { { model = 'b', age = 1 } }).evict)
  end)
end)
