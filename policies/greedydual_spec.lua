-- greedydual_spec.lua: policies/greedydual.lua on the test bench.
local lab = require 'luaswap.lab'
local file = 'policies/greedydual.lua'
local world = { gpu_mb = 24000, models = {
  ['big-a'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 }, ['big-b'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 },
  ['small-c'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 }, ['small-d'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 },
  embed = { load_s = 3, stop_s = 0.5, vram_mb = 2000, limit = 100 } } }

describe('greedydual', function()
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

  it('does not load more than the least recently used would', function()
    local mine, base = 0, 0
    for seed = 1, 6 do
      local traffic = lab.traffic(world, 120, 6, seed)
      mine = mine + lab.play(lab.new(world, file), traffic).load_s
      base = base + lab.play(lab.new(world, {}), traffic).load_s
    end
    assert(mine <= base * 1.05, mine .. ' s of loading, ' .. base .. ' without')
  end)

  it('values use, load time and smallness', function()
    local models = { a = { load_s = 20, vram_mb = 1024 }, b = { load_s = 2, vram_mb = 1024 } }
    local p = lab.load(file, nil, { models = models })
    p.on_serve_done { model = 'a' }
    p.on_serve_done { model = 'b' }
    assert.equal(20, p.evict_cost { id = 'a' })
    assert.equal(2, p.evict_cost { id = 'b' })
    p.on_swap_start { evict = { 'a' } }
    assert.equal(20, p.luaswap.state.clock)
    assert.equal(20, p.evict_cost { id = 'new' })
  end)
end)
