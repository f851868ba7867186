-- policy_stall_spec.lua: what a change of policies does to everybody else. Loading a file, ending one with much in its
-- memory, and handing state over never hold up the loop for long. (Hooks at work: policy_hostile_spec.)
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

-- CPU time of the longest turn; the sanitizers make everything several times slower.
local function sanitized()
  local f = assert(io.open(server.bin(), 'rb'))
  local text = f:read 'a'
  f:close()
  return text:find('__asan_init', 1, true) ~= nil
end
local limit_ms = 100 * (sanitized() and 6 or 1) * wait.slow

local calm = [[return { api = 1, name = 'calm', score = function() return 0 end }]]

describe('a change of policies', function()
  local file, srv

  local function start(text)
    file = server.write_file(net.tmpdir() .. '/calm.lua', text)
    srv = server.start { env = { LUASWAP_LOOP_STATS = '1' }, config = ([[
routing: { scheduler: { use: fifo } }
policies:
  - file: %s
]]):format(file) .. server.config('', { { 'a', '--silent' } }) }
  end

  local function policy()
    return srv:get('/api/policy'):json()
  end

  local function calm_loop()
    assert.equal(200, srv:get('/health').status)
    local longest = policy().loop.longest_turn_ms
    assert(longest < limit_ms, ('a turn took %.1f ms'):format(longest))
  end

  -- Well behaved in the rehearsal, so that it comes as far as the running server.
  local function reload(text)
    server.write_file(file, text)
    return srv:post('/api/policy/calm/reload', '')
  end

  after_each(server.stop_all)

  it('refuses a file that takes long to run, and says which limit it met', function()
    start(calm)
    local r = reload('local x, sin = 1, math.sin for _ = 1, 1500000 do x = sin(x) end\n' .. calm)
    assert.not_equal(200, r.status)
    assert.truthy(r.body:find('loading: wall-clock budget 30 ms exceeded', 1, true), r.body)
    assert.equal('active', policy().policies[1].state)
    calm_loop()
  end)

  it('refuses a file that takes long to read', function()
    start(calm)
    local rows = {}
    for i = 1, 200000 do rows[i] = '{' .. i .. '},' end
    local r = reload('local t = {' .. table.concat(rows) .. '}\n' .. calm)
    assert.not_equal(200, r.status)
    assert.equal('active', policy().policies[1].state)
    calm_loop()
  end)

  it('bounds migrate and on_start', function()
    start [[luaswap.state.x = 1
return { api = 1, name = 'calm', version = '1', score = function() return 0 end }]]
    for _, hook in ipairs { 'migrate', 'on_start' } do
      local r = reload(([[
return { api = 1, name = 'calm', version = '2', score = function() return 0 end,
  %s = function() if luaswap.models()[1].id == 'a' then while true do end end end }]]):format(hook))
      assert.not_equal(200, r.status)
      assert.truthy(r.body:find('budget', 1, true), r.body)
    end
    assert.equal('active', policy().policies[1].state)
    calm_loop()
  end)

  -- 50 MB of small objects, a little in every tick; then `last` happens.
  local function heavy(last)
    return [[
local keep, n = {}, 0
return { api = 1, name = 'calm', tick_interval = 0.1,
  tick = function()
    if n >= 450000 then ]] .. last .. [[ return end
    local t = {}
    for i = 1, 15000 do t[i] = { i } end
    keep[#keep + 1] = t
    n = n + 15000
  end }]]
  end

  it('ends a policy with much in its memory without stopping for it', function()
    start(heavy 'error "full"')
    wait.till(function() return policy().policies[1].state == 'ejected' end, 60, 'the ejection')
    calm_loop()
    srv:stop() -- waits for what is still being freed
  end)

  it('replaces a policy with much in its memory without stopping for it', function()
    start(heavy '')
    wait.till(function() return policy().policies[1].memory_kb > 30000 end, 60, 'its memory')
    assert.equal(200, reload(calm).status)
    calm_loop()
    srv:stop()
  end)
end)
