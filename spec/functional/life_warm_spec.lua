-- life_warm_spec.lua: `warm` selectors choose again while their requests wait (decisions.md).
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local selector = 'selectors:\n  w: { strategy: warm, targets: [a, b] }\n'

local function start(use, more)
  local o = { use = use, top = selector, models = { 'a', { 'b', '', more }, 'c' } }
  return traffic.start(o)
end

describe('a request that came by a warm selector and waits', function()
  after_each(server.stop_all)

  it('goes to the target that another request has loaded meanwhile', function()
    for _, use in ipairs { 'serial', 'fifo' } do
      local t = start(use)
      local c = t:hold('c', 'hold')
      local r1 = t:send('b', 'r1')
      t:queued(1)
      local r2 = t:send('w', 'r2', { echo = true }) -- none is warm: a
      t:queued(2)
      local r3 = t:send('a', 'r3')
      t:queued(3)
      c:close()
      t:ok(r1)
      local r = t:ok(r2)
      assert.equal('b', r:get 'x-fake-model')
      assert.equal('b', json.decode(r:json().body).model) -- the body names it, too
      t:ok(r3)
      assert.same({ 'c', 'b', 'a' }, t:loads())
      assert.same({ 'hold', 'r1', 'r2', 'r3' }, t:ids())
      t:at_rest()
      t.srv:stop()
    end
  end)

  it('is edited for the model that serves it: its name there and its own parameters', function()
    local t = start('serial', { useModelName = 'real-b', filters = '{ setParams: { temperature: 0.25 } }' })
    local c = t:hold('c', 'hold')
    local r1 = t:send('b', 'r1')
    t:queued(1)
    local r2 = t:send('w', 'r2', { echo = true })
    t:queued(2)
    c:close()
    t:ok(r1)
    local doc = t:ok(r2):json()
    local sent = json.decode(doc.body)
    assert.equal('real-b', sent.model)
    assert.equal(0.25, sent.temperature)
  end)

  it('in a query and in a form, too', function()
    local t = start 'serial'
    local c = t:hold('c', 'hold')
    local r1 = t:send('b', 'r1')
    t:queued(1)
    local q = http.connect(t.srv.port)
    q:request('GET', '/v1/audio/voices?model=w&x=1')
    t:queued(2)
    local f = http.connect(t.srv.port)
    f:request('POST', '/v1/audio/transcriptions?echo=1', {
      headers = { ['Content-Type'] = 'multipart/form-data; boundary=xx' },
      body = '--xx\r\nContent-Disposition: form-data; name="model"\r\n\r\nw\r\n' ..
        '--xx\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' .. ('z'):rep(3 << 20) ..
        '\r\n--xx--\r\n' })
    t:queued(3)
    c:close()
    t:ok(r1)
    assert.equal('b', q:response(20):get 'x-fake-model')
    local sent = f:response(20):json()
    assert.equal('b', sent.model)
    assert.is_truthy(sent.body:find('name="model"\r\n\r\nb\r\n--xx', 1, true))
    assert.equal(3 << 20, select(2, sent.body:gsub('z', '')))
    q:close()
    f:close()
    assert.same({ 'c', 'b' }, t:loads())
  end)

  it('goes back when that one is taken away before its turn', function()
    local t = start 'serial'
    local c = t:hold('b', 'hold')
    local w1 = t:send('w', 'w1') -- b is ready
    t:queued(1)
    local r2 = t:send('c', 'r2')
    t:queued(2)
    local w2 = t:send('w', 'w2')
    t:queued(3)
    c:close()
    assert.equal('b', t:ok(w1):get 'x-fake-model')
    t:ok(r2)
    assert.equal('a', t:ok(w2):get 'x-fake-model') -- none is warm when c goes: the first of the list
    assert.same({ 'b', 'c', 'a' }, t:loads())
  end)

  it('stays with its model while that is being loaded for it', function()
    local t = traffic.start { use = 'fifo', top = selector, groups = { g = { swap = false, members = { 'a', 'b' } } },
      models = { { 'a', '--load-ms 1200' }, 'b' } }
    local w1 = t:send('w', 'w1')
    wait.till(function() return #t:events('up', 'a') == 1 end, 10, 'the process of a')
    t:ok(t:send('b', 'r1')) -- ready before a is
    assert.equal('a', t:ok(w1):get 'x-fake-model')
    assert.same({ 'a', 'b' }, t:loads())
  end)

  it('whose client leaves is forgotten as usual', function()
    local t = start 'serial'
    local c = t:hold('c', 'hold')
    local r1 = t:send('b', 'r1')
    t:queued(1)
    local w1 = t:send('w', 'w1')
    t:queued(2)
    w1:close()
    t:queued(1)
    c:close()
    t:ok(r1)
    t:at_rest()
    assert.same({ 'hold', 'r1' }, t:ids())
  end)
end)
