-- examples_spec.lua: every example loads and serves everybody in the simulator, and does what it is for.
local lab = require 'luaswap.lab'
local dir = 'examples/policies/'
local world = { gpu_mb = 24000, models = { a = { load_s = 10, vram_mb = 16000, limit = 100 }, b = { load_s = 6, vram_mb = 8000, limit = 100 },
  c = { load_s = 3, vram_mb = 4000, limit = 100 } } }

describe('examples/policies', function()
  for name in pairs { ['co-residency'] = 1, ['session-affinity'] = 1, ['overflow-peer'] = 1, ['do-not-disturb'] = 1, ['kv-keeper'] = 1,
    ['ab-test'] = 1, ['quota-service'] = 1 } do
    it(name .. ' serves everybody', function()
      for _, scheduler in ipairs { 'fifo', 'serial' } do
        world.scheduler, world.reorder = scheduler, true
        local w = lab.play(lab.new(world, dir .. name .. '.lua'), lab.traffic(world, 60, 5))
        assert.equal(60, w.served)
        assert.equal(0, w.errors + w.invalid + w.ejections)
      end
    end)
  end

  it('session-affinity keeps a conversation where it was', function()
    local p = lab.load(dir .. 'session-affinity.lua', { same = { x = { 'x', 'y' } } })
    assert.is_nil(p.route { model = 'x', session = 's' })
    p.on_serve_start { model = 'y', session = 's' }
    assert.equal('y', p.route({ model = 'x', session = 's' }).model)
    p.luaswap.set_now(5000)
    assert.is_nil(p.route { model = 'x', session = 's' })
    p.tick(5000)
    assert.is_nil(next(p.luaswap.state.seats))
  end)

  it('overflow-peer sends on what would wait', function()
    local models = { m = { ready = true, reserved = 1 } }
    local p = lab.load(dir .. 'overflow-peer.lua', { peers = { m = 'gpu2/m' }, queue = 3 }, { models = models })
    assert.is_nil(p.route { model = 'm' })
    models.m.reserved = 3
    assert.same({ 'gpu2/m', 'm' }, p.route({ model = 'm' }).models)
  end)

  it('co-residency stops the largest idle model, and only that', function()
    world.scheduler, world.reorder = 'fifo', nil
    local w = lab.new(world, dir .. 'co-residency.lua', { grace = 1 })
    for i, name in ipairs { 'a', 'c', 'b' } do w:at(i * 30):request { model = name, serve_s = 1 } end
    w:run(120)
    assert.same({ 'stopped', 'ready', 'ready' }, { w:state 'a', w:state 'b', w:state 'c' })
    assert.equal(0, w.errors + w.invalid)
  end)

  it('kv-keeper saves each slot, and restores only what it saved', function()
    local asked, status = {}, 200
    local p = lab.load(dir .. 'kv-keeper.lua', { urls = { m = 'http://h:1' }, slots = 2 }, { http = { post = function(url, body)
      asked[#asked + 1] = url .. ' ' .. body
      return { status = status }
    end } })
    p.after_ready { id = 'm' }
    assert.same({}, asked)
    p.before_stop { id = 'other' }
    p.before_stop { id = 'm' }
    assert.same({ 'http://h:1/slots/0?action=save {"filename":"m-0.kv"}', 'http://h:1/slots/1?action=save {"filename":"m-1.kv"}' }, asked)
    status, asked = 404, {}
    p.after_ready { id = 'm' } -- it gives up at the first slot, and says so
    assert.same({ 'http://h:1/slots/0?action=restore {"filename":"m-0.kv"}' }, asked)
    assert.equal('warn', p.luaswap.calls[#p.luaswap.calls][1])
  end)

  it('do-not-disturb gives the GPU to a guest', function()
    world.scheduler, world.reorder = 'fifo', nil
    local w = lab.new(world, dir .. 'do-not-disturb.lua')
    w:at(0):request { model = 'b', serve_s = 1 }
    w:at(20):foreign(20000)
    w:run(60)
    assert.equal('stopped', w:state 'b')
  end)

  it('ab-test sends a share of the sessions elsewhere, always the same ones', function()
    local p = lab.load(dir .. 'ab-test.lua', { a = 'x', b = 'y', share = 0.3 })
    local n = 0
    for i = 1, 1000 do
      local one = p.route({ model = 'x', session = 'session ' .. i }).model
      assert.equal(one, p.route({ model = 'x', session = 'session ' .. i }).model)
      if one == 'y' then n = n + 1 end
    end
    assert(n > 200 and n < 400, n)
    assert.is_nil(p.route { model = 'z' })
  end)

  it('quota-service asks once, and lets go when nobody answers', function()
    local asked, answer = 0, { status = 200, json = function() return { allow = false } end }
    local p = lab.load(dir .. 'quota-service.lua', nil, { http = { get = function() asked = asked + 1 return answer, 'down' end } })
    assert.equal(429, p.route({ key = 'k' }).status)
    assert.equal(429, p.route({ key = 'k' }).status)
    assert.equal(1, asked)
    answer = nil
    assert.is_nil(p.route { key = 'other' })
  end)
end)
