-- tls_peer_spec.lua: peers behind https: whom we trust, what is refused, and that everything that works without TLS
-- works with it.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local shell = require 'spec.shell'
local tls = require 'spec.tls'
local tls_files = require 'spec.support.tls_files'
local wait = require 'spec.support.wait'

local pem = tls_files.new()
local good = pem:issue()
local procs, listeners = {}, {}

local function free_port()
  local sock = net.listen('127.0.0.1', 0)
  local port = sock:port()
  sock:close()
  return port
end

-- A fake model that speaks TLS; with `host` on that address.
local function fake(cert, args, host)
  local port = free_port()
  local argv = { shell.exe, '--run', shell.root .. '/spec/support/fake_model.lua', '--port', tostring(port), '--silent',
    '--tls-cert', cert.cert, '--tls-key', cert.key }
  for w in (args or ''):gmatch '%S+' do argv[#argv + 1] = w end
  procs[#procs + 1] = assert(net.spawn(argv))
  wait.till(function()
    local ok, s = pcall(net.connect, host or '127.0.0.1', port, 0.2)
    if ok and s then s:close() return true end
  end, 10, 'the peer to listen')
  return port
end

-- A peer that the spec plays itself.
local function listener()
  local l = net.listen('127.0.0.1', 0)
  listeners[#listeners + 1] = l
  return l, l:port()
end

local function start(port, opts)
  opts = opts or {}
  return server.start { config = ('%s\nmodels:\n%s\npeers:\n  far:\n    proxy: https://%s:%d%s\n    models: [Q]\n%s'):format(
    opts.top or '', server.model('near', '--silent'), opts.host or '127.0.0.1', port, opts.path or '', opts.peer or ''),
    env = { SSL_CERT_FILE = opts.ca or pem.ca } }
end

-- One connection of a peer that the spec plays, its handshake done, the request's head read.
local function take(l)
  local conn = tls.server(assert(l:accept(10)), { cert = good.cert, key = good.key })
  assert(conn:handshake(10))
  local head = ''
  while not head:find('\r\n\r\n', 1, true) do head = head .. assert(conn:recv(65536)) end
  return conn, head
end

describe('peers behind https', function()
  after_each(function()
    server.stop_all()
    for _, p in ipairs(procs) do
      p:kill 'KILL'
      p:wait(5)
    end
    for _, l in ipairs(listeners) do l:close() end
    procs, listeners = {}, {}
  end)

  it('get a large upload while it still comes', function()
    local l, port = listener()
    local srv = start(port)
    local c, block = http.connect(srv.port), ('0123456789abcdef'):rep(65536)
    c:send(('POST /upstream/far/Q/put HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n'):format(3 * #block)):send(block)
    local conn, head = take(l)
    local got = #head - select(2, head:find('\r\n\r\n', 1, true))
    while got < #block do got = got + #assert(conn:recv(65536)) end
    assert.equal(#block, got)
    c:send(block):send(block)
    while got < 3 * #block do got = got + #assert(conn:recv(65536)) end
    conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    assert.equal('ok', c:response().body)
    conn:close()
    c:close()
  end)

  it('answer when their certificate is trusted and names them, by address and by name', function()
    for _, host in ipairs { '127.0.0.1', 'localhost' } do
      local port = fake(good, '--respond from-afar')
      local srv = start(port, { host = host })
      local r = srv:chat 'Q'
      assert.equal(200, r.status)
      assert.equal('from-afar', r:json().choices[1].message.content)
      srv:stop()
    end
  end)

  it('are refused with 502 and the reason when they cannot be trusted', function()
    local cases = {
      { pem:issue { names = { 'elsewhere.example' } }, 'hostname mismatch', 'localhost' },
      { pem:issue { names = { 'localhost' } }, 'IP address mismatch', '127.0.0.1' },
      { pem:issue { from = -7200, till = -3600 }, 'certificate has expired' },
      { pem:issue { from = 3600, till = 7200 }, 'certificate is not yet valid' },
      { pem:issue { alone = true }, 'self%-signed certificate' },
      { tls_files.new('stranger'):issue(), 'unable to get local issuer certificate' },
    }
    for _, c in ipairs(cases) do
      local cert, text, host = c[1], c[2], c[3] or '127.0.0.1'
      local srv = start(fake(cert), { host = host })
      local r = srv:chat 'Q'
      assert.equal(502, r.status)
      assert.matches(('peer proxy error: far: certificate of host %s is not trusted: '):format(host),
        r:json().error.message, 1, true)
      assert.matches(text, r:json().error.message)
      srv:stop()
    end
  end)

  it('trust nobody without authorities', function()
    local srv = start(fake(good), { ca = '/nonexistent' })
    local r = srv:chat 'Q'
    assert.equal(502, r.status)
    assert.matches('is not trusted: unable to get local issuer', r:json().error.message, 1, true)
  end)

  it('that do not speak TLS are 502', function()
    local l, port = listener()
    local srv = start(port)
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q' } })
    local s = assert(l:accept(10))
    s:recv(100)
    s:send 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'
    local r = c:response()
    assert.equal(502, r.status)
    assert.matches('TLS handshake with host 127.0.0.1: ', r:json().error.message, 1, true)
    s:close()
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q' } })
    s = assert(l:accept(10))
    s:close() -- before the first byte
    r = c:response()
    assert.equal(502, r.status)
    c:close()
  end)

  it('get timeouts.tlsHandshake for the handshake', function()
    local l, port = listener()
    local srv = start(port, { peer = '    timeouts: { tlsHandshake: 1 }\n' })
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q' } })
    local s = assert(l:accept(10)) -- and nothing more
    local r = c:response()
    assert.equal(502, r.status)
    assert.matches('timed out in the TLS handshake', r:json().error.message, 1, true)
    s:close()
    c:close()
  end)

  it('get the name by SNI, http/1.1 by ALPN, TLS 1.2 if they have no more', function()
    local l, port = listener()
    local srv = start(port)
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q' } })
    local conn = tls.server(assert(l:accept(10)), { cert = good.cert, key = good.key, max = '1.2' })
    assert(conn:handshake(10))
    assert.equal('TLSv1.2', conn:version())
    assert.matches('POST /v1/chat/completions', conn:recv(4096), 1, true)
    conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    assert.equal('ok', c:response().body)
    conn:close()
    c:close()
  end)

  it('keep their connection for the next request', function()
    local l, port = listener()
    local srv = start(port)
    local c = http.connect(srv.port)
    local conn
    for i = 1, 3 do
      c:request('POST', '/v1/chat/completions', { body = { model = 'Q', n = i } })
      if not conn then conn = take(l) else assert(conn:recv(65536)) end
      conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
      assert.equal('ok', c:response().body)
    end
    -- a connection that died in the pool is replaced without a word
    conn:cut()
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q' } })
    conn = take(l)
    conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    assert.equal('ok', c:response().body)
    conn:close()
    c:close()
  end)

  it('that end without close_notify have cut their answer', function()
    local l, port = listener()
    local srv = start(port)
    local function ask(how)
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'Q' } })
      local conn = take(l)
      conn:send 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nhalf of it'
      local r = assert(c:head())
      conn[how](conn)
      c:finish(r)
      c:close()
      return r
    end
    local r = ask 'close' -- the end of the connection is the end of the body, if it was said
    assert.equal('half of it', r.body)
    assert.is_true(r.done)
    r = ask 'cut'
    assert.is_falsy(r.done)
    r = ask 'rst'
    assert.is_falsy(r.done)
  end)

  it('send and take large bodies, also past a slow reader', function()
    local srv = start(fake(good))
    local r = srv:post('/v1/chat/completions', { model = 'Q', fake = { size = 20 << 20 } })
    assert.equal(200, r.status)
    assert.is_true(r.length >= 20 << 20)
    local body = '{"model":"Q","fake":{"echo":true},"pad":"' .. ('x'):rep(8 << 20) .. '"}'
    r = srv:post('/v1/chat/completions', body, { headers = { ['Content-Type'] = 'application/json' } })
    assert.equal(200, r.status)
    assert.is_true(#r.body > 8 << 20)
    -- a client that does not read holds the peer back
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q', fake = { size = 30 << 20 } } })
    r = assert(c:head())
    srv:held_back()
    local f = assert(io.open(('/proc/%d/status'):format(srv.pid)))
    local rss = tonumber(f:read 'a':match 'VmRSS:%s+(%d+)')
    f:close()
    c:finish(r)
    assert.is_true(r.done and r.length >= 30 << 20)
    assert.is_true(rss < 400 * 1024, 'RSS ' .. rss .. ' KiB')
    c:close()
  end)

  it('stream events one by one, and notice a client that leaves', function()
    local log = pem.dir .. '/events'
    local srv = start(fake(good, '--log ' .. log))
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q', stream = true, fake = { tokens = 5, tps = 50 } } })
    local r, n = assert(c:head()), 0
    local first, last
    for ev in c:events(r) do
      n, first, last = n + 1, first or ev.at, ev.at
    end
    assert.is_true(r.done)
    assert.is_true(n >= 5)
    assert.is_true(last - first > 0.04, 'all at once')
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q', stream = true, fake = { endless = true } } })
    r = assert(c:head())
    c:event(r)
    c:close()
    wait.till(function() return (server.read_file(log) or ''):find('"gone"', 1, true) end, 10, 'the peer to notice')
  end)

  it('may be models of this machine, too', function()
    local srv = server.start { env = { SSL_CERT_FILE = pem.ca }, config = 'models:\n' .. server.model('s',
      ('--silent --respond safe --load-ms 100 --tls-cert %s --tls-key %s'):format(good.cert, good.key),
      { proxy = 'https://localhost:${PORT}' }) }
    assert.equal('safe', srv:chat('s'):json().choices[1].message.content)
  end)

  it('carry websockets', function()
    local l, port = listener()
    local srv = start(port)
    local c = http.connect(srv.port)
    c:send('GET /upstream/far/Q/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' ..
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
    local conn, head = take(l)
    assert.matches('Upgrade: websocket', head, 1, true)
    conn:send 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly'
    local got = ''
    while not got:find 'early' do got = got .. assert(c.sock:recv(4096)) end
    assert.matches('^HTTP/1.1 101 ', got)
    c.sock:send 'ping'
    assert.equal('ping', conn:recv(100))
    local big = ('z'):rep(3 << 20)
    c.sock:send(big:sub(1, 100000))
    local n = 0
    while n < 100000 do n = n + #assert(conn:recv(65536)) end
    conn:send 'pong'
    assert.equal('pong', c.sock:recv(100))
    conn:close()
    assert.is_nil((c.sock:recv(100)))
    c:close()
  end)
end)
