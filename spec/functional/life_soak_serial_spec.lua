-- life_soak_serial_spec.lua: the soak run (spec/bench/soak.lua, docs/benchmarks.md) in short under serial: kills, unloads,
-- leaving clients, slow readers, uploads; afterwards the books are right and nothing is left behind.
local server = require 'spec.support.server'
local soak = require 'spec.bench.soak'
local wait = require 'spec.support.wait'

describe('a short day of traffic under serial', function()
  after_each(server.stop_all)

  it('with accidents: 1,000 requests end exactly once each', function()
    local r = soak.short { scheduler = 'serial', requests = 1000 // wait.slow }
    assert.is_true(r.kills + r.unloads > 0 and r.ended.left > 0) -- which ones is a matter of chance
  end)

  it('without accidents: not one of 250 fails', function()
    local r = soak.short { scheduler = 'serial', requests = 250, calm = true }
    assert.is_nil(r.ended.failed)
    assert.is_nil(r.ended.cut)
  end)
end)
