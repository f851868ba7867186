-- aging_spec.lua: policies/aging.lua on the test bench.
local lab = require 'luaswap.lab'
local file = 'policies/aging.lua'
local world = { gpu_mb = 24000, models = {
  ['big-a'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 }, ['big-b'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 },
  ['small-c'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 }, ['small-d'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 },
  embed = { load_s = 3, stop_s = 0.5, vram_mb = 2000, limit = 100 } } }

describe('aging', function()
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

  it('serves people before batch jobs', function()
    local function mean(w, traffic, batch)
      local sum, n = 0, 0
      for _, q in ipairs(traffic) do
        if (q.key == 'batch') == batch then
          sum, n = sum + w:wait(q.id), n + 1
        end
      end
      return sum / n
    end
    local mine, base = 0, 0
    for seed = 1, 5 do
      local traffic = lab.traffic(world, 100, 5, seed)
      mine = mine + mean(lab.play(lab.new(world, file, { base = { alice = 10, bob = 10 }, bonus = 5 }), traffic), traffic, false)
      base = base + mean(lab.play(lab.new(world, {}), traffic), traffic, false)
    end
    assert(mine < base, mine .. ' against ' .. base)
  end)

  it('counts points', function()
    local p = lab.load(file, { base = { alice = 10 } })
    assert.equal(12, p.score { key = 'alice', age = 30 })
    assert.equal(20, p.score { key = 'bob', age = 0, ready = true })
    assert.equal(2, p.score { age = 30 })
  end)
end)
