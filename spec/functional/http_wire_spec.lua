-- http_wire_spec.lua: HTTP/1.1 as clients meet it: keep-alive, pipelining, HTTP/1.0, HEAD, expectations, trailers,
-- early answers, and clients that leave.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local srv, log

local function events(ev)
  local list = {}
  for _, e in ipairs(server.read_events(log)) do if e.ev == ev then list[#list + 1] = e end end
  return list
end

local function post(path, body, more)
  return ('POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s'):format(path,
    #body, more or '', body)
end
local chat = '{"model":"a","messages":[]}'

describe('on the wire', function()
  setup(function()
    log = net.tmpdir() .. '/e.jsonl'
    srv = server.start { config = server.config('', { { 'a', '--silent --log ' .. log } }) }
    assert.equal(200, srv:chat('a').status)
  end)
  teardown(server.stop_all)

  it('a connection is kept, and every answer has a date', function()
    local c = http.connect(srv.port)
    for _ = 1, 3 do
      c:send(post('/v1/chat/completions', chat))
      local r = c:response()
      assert.equal(200, r.status)
      assert.equal(1, r:count 'date')
      assert.is_true(r.keep_alive)
    end
    c:close()
  end)

  it('pipelined requests are answered in order, each by itself', function()
    local c = http.connect(srv.port)
    c:send(post('/v1/chat/completions', chat) .. '\r\n' .. 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n' ..
      'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n' ..
      ('Transfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n'):format(chat:sub(1, 5), #chat - 5, chat:sub(6)) ..
      'GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    local got = {}
    for i = 1, 4 do
      local r = c:response()
      got[i] = r.status
    end
    assert.same({ 200, 200, 200, 404 }, got)
    assert.is_true(c:at_end())
    c:close()
  end)

  it('HTTP/1.0 clients get no chunks, and a close unless they ask', function()
    local c = http.connect(srv.port)
    c:send('GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    assert.equal('keep-alive', c:response():get 'connection')
    local body = '{"model":"a","messages":[],"stream":true,"fake":{"tokens":3}}'
    c:send((post('/v1/chat/completions', body):gsub('HTTP/1.1', 'HTTP/1.0', 1)))
    local r = c:response()
    assert.equal(200, r.status)
    assert.is_nil(r:get 'transfer-encoding')
    assert.matches('%[DONE%]', r.body)
    assert.is_true(c:at_end())
    c:close()
  end)

  it('HEAD has the head of the answer and nothing else', function()
    local c = http.connect(srv.port)
    c:send('HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.equal(200, c:response().status)
    c:send('HEAD /upstream/a/echo HTTP/1.1\r\nHost: a\r\n\r\n')
    local r = c:response()
    assert.is_true(r.status >= 200)
    c:send('GET /health HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.equal('OK', c:response().body)
    c:close()
  end)

  it('Expect: 100-continue is answered before the body, and not at all when it is not wanted', function()
    local c = http.connect(srv.port)
    local whole = post('/v1/chat/completions', chat, 'Expect: 100-continue\r\n')
    c:send(whole:sub(1, -1 - #chat))
    local first = c.sock:recv(65536, 10)
    assert.equal('HTTP/1.1 100 Continue\r\n\r\n', first)
    c.sock:send(chat, 10)
    assert.equal(200, c:response().status)
    c:close()
    c = http.connect(srv.port)
    c:send(post('/nowhere', '', 'Expect: 100-continue\r\n'):gsub('Content%-Length: 0', 'Content-Length: 10'))
    local r = c:response()
    assert.equal(404, r.status)
    assert.equal(0, #r.interim)
    assert.is_true(c:at_end())
    c:close()
  end)

  it('a request that is refused early leaves its connection usable when its body is small', function()
    local c = http.connect(srv.port)
    c:send(post('/nowhere', ('x'):rep(1000)) .. 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.equal(404, c:response().status)
    assert.equal(200, c:response().status)
    c:close()
  end)

  it('a refusal of a large upload arrives although the client is still sending', function()
    local c = http.connect(srv.port)
    c:send('POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n')
    pcall(c.send, c, ('x'):rep(1 << 20), 5)
    local r = c:response()
    assert.equal(404, r.status)
    assert.is_false(r.keep_alive)
    c:close()
  end)

  it('a client that closes only its half has gone as well', function()
    local before = #events 'gone'
    local c = http.connect(srv.port)
    c:send(post('/v1/chat/completions', '{"model":"a","messages":[],"stream":true,"fake":{"endless":true,"tps":50}}'))
    c:head()
    c.sock:shutdown()
    wait.till(function() return #events 'gone' == before + 1 end, 10, 'the model to see that the client left')
    c:close()
  end)

  it('trailers and interim answers of a model pass', function()
    local up = net.listen('127.0.0.1', 0)
    local other = server.start { config = ('models:\n  t:\n    cmd: sleep 1000\n    checkEndpoint: none\n' ..
      '    proxy: http://127.0.0.1:%d\n'):format(up:port()) }
    local c = http.connect(other.port)
    c:send('GET /upstream/t/x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n')
    local conn = assert(up:accept(20))
    local asked = conn:recv(65536, 10)
    assert.matches('\r\nTE: trailers\r\n', asked, 1, true)
    conn:send('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n' ..
      'Trailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n')
    local raw = ''
    repeat
      local data = c.sock:recv(65536, 10)
      raw = raw .. (data or '')
    until not data or raw:find('\r\n0\r\n.*\r\n\r\n')
    assert.matches('^HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n', raw)
    assert.matches('\r\nTrailer: X-Sum\r\n', raw, 1, true)
    assert.matches('\r\n\r\n3\r\nabc\r\n0\r\nX%-Sum: 7\r\n\r\n$', raw)
    conn:close()
    c:close()
    up:close()
  end)

  it('the length in an answer to HEAD passes, without a body', function()
    local up = net.listen('127.0.0.1', 0)
    local other = server.start { config = ('models:\n  t:\n    cmd: sleep 1000\n    checkEndpoint: none\n' ..
      '    proxy: http://127.0.0.1:%d\n'):format(up:port()) }
    local c = http.connect(other.port)
    c:send('HEAD /upstream/t/x HTTP/1.1\r\nHost: a\r\n\r\n')
    local conn = assert(up:accept(20))
    assert.matches('^HEAD /x HTTP/1.1\r\n', conn:recv(65536, 10))
    conn:send('HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n')
    local r = c:response()
    assert.equal('1234', r:get 'content-length')
    c:send('GET /health HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.equal('OK', c:response().body)
    conn:close()
    c:close()
    up:close()
  end)

  it('an answer that breaks HTTP rules is a 502, and not passed on', function()
    for _, bad in ipairs { 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 'HTTP/1.1 200 OK\nX: y\n\n',
      'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n', 'what?\r\n\r\n' } do
      local up = net.listen('127.0.0.1', 0)
      local other = server.start { config = ('models:\n  t:\n    cmd: sleep 1000\n    checkEndpoint: none\n' ..
        '    proxy: http://127.0.0.1:%d\n'):format(up:port()) }
      local c = http.connect(other.port)
      c:send('GET /upstream/t/x HTTP/1.1\r\nHost: a\r\n\r\n')
      local conn = assert(up:accept(20))
      conn:recv(65536, 10)
      conn:send(bad)
      local r = c:response()
      assert.equal(502, r.status)
      conn:close()
      c:close()
      up:close()
      other:stop()
    end
  end)
end)
