-- fair_spec.lua: policies/fair.lua on the test bench.
local lab = require 'luaswap.lab'
local file = 'policies/fair.lua'
local world = { gpu_mb = 24000, models = {
  ['big-a'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 }, ['big-b'] = { load_s = 25, stop_s = 1, vram_mb = 20000, limit = 100 },
  ['small-c'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 }, ['small-d'] = { load_s = 8, stop_s = 1, vram_mb = 8000, limit = 100 },
  embed = { load_s = 3, stop_s = 0.5, vram_mb = 2000, limit = 100 } } }

describe('fair', function()
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

  it('keeps a flood of one key from the others', function()
    local one = { scheduler = 'fifo', models = { a = { load_s = 2, limit = 100 }, b = { load_s = 2, limit = 100 } } }
    local traffic = {}
    for i = 1, 60 do traffic[i] = { at = 0.1, id = i, model = i % 2 == 0 and 'a' or 'b', key = 'flood', serve_s = 5, tokens_out = 500 } end
    for i = 61, 66 do traffic[i] = { at = 1, id = i, model = i % 2 == 0 and 'a' or 'b', key = 'ann', serve_s = 1, tokens_out = 50 } end
    for _, m in pairs(one.models) do m.limit = 1 end
    one.models.a.limit, one.models.b.limit = nil, nil
    local function ann(w)
      local worst = 0
      for i = 61, 66 do
        local waited, fate = w:wait(i), w:fate(i)
        if fate == 's' then worst = math.max(worst, waited) end
      end
      return worst
    end
    for i = 1, 60 do traffic[i].at = i * 0.4 end
    local mine = ann(lab.play(lab.new(one, file, { swap_tokens = 0 }), traffic))
    local base = ann(lab.play(lab.new(one, {}), traffic))
    assert(mine <= base, mine .. ' against ' .. base)
  end)

  it('puts the key first that has used least', function()
    local p = lab.load(file, { swap_tokens = 100 })
    local function req(key) return { key = key, ctx = {}, tokens_in = 100, tokens_out = 50 } end
    local a, b = req 'a', req 'b'
    p.on_request(a)
    p.on_request(b)
    p.on_serve_done(a)
    assert.is_true(p.score { key = 'b', ready = true } > p.score { key = 'a', ready = true })
    assert.equal(p.score { key = 'b', ready = true } - 100, p.score { key = 'b' })
    -- a key that comes back starts at the floor
    p.on_serve_done(b)
    local c = req 'c'
    p.on_request(req 'a')
    p.on_request(c)
    assert.equal(p.score { key = 'a', ready = true }, p.score { key = 'c', ready = true })
  end)

  it('forgets old keys', function()
    local p = lab.load(file, { keys = 10 })
    for i = 1, 50 do
      local r = { key = 'k' .. i, ctx = {}, tokens_in = 1, tokens_out = 1 }
      p.on_request(r)
      p.on_serve_done(r)
    end
    p.tick()
    local n = 0
    for _ in pairs(p.luaswap.state.used) do n = n + 1 end
    assert.equal(10, n)
  end)
end)
