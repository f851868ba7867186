-- office-hours_spec.lua: policies/office-hours.lua on the test bench.
local lab = require 'luaswap.lab'
local file = 'policies/office-hours.lua'
local world = { gpu_mb = 24000, models = {
  ['big-a'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 }, ['big-b'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 },
  ['small-c'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 }, ['small-d'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 },
  embed = { load_s = 3, stop_s = 0.5, vram_mb = 2000, limit = 100 } } }

describe('office-hours', function()
  it('serves everybody and never answers out of order of the rules', function()
    for seed = 1, 3 do
      local w = lab.new(world, file, { warm = { 'embed' } })
      lab.play(w, lab.traffic(world, 80, 6, seed))
      assert.equal(80, w.served)
      assert.equal(0, w.invalid)
      assert.equal(0, w.errors + w.budget)
      assert.equal(0, w.ejections)
    end
  end)

  -- 1970-01-01 was a Thursday
  local nine, night = 9 * 3600, 20 * 3600

  it('loads the warm set by day', function()
    world.start_unix = nine
    local w = lab.new(world, file, { warm = { 'embed', 'small-c' } })
    w:run(60)
    assert.equal('ready', w:state 'embed')
    assert.equal('ready', w:state 'small-c')
    assert.equal('stopped', w:state 'big-a')
  end)

  it('gives idle models back by night', function()
    world.start_unix = night
    local w = lab.new(world, file, { warm = { 'embed' }, night_idle = 60 })
    w:at(1):request { model = 'big-a', serve_s = 5 }
    w:run(50)
    assert.equal('ready', w:state 'big-a')
    w:run(200)
    assert.equal('stopped', w:state 'big-a')
    assert.equal('stopped', w:state 'embed')
  end)

  it('knows hours past midnight and weekends', function()
    local function cost(settings, hour, wday)
      local p = lab.load(file, settings, { wall = { hour = hour, wday = wday } })
      return p.evict_cost { id = 'm', idle = 0 }
    end
    assert.equal(1e9, cost({ open = 22, close = 6, warm = { 'm' } }, 23, 3))
    assert.equal(1e9, cost({ open = 22, close = 6, warm = { 'm' } }, 5, 3))
    assert.equal(0, cost({ open = 22, close = 6, warm = { 'm' } }, 12, 3))
    assert.equal(0, cost({ weekdays = true, warm = { 'm' } }, 12, 7))
  end)
end)
