-- level_spec.lua: levels, capabilities and deprecation: what a file may ask of the program, and what it is told.
local kit = require 'spec.policy.kit'

local function loads(text, options)
  local w, err = kit.world({ text }, options)
  return w, err
end

local function count(text, what)
  local n = 0
  for _ in text:gmatch(what) do n = n + 1 end
  return n
end

describe('a level', function()
  after_each(kit.clean)

  it('that is not there stops the load, with what there is', function()
    local _, err = loads 'return { api = 2, name = "t" }'
    assert.matches('api = 2: this luaswap offers level 1', err, 1, true)
    _, err = loads 'return { api = 0, name = "t" }'
    assert.matches('api = 0: the oldest level that still works is 1', err, 1, true)
    for _, text in ipairs { 'return { name = "t" }', 'return { api = "one", name = "t" }', 'return { api = 1.5, name = "t" }' } do
      _, err = loads(text)
      assert.matches('api is missing: write api = 1', err, 1, true)
    end
  end)

  it('can be read by a policy', function()
    local w = assert(loads(kit.text [[on_start = function()
      luaswap.log.info('level %d from %d, version %s', luaswap.api_level, luaswap.api_compatible, luaswap.version) end]]))
    assert.matches('level 1 from 1, version %d+%.%d+', w:text 'messages')
  end)
end)

describe('a capability', function()
  after_each(kit.clean)

  it('that is missing stops the load of who requires it, and tells who asks', function()
    local gpu = 'requires = { "gpu" }'
    assert(loads(kit.text(gpu), { gpu_mb = 24000 }))
    local _, err = loads(kit.text(gpu))
    assert.matches('requires "gpu", which this server does not have', err, 1, true)
    _, err = loads(kit.text 'requires = { "gpuu" }', { gpu_mb = 24000 })
    assert.matches('requires "gpuu"', err, 1, true)
    for mb, want in pairs { [0] = 'gpu false', [24000] = 'gpu true' } do
      local w = assert(loads(kit.text [[on_start = function() luaswap.log.info('gpu %s', luaswap.has 'gpu') luaswap.log.info('body %s', luaswap.has 'body')
        luaswap.log.info('nonsense %s', luaswap.has 'nonsense') end]], { gpu_mb = mb }))
      assert.matches(want, w:text 'messages', 1, true)
      assert.matches('body true', w:text 'messages', 1, true)
      assert.matches('nonsense false', w:text 'messages', 1, true)
    end
  end)
end)

describe('a deprecated name', function()
  after_each(kit.clean)
  local old = { { name = 'luaswap.kick', since = '0.2', instead = 'luaswap.preload' }, { name = 'luaswap.log.warn', since = '0.2', instead = 'luaswap.log.info' },
    { name = 'on_model', since = '0.3', instead = 'on_swap_done' } }

  it('works, and is told once for each load, when it is used', function()
    local w = assert(loads(kit.text [[tick = function() luaswap.kick() luaswap.log.warn('still %s', 'here') end, on_model = function() end]],
      { deprecated = old }))
    w:run(5)
    local m = w:text 'messages'
    assert.equal(1, count(m, 'luaswap%.kick is deprecated since 0%.2: use luaswap%.preload'), m)
    assert.equal(1, count(m, 'luaswap%.log%.warn is deprecated since 0%.2: use luaswap%.log%.info'), m)
    assert.equal(1, count(m, 'on_model is deprecated since 0%.3: use on_swap_done'), m)
    assert(count(m, 'still here') >= 4, m)
    assert.equal(0, w:result().errors)
    -- again after a reload: it is another load
    assert(w:change('reload', 't'))
    w:run(10)
    assert.equal(2, count(w:text 'messages', 'luaswap%.kick is deprecated'))
  end)

  it('is not told to those who do not use it', function()
    local w = assert(loads(kit.text [[tick = function() luaswap.log.info('x') end]], { deprecated = old }))
    w:run(5)
    assert.equal(0, count(w:text 'messages', 'deprecated'))
  end)

  it('keeps its phases', function()
    local w = assert(loads(kit.text [[route = function() luaswap.kick() end]], { deprecated = old }))
    kit.load(w, 3)
    w:run()
    assert(w:result().errors > 0)
    assert.matches('luaswap.kick is not available here; it works in decisions', w:text 'messages', 1, true)
  end)
end)
