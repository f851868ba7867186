-- traces_spec.lua: the numbers that docs/policies.md gives for the shipped policies hold: they help with what they are for.
local lab = require 'luaswap.lab'
local json = require 'spec.support.json'
local shell = require 'spec.shell'

local function day()
  local world, list = { models = {} }, {}
  for line in io.lines(shell.root .. '/policies/day.trace.jsonl') do
    local o = json.decode(line)
    if o.kind == 'world' then world.gpu_mb, world.scheduler = o.gpu[1].total_mb, o.scheduler
    elseif o.kind == 'model' then world.models[o.id] = { load_s = o.load_s, stop_s = o.stop_s, vram_mb = o.vram_mb, limit = o.limit }
    elseif o.kind == 'req' then
      list[#list + 1] = { at = o.t, id = o.id, model = o.model, key = o.key, tokens_in = o.tokens_in, tokens_out = o.tokens_out,
        serve_s = o.serve_s }
    end
  end
  return world, list
end

describe('on the recorded day', function()
  local world, list = day()
  local base = lab.play(lab.new(world, {}), list):result()
  local function with(name, settings)
    local w = lab.play(lab.new(world, 'policies/' .. name .. '.lua', settings), list)
    assert.equal(400, w.served)
    return w:result()
  end

  it('residency saves a fifth of the loads', function() assert(with('residency').loads < base.loads * 0.8) end)
  it('greedydual saves loads without more waiting', function()
    local r = with 'greedydual'
    assert(r.loads < base.loads and r.p99 <= base.p99)
  end)
  it('gather saves loads', function() assert(with('gather').loads < base.loads) end)
  it('fair lets the typical request wait less', function() assert(with('fair').p50 < base.p50) end)
  it('warm-route lets requests wait less', function()
    local r = with('warm-route', { same = { ['big-a'] = { 'big-a', 'big-b' }, ['big-b'] = { 'big-b', 'big-a' } } })
    assert(r.mean < base.mean * 0.95, r.mean .. ' against ' .. base.mean)
  end)
  it('aging and office-hours do no harm to the whole', function()
    assert(with('aging', { base = { alice = 10, bob = 10 }, bonus = 5 }).loads < base.loads * 1.25)
    assert(with('office-hours', { warm = { 'embed' } }).p99 < base.p99 * 1.5)
  end)
end)
