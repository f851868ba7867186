-- life_unload_spec.lua: models that are unloaded while others answer, load or wait (runtime.md 2.8).
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local together = { g = { swap = false, members = { 'a', 'b' } } }

describe('unloading', function()
  after_each(server.stop_all)

  it('/running has ready and starting ones; one goes, the other stays; all go (A095)', function()
    local t = traffic.start { models = { 'a', { 'b', '--load-ms 60000' } }, groups = together }
    assert.equal(200, t.srv:chat 'a'.status)
    local b = t:send('b', 'b1')
    t:is('b', 'starting')
    assert.same({ a = 'ready', b = 'starting' }, t:states())
    assert.equal(200, t.srv:post('/api/models/unload/b', '').status)
    assert.equal(503, (t:status(b)))
    assert.same({ a = 'ready' }, t:states())
    b = t:send('b', 'b2')
    t:is('b', 'starting')
    assert.equal(200, t.srv:get '/unload'.status)
    assert.equal(503, (t:status(b)))
    assert.same({}, t:states())
    assert.equal(0, #t.srv:models())
    t:at_rest()
  end)

  it('of a model that takes long to stop lets a ready one answer, and its stream go on (A108, D-R5)', function()
    local t = traffic.start { models = { 'a', { 'b', '--ignore-term', { unloadTimeout = 4 } } }, groups = together }
    assert.equal(200, t.srv:chat 'a'.status)
    assert.equal(200, t.srv:chat 'b'.status)
    local stream = t:send('a', 's1', { tokens = 60, tps = 15 }, { stream = true })
    local r = stream:head(10)
    local t0 = net.now()
    local unload = http.connect(t.srv.port)
    unload:request('POST', '/api/models/unload/b', { body = '' })
    t:is('b', 'stopping', 3)
    for _ = 1, 10 do
      local began = net.now()
      assert.equal(200, t.srv:chat 'a'.status)
      assert.is_true(net.now() - began < 1 * wait.slow)
    end
    assert.equal('stopping', t:states().b)
    local again = t:send('b', 'b2') -- waits for the end of the stop, then starts
    stream:finish(r, 20)
    assert.is_true(r.done)
    assert.equal(200, (t:status(unload, 20)))
    assert.is_true(net.now() - t0 > 3.9)
    t:ok(again)
    stream:close()
    assert.same({ 'a', 'b', 'b' }, t:loads())
  end)

  it('of a loading model fails both that wait for it, stops it once, and serves the next (A047)', function()
    for _, use in ipairs { 'fifo', 'serial' } do
      local t = traffic.start { use = use, models = { { 'a', '--load-ms 60000' }, 'b' } }
      local one, two = t:send('a', 'a1'), t:send('a', 'a2')
      t:queued(2)
      wait.till(function() return #t:events('up', 'a') == 1 end, 10)
      local b = t:send('b', 'b1')
      t:queued(3)
      assert.equal(200, t.srv:post('/api/models/unload/a', '').status)
      for _, c in ipairs { one, two } do
        local status, r = t:status(c)
        assert.equal(503, status)
        assert.is_truthy(r:get 'retry-after')
        assert.equal('llama-swap', r:json().src)
      end
      t:ok(b)
      assert.same({ 'a', 'b' }, t:loads())
      assert.equal(1, #t:events('term', 'a'))
      t.srv:stop()
    end
  end)

  it('of a model that only waits fails its request and leaves the running load alone (A048)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 600' }, 'b' } }
    local a, b = t:send('a', 'a1'), t:send('b', 'b1')
    t:queued(2)
    t:is('a', 'starting')
    assert.equal(200, t.srv:post('/api/models/unload/b', '').status)
    assert.equal(503, (t:status(b)))
    t:ok(a)
    assert.same({ 'a' }, t:loads())
  end)

  it('twice at once, and of what does not run, is fine', function()
    local t = traffic.start { models = { { 'a', '--term-delay-ms 300' }, 'b' } }
    assert.equal(200, t.srv:chat 'a'.status)
    local list = {}
    for i, path in ipairs { '/api/models/unload/a', '/api/models/unload', '/api/models/unload/a', '/api/models/unload/b' } do
      list[i] = http.connect(t.srv.port)
      list[i]:request('POST', path, { body = '' })
    end
    for _, c in ipairs(list) do assert.equal(200, (t:status(c))) end
    assert.equal(1, #t:events('term', 'a'))
    assert.same({}, t:states())
  end)
end)
