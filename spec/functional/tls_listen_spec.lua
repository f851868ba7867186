-- tls_listen_spec.lua: clients that come through TLS (-tls-cert-file, -tls-key-file).
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local tls = require 'spec.tls'
local tls_files = require 'spec.support.tls_files'
local wait = require 'spec.support.wait'

local pem = tls_files.new()

local function copy(from, to) server.write_file(to, server.read_file(from)) end

local function start(opts)
  opts = opts or {}
  local cert = pem:issue { cn = 'first' }
  local srv = server.start { config = server.config(opts.top or '', { { 'a', '--silent --log ' .. pem.dir .. '/events' } }),
    args = { '-tls-cert-file', cert.cert, '-tls-key-file', cert.key } }
  srv.cert = cert
  srv.tls = { '127.0.0.1', srv.port, tls = { ca = pem.ca, host = 'localhost' } }
  return srv
end

local function raw(srv, opts)
  return tls.client(assert(net.connect('127.0.0.1', srv.port)), opts or { ca = pem.ca, host = 'localhost' })
end

-- luaswap with these arguments must end by itself: exit code and what it said.
local function fails(args)
  local srv = server.start { config = 'models: {}\n', args = args, no_wait = true }
  local code = srv.proc:wait(10)
  local log = srv:log()
  srv:destroy()
  return code, log
end

describe('the TLS listener', function()
  after_each(server.stop_all)

  it('says so, and serves GET, chat and streams on one connection', function()
    local srv = start()
    assert.matches('listening on https://127.0.0.1:', srv:log(), 1, true)
    local c = http.connect(srv.tls)
    c:request('GET', '/v1/models')
    assert.equal('a', c:response():json().data[1].id)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
    assert.equal('hi', c:response():json().choices[1].message.content)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', stream = true, fake = { tokens = 6, tps = 60 } } })
    local r, n, first, last = assert(c:head()), 0, nil, nil
    for ev in c:events(r) do n, first, last = n + 1, first or ev.at, ev.at end
    assert.is_true(r.done and n >= 6)
    assert.is_true(last - first > 0.04, 'all at once')
    c:close()
  end)

  it('offers TLS 1.3 and http/1.1 only', function()
    local srv = start()
    local c = raw(srv, { alpn = 'h2,http/1.1' })
    assert(c:handshake())
    assert.equal('http/1.1', c:alpn())
    assert.equal('TLSv1.3', c:version())
    assert.equal('first', c:cn())
    c:close()
    c = raw(srv, { alpn = 'h2' })
    local ok, why = c:handshake()
    if ok then ok, why = c:recv(1) end
    assert.is_falsy(ok)
    assert.matches('alert no application protocol', why, 1, true)
    c:close()
    assert.equal(200, http.get(srv.tls, '/health').status)
  end)

  it('tells who speaks plain HTTP what is wrong, and closes on other bytes', function()
    local srv = start()
    local r = http.get(srv.port, '/')
    assert.equal(400, r.status)
    assert.equal('Client sent an HTTP request to an HTTPS server.\n', r.body)
    local s = net.connect('127.0.0.1', srv.port)
    s:send(('\0'):rep(100))
    local data, why
    repeat data, why = s:recv(100, 5) until not data
    assert.not_equal('timeout', why)
    s:close()
    assert.equal(200, http.get(srv.tls, '/health').status)
  end)

  it('gives the handshake limits.headerRead', function()
    local srv = start { top = 'limits: { headerRead: 1 }' }
    local s, t = net.connect('127.0.0.1', srv.port), net.now()
    local data, why = s:recv(1, 8)
    assert.is_nil(data)
    assert.not_equal('timeout', why)
    assert.is_true(net.now() - t > 0.8)
    s:close()
  end)

  it('takes a large upload and gives a large answer, also byte by byte', function()
    local srv = start()
    local body = '{"model":"a","fake":{"echo":true},"pad":"' .. ('x'):rep(5 << 20) .. '"}'
    local r = http.post(srv.tls, '/v1/chat/completions', body, { headers = { ['Content-Type'] = 'application/json' } })
    assert.equal(200, r.status)
    assert.is_true(#r.body > 5 << 20)
    local c = http.connect(srv.tls)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { size = 12 << 20 } } })
    r = assert(c:head())
    srv:held_back(srv.tls)
    c:finish(r)
    assert.is_true(r.done and r.length >= 12 << 20)
    local bytes = http.request_bytes('POST', '/v1/chat/completions', { body = { model = 'a' } })
    for i = 1, #bytes do c.sock:send(bytes:sub(i, i)) end
    c.methods[1] = 'POST'
    assert.equal(200, c:response().status)
    c:close()
  end)

  it('notices a client that leaves in the middle, politely or not', function()
    for _, how in ipairs { 'close', 'cut', 'rst' } do
      os.remove(pem.dir .. '/events')
      local srv = start()
      local c = http.connect(srv.tls)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a', stream = true, fake = { endless = true } } })
      c:event(assert(c:head()))
      c.sock[how](c.sock)
      wait.till(function() return (server.read_file(pem.dir .. '/events') or ''):find('"gone"', 1, true) end, 10,
        'the model to notice ' .. how)
      srv:stop()
    end
  end)

  it('ends a connection with close_notify', function()
    local srv = start()
    local c = raw(srv)
    c:send 'GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    local all, data, why = ''
    repeat
      data, why = c:recv(4096)
      all = all .. (data or '')
    until not data
    assert.matches('^HTTP/1.1 200 OK\r\n', all)
    assert.equal('closed', why)
    c:close()
  end)

  it('answers pipelined requests that came in one record', function()
    local srv = start()
    local c = http.connect(srv.tls)
    local one = 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n'
    c.sock:send(one:rep(20))
    for _ = 1, 20 do
      c.methods[1] = 'GET'
      assert.equal(200, c:response().status)
    end
    c:close()
  end)

  it('reads its files again at SIGHUP; a bad pair changes nothing', function()
    local srv = start()
    local old = http.connect(srv.tls)
    local function now()
      local c = raw(srv)
      assert(c:handshake())
      local cn = c:cn()
      c:close()
      return cn
    end
    assert.equal('first', now())
    local next = pem:issue { cn = 'second' }
    copy(next.cert, srv.cert.cert) -- but not its key
    srv.proc:kill 'HUP'
    wait.till(function() return srv:log():find('the old certificate stays in use: key file', 1, true) end, 5, 'the warning')
    assert.equal('first', now())
    copy(next.key, srv.cert.key)
    srv.proc:kill 'HUP'
    wait.till(function() return srv:log():find('certificate loaded again', 1, true) end, 5, 'the new one')
    assert.equal('second', now())
    server.write_file(srv.cert.cert, 'garbage')
    srv.proc:kill 'HUP'
    wait.till(function() return srv:log():find('stays in use: certificate file', 1, true) end, 5, 'the warning')
    assert.equal('second', now())
    old:request('GET', '/health')
    assert.equal(200, old:response().status)
    old:close()
  end)

  it('wants both files, and files that fit', function()
    local cert = pem:issue()
    local code, log = fails { '-tls-cert-file', cert.cert }
    assert.equal(1, code)
    assert.matches('both -tls-cert-file and -tls-key-file must be provided', log, 1, true)
    code, log = fails { '--tls-key-file=' .. cert.key }
    assert.equal(1, code)
    assert.matches('both -tls-cert-file and -tls-key-file must be provided', log, 1, true)
    code, log = fails { '-tls-cert-file', '/nonexistent', '-tls-key-file', cert.key }
    assert.equal(1, code)
    assert.matches('http server error: certificate file /nonexistent: No such file or directory', log, 1, true)
    code, log = fails { '-tls-cert-file', cert.cert, '-tls-key-file', pem:issue().key }
    assert.equal(1, code)
    assert.matches('http server error: key file .*: key values mismatch', log)
  end)

  it('is left alone by a reload of the configuration, and drains', function()
    local srv = start()
    srv.proc:kill 'HUP'
    wait.till(function() return srv:log():find('certificate loaded again', 1, true) end, 5, 'the reload')
    local c = http.connect(srv.tls)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', stream = true, fake = { tokens = 10, tps = 20 } } })
    local r = assert(c:head())
    srv.proc:kill 'TERM'
    for _ in c:events(r) do end
    assert.is_true(r.done)
    c:close()
    assert.equal(0, (srv.proc:wait(30)))
    srv:check_log()
    srv:destroy()
  end)
end)
