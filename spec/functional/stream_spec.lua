-- stream_spec.lua: answers on their way: chunks as they come, slow readers, broken upstreams, leaving clients.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function body(model, fake, extra)
  local b = { model = model, messages = { { role = 'user', content = 'hi' } }, fake = fake }
  for k, v in pairs(extra or {}) do b[k] = v end
  return { body = b }
end

local function one(args, top, extra)
  local log = net.tmpdir() .. '/e.jsonl'
  return server.start { config = server.config(top or '', {
    { 'a', '--silent --log ' .. log .. ' ' .. (args or ''), extra }, { 'b', '--silent' } }) }, log
end

local function count(log, ev)
  local n = 0
  for _, e in ipairs(server.read_events(log)) do if e.ev == ev then n = n + 1 end end
  return n
end

describe('streams', function()
  after_each(server.stop_all)

  it('pass event by event as they are produced', function()
    local srv = one()
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', body('a', { tokens = 5, tps = 20 }, { stream = true }))
    local r = c:head(20)
    assert.equal('text/event-stream', r:get 'content-type')
    assert.equal('no', r:get 'x-accel-buffering')
    local times = {}
    for ev in c:events(r, 20) do times[#times + 1] = ev.at end
    assert.is_true(r.done)
    assert.is_true(#times >= 6)
    assert.is_true(times[#times] - times[1] > 0.1)
    c:close()
  end)

  it('abort the upstream at once when the client leaves', function()
    local srv, log = one()
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', body('a', { endless = true, tps = 50 }, { stream = true }))
    c:head(20)
    c:close()
    wait.till(function() return count(log, 'gone') == 1 end, 5, 'the upstream to see that the client left')
    assert.equal(200, srv:chat('a').status)
  end)

  it('show a cut when the upstream breaks off: no final chunk, and an error event first (D-P6, A085, A093)', function()
    local srv = one()
    for _, how in ipairs { 'drop_after', 'reset_after', 'die_after' } do
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', body('a', { [how] = 2, tokens = 10, tps = 100 }, { stream = true }))
      local r = c:head(20)
      c:finish(r, 20)
      assert.is_falsy(r.done, how)
      assert.is_truthy(r.cut, how)
      assert.matches('"error"', r.body, 1, true)
      c:close()
    end
    assert.equal(3, select(2, srv:log():gsub('a broke off after %d+ bytes', '')))
    assert.equal(200, srv:chat('a').status)
  end)

  it('show a cut of an answer with a length', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = server.start { config = ('models:\n  a:\n    cmd: sleep 1000\n    checkEndpoint: none\n' ..
      '    proxy: http://127.0.0.1:%d\n'):format(up:port()) }
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', body('a'))
    local conn = assert(up:accept(10))
    conn:recv(65536, 10)
    conn:send('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nseven b')
    conn:close()
    local r = c:response(20)
    assert.equal(200, r.status)
    assert.is_falsy(r.done)
    assert.equal('seven b', r.body)
    c:close()
    up:close()
  end)

  it('do not let a slow reader grow memory while nobody waits', function()
    local srv = one()
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', body('a', { size = 32 * 1024 * 1024 }))
    local rss = net.rss_kb(srv.pid)
    local r = c:head(20)
    assert.equal(200, r.status)
    srv:held_back()
    local grown = net.rss_kb(srv.pid) - rss
    assert.is_true(grown < 4 * 1024, grown .. ' kB')
    c:finish(r, 60)
    assert.is_true(r.done)
    assert.equal(32 * 1024 * 1024, r.length)
    c:close()
  end)

  it('leave the slot when others wait: the rest of a slow reader\'s answer is spooled', function()
    local srv, log = one()
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', body('a', { size = 32 * 1024 * 1024 }))
    local r = c:head(20)
    assert.equal(200, r.status)
    local t0 = net.now()
    assert.equal(200, srv:chat('b').status) -- would wait for ever if the slow reader held the slot
    assert.is_true(net.now() - t0 < 20)
    assert.equal(1, count(log, 'end'))
    c:finish(r, 60)
    assert.is_true(r.done)
    assert.equal(32 * 1024 * 1024, r.length)
    c:close()
  end)

  it('carry a body of many megabytes whole, in memory and through the spool file', function()
    local srv = one()
    for _, size in ipairs { 1000, 1024 * 1024 - 50, 5 * 1024 * 1024 } do
      local text = ('x'):rep(size)
      local r = srv:post('/v1/chat/completions', { model = 'a', pad = text, fake = { echo = true } }, { timeout = 60 })
      assert.equal(200, r.status)
      assert.is_truthy(r.body:find(text, 1, true), size)
    end
  end)

  it('keep the client\'s bytes: only the model member changes with useModelName', function()
    local log = net.tmpdir() .. '/e'
    local srv = server.start { config = server.config('', {
      { 'a', '--silent --log ' .. log, { useModelName = 'real/name' } } }) }
    local raw = '{ "z" : 1.50e3, "model":"a" ,"big":12345678901234567890, "fake":{"echo":true},\n "u":"\\u00e9" }'
    local r = srv:post('/v1/chat/completions', raw, { headers = { ['Content-Type'] = 'application/json' } })
    assert.equal(200, r.status)
    local want = raw:gsub('"a"', '"real/name"')
    local got = r:json()
    assert.equal(want, got.echo and got.echo.body or got.body)
  end)

  it('refuse a body with two model members', function()
    local srv = one()
    local r = srv:post('/v1/chat/completions', '{"model":"a","mod\\u0065l":"b"}',
      { headers = { ['Content-Type'] = 'application/json' } })
    assert.equal(400, r.status)
  end)
end)
