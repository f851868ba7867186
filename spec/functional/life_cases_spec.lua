-- life_cases_spec.lua: acceptance cases of the runtime contract (runtime.md 9) that no other spec tells on the way.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local reload = require 'spec.support.reload'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local function metadata(t, model)
  for _, list in pairs(t:state().requests) do
    for _, req in ipairs(list) do
      if req.model == model then return req.metadata end
    end
  end
end

describe('fifo', function()
  after_each(server.stop_all)

  it('A034: a grant writes the priority into the metadata, as text', function()
    local t = traffic.start { models = { 'a', 'b' }, fifo = { priority = { a = -3 } },
      groups = { g = { swap = false, members = { 'a', 'b' } } } }
    local a, b = t:hold('a', 'hold-a'), t:hold('b', 'hold-b')
    assert.same({ fifo_priority = '-3' }, metadata(t, 'a'))
    assert.same({ fifo_priority = '0' }, metadata(t, 'b'))
    a:close()
    b:close()
    t:at_rest()
  end)

  it('A097: a cold model is started once and serves; an unknown one is 404', function()
    local t = traffic.start { models = { 'a' } }
    t:ok(t:send('a', 'a1'))
    assert.same({ 'a' }, t:loads())
    assert.same({ 'a1' }, t:ids())
    assert.equal(404, t.srv:chat('nobody').status)
    assert.same({ 'a' }, t:loads())
  end)

  it('A099: a request for a process that somebody else is ending is served by the next one', function()
    local t = traffic.start { models = { { 'a', '--term-delay-ms 400' } } }
    assert.equal(200, t.srv:chat 'a'.status)
    net.kill(t.srv:models()[1].pid, 'TERM') -- not us; it takes its time
    wait.till(function() return #t:events('term', 'a') == 1 end, 5, 'the model to hear it')
    t:ok(t:send('a', 'r1', { wait_ms = 800 }))
    assert.same({ 'a', 'a' }, t:loads())
  end)
end)

describe('a websocket', function()
  after_each(server.stop_all)

  local function upgrade(t, model)
    local c = http.connect(t.srv.port)
    c:send(('GET /upstream/%s/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' ..
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'):format(model))
    return c
  end

  it('A098: that is ignored never starts a model and blocks no eviction; any other does both', function()
    local t = traffic.start { models = { { 'i', '--load-ms 500', { compat = '{ ignoreWebsockets: true }' } },
      'n', 'x' } }
    local c = upgrade(t, 'i')
    assert.equal(409, c:response(10).status) -- stopped
    local first = t:send('i', 'i1')
    t:is('i', 'starting')
    c = upgrade(t, 'i')
    assert.equal(409, c:response(10).status) -- starting
    t:ok(first)
    local ws = upgrade(t, 'i')
    assert.equal(101, ws:head(10).status)
    t:ok(t:send('x', 'x1')) -- pushes i out, and the socket with it
    assert.is_true(ws:at_end(10))
    assert.same({ 'i', 'x' }, t:loads())
    ws = upgrade(t, 'n')
    assert.equal(101, ws:head(20).status)
    assert.same({ 'i', 'x', 'n' }, t:loads())
    local waits = t:send('x', 'x2')
    t:queued(1) -- it holds its model
    assert.equal('ready', t:states().n)
    ws:close()
    t:ok(waits)
  end)
end)

describe('a stop', function()
  after_each(server.stop_all)

  it('A089: lets a handler of SIGTERM finish within the grace', function()
    local t = traffic.start { models = { { 'a', '--term-delay-ms 600', { unloadTimeout = 5 } } } }
    assert.equal(200, t.srv:chat 'a'.status)
    local t0 = net.now()
    assert.equal(200, t.srv:get('/unload', { timeout = 20 }).status)
    assert.is_true(net.now() - t0 >= 0.5, net.now() - t0)
    assert.equal(1, #t:events('exit', 'a')) -- it said so itself
  end)
end)

describe('shutdown', function()
  after_each(server.stop_all)

  it('A102: stops each process once, and nothing new is served', function()
    local t = traffic.start { models = { 'a', 'b' }, groups = { g = { swap = false, members = { 'a', 'b' } } } }
    assert.equal(200, t.srv:chat 'a'.status)
    local b = t:hold('b', 'hold-b')
    t.srv.proc:kill 'TERM'
    wait.till(function() return t.srv:log():find('shutting down', 1, true) end, 5, 'the shutdown')
    -- the port is closed, or says 503 while it still is there
    local ok, r = pcall(t.srv.chat, t.srv, 'a', nil, { timeout = 5 })
    assert.is_true(not ok or r.status == 503 or r.status == nil)
    b:close()
    assert.equal(0, t.srv.proc:wait(30))
    assert.equal(1, #t:events('term', 'a'))
    assert.equal(1, #t:events('term', 'b'))
  end)

  it('A111: a request that loads is answered 503 at once; a slow process has more than its unloadTimeout', function()
    local t = traffic.start { models = { { 'a', '--load-ms 60000 --term-delay-ms 2500', { unloadTimeout = 1 } } } }
    local c = t:send('a', 'a1')
    wait.till(function() return #t:events('listen', 'a') == 1 end, 10, 'the process')
    t.srv.proc:kill 'TERM'
    local t0 = net.now()
    local r = c:response(10)
    assert.equal(503, r.status)
    assert.is_truthy(r:get 'retry-after')
    assert.is_true(net.now() - t0 < 1.5 * wait.slow)
    assert.equal(0, t.srv.proc:wait(30))
    assert.equal(1, #t:events('exit', 'a')) -- it ended by itself, 2.5 s later, and was not killed
  end)

  it('A105: an answer of a peer that is under way is finished', function()
    local far = server.start { config = server.config('', { { 'q', '--silent' } }) }
    local near = server.start { config = ('models: {}\npeers:\n  p: { proxy: "%s", models: [q] }\n'):format(far.url) }
    assert.equal(200, near:chat('q', nil, { timeout = 30 }).status)
    local c = http.connect(near.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'q', stream = true, messages = {},
      fake = { stream = true, tokens = 40, tps = 30 } } })
    local r = c:head(20)
    assert.equal(200, r.status)
    near.proc:kill 'TERM'
    c:finish(r, 20)
    assert.is_true(r.done)
    assert.equal(0, near.proc:wait(20))
  end)
end)

describe('preload', function()
  after_each(server.stop_all)

  it('A107: makes a model ready without a request to it, and /unload answers OK', function()
    local log = net.tmpdir() .. '/events'
    local r = reload.start { models = { a = '', b = '--log ' .. log },
      top = 'hooks: { on_startup: { preload: [ b ] } }' }
    wait.till(function() return r.srv:get '/running'.body:find('"model":"b","state":"ready"', 1, true) end, 20, 'b')
    for _, e in ipairs(server.read_events(log)) do assert.are_not.equal('start', e.ev) end
    local answer = r.srv:get('/unload', { timeout = 20 })
    assert.equal(200, answer.status)
    assert.equal('OK', answer.body)
  end)
end)
