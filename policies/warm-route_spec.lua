-- warm-route_spec.lua: policies/warm-route.lua on the test bench.
local lab = require 'luaswap.lab'
local file = 'policies/warm-route.lua'
local world = { gpu_mb = 24000, models = {
  ['big-a'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 }, ['big-b'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 },
  ['small-c'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 }, ['small-d'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 },
  embed = { load_s = 3, stop_s = 0.5, vram_mb = 2000, limit = 100 } } }

describe('warm-route', function()
  it('serves everybody and never answers out of order of the rules', function()
    for seed = 1, 3 do
      local w = lab.new(world, file, { same = { ['big-a'] = { 'big-a', 'big-b' }, ['big-b'] = { 'big-b', 'big-a' } } })
      lab.play(w, lab.traffic(world, 80, 6, seed))
      assert.equal(80, w.served)
      assert.equal(0, w.invalid)
      assert.equal(0, w.errors + w.budget)
      assert.equal(0, w.ejections)
    end
  end)

  it('saves most of the swaps between equals', function()
    local same = { same = { ['big-a'] = { 'big-a', 'big-b' }, ['big-b'] = { 'big-b', 'big-a' } } }
    local mine, base = 0, 0
    for seed = 1, 5 do
      local traffic = lab.traffic(world, 100, 6, seed)
      mine = mine + lab.play(lab.new(world, file, same), traffic).loads
      base = base + lab.play(lab.new(world, {}), traffic).loads
    end
    assert(mine < base, mine .. ' loads, ' .. base .. ' without')
  end)

  it('takes the least busy of those that are ready', function()
    local models = { x = { ready = true, reserved = 2, limit = 2 }, y = { ready = true, reserved = 1, limit = 2 }, z = { ready = false } }
    local p = lab.load(file, { same = { x = { 'x', 'y', 'z' } } }, { models = models })
    assert.equal('y', p.route({ model = 'x' }).model)
    assert.is_nil(p.route { model = 'other' })
  end)

  it('sends short prompts to the small model when the line is long', function()
    local p = lab.load(file, { same = { x = { 'x' } }, small = 's', long_queue = 1 },
      { models = { x = { ready = false } }, queue = lab.queue { { model = 'x' }, { model = 'x' } } })
    assert.equal('s', p.route({ model = 'x', tokens_in = 10 }).model)
    assert.is_nil(p.route { model = 'x', tokens_in = 10000 })
  end)
end)
