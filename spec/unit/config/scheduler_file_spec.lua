-- scheduler_file_spec.lua: a policy as the scheduler (routing.scheduler.use: x.lua).
local config = require 'spec.config'
local json = require 'spec.support.json'

local models = 'models: { a: { cmd: "srv ${PORT}" } }\n'

local function dump(text)
  local r = config.load { text = models .. text }
  assert(r.ok, r.printed)
  return json.decode(r.dump)
end

describe('use: x.lua', function()
  it('is the first of the policies, with what a file gets by default', function()
    local c = dump('routing: { scheduler: { use: mine.lua } }\n' ..
      'policies: [ { file: other.lua, limits: { memory_mb: 3 } } ]\n')
    assert.equal('mine.lua', c.routing.scheduler.use)
    assert.equal(2, #c.policies)
    assert.equal('mine.lua', c.policies[1].file)
    assert.equal('enforce', c.policies[1].mode)
    assert.equal(64, c.policies[1].limits.memory_mb)
    assert.equal(10, c.policies[1].limits.stop_hook_s)
    assert.equal('other.lua', c.policies[2].file)
    assert.equal(3, c.policies[2].limits.memory_mb)
  end)

  it('stays where it is when the list names it, with what it says there', function()
    local c = dump('routing: { scheduler: { use: mine.lua } }\n' ..
      'policies: [ { file: a.lua }, { file: mine.lua, settings: { x: 1 } } ]\n')
    assert.equal(2, #c.policies)
    assert.equal('mine.lua', c.policies[2].file)
    assert.same({ x = 1 }, c.policies[2].settings)
  end)

  it('is the only one where there is no list', function()
    assert.equal(1, #dump 'routing: { scheduler: { use: dir/mine.lua } }\n'.policies)
  end)
end)
