-- life_soak_spec.lua: the soak run (spec/bench/soak.lua, docs/benchmarks.md) in short: kills, unloads, leaving clients,
-- slow readers, uploads; afterwards the books are right and nothing is left behind.
local server = require 'spec.support.server'
local soak = require 'spec.bench.soak'
local wait = require 'spec.support.wait'

describe('a short day of traffic', function()
  after_each(server.stop_all)
  local seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()

  local function day(o)
    o.seed, o.clients = seed, 24
    local r = soak.run(o)
    assert.same({}, soak.judge(r), ('LUASWAP_SEED=%d'):format(seed))
    assert.is_true(r.ended.answered > 0.8 * r.requests, r.ended.answered)
    return r
  end

  it('under fifo', function()
    local r = day { scheduler = 'fifo', requests = 1000 // wait.slow }
    assert.is_true(r.kills > 0 and r.unloads > 0 and r.ended.left > 0)
  end)

  it('under serial', function()
    local r = day { scheduler = 'serial', requests = 1000 // wait.slow }
    assert.is_true(r.kills > 0 and r.unloads > 0 and r.ended.left > 0)
  end)

  it('without accidents not one request fails', function()
    for _, use in ipairs { 'fifo', 'serial' } do
      local r = day { scheduler = use, requests = 250, calm = true }
      assert.is_nil(r.ended.failed)
      assert.is_nil(r.ended.cut)
    end
  end)
end)
