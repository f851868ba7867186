-- gather_spec.lua: policies/gather.lua on the test bench.
local lab = require 'luaswap.lab'
local file = 'policies/gather.lua'
local world = { gpu_mb = 24000, models = {
  ['big-a'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 }, ['big-b'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 },
  ['small-c'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 }, ['small-d'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 },
  embed = { load_s = 3, stop_s = 0.5, vram_mb = 2000, limit = 100 } } }

describe('gather', function()
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
      local traffic = lab.traffic(world, 100, 8, seed)
      mine = mine + lab.play(lab.new(world, file), traffic).loads
      base = base + lab.play(lab.new(world, {}), traffic).loads
    end
    assert(mine < base, mine .. ' loads, ' .. base .. ' without')
  end)

  it('waits for company, but not for ever', function()
    local p = lab.load(file, { k = 2, t = 20 })
    local alone = lab.queue { { model = 'a', age = 5 } }
    assert.is_true(p.pick_next(alone).hold)
    assert.equal(15, p.pick_next(alone).seconds)
    assert.equal('a', p.pick_next(lab.queue { { model = 'a', age = 20 } }).model)
    assert.equal('a', p.pick_next(lab.queue { { model = 'a' }, { model = 'a' } }).model)
    assert.equal('b', p.pick_next(lab.queue { { model = 'a' }, { model = 'b', ready = true } }).model)
  end)
end)
