-- env_proxy_spec.lua: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, with a proxy that the spec plays.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local tls = require 'spec.tls'
local tls_files = require 'spec.support.tls_files'
local wait = require 'spec.support.wait'

local pem = tls_files.new()
local far = pem:issue { names = { 'far.test' } }

local listeners = {}
local function listener()
  local l = net.listen('127.0.0.1', 0)
  listeners[#listeners + 1] = l
  return l, l:port()
end

local function start(url, env)
  env.SSL_CERT_FILE = pem.ca
  return server.start { env = env, config = ('models:\n%s\npeers:\n  far:\n    proxy: %s\n    models: [Q]\n' ..
    '    timeouts: { tlsHandshake: 1 }\n'):format(server.model('near', '--silent --respond from-here'), url) }
end

local function ask(srv)
  local c = http.connect(srv.port)
  c:request('POST', '/v1/chat/completions?a=b', { body = { model = 'Q' } })
  return c
end

local function head_of(sock)
  local head = ''
  while not head:find('\r\n\r\n', 1, true) do head = head .. assert(sock:recv(65536)) end
  return head
end

describe('proxies of the environment', function()
  after_each(function()
    server.stop_all()
    for _, l in ipairs(listeners) do l:close() end
    listeners = {}
  end)

  it('get whole URLs for http, with credentials, and their connections are kept', function()
    local l, port = listener()
    local srv = start('http://far.test:8000/base', { HTTP_PROXY = ('http://ann:secret@127.0.0.1:%d'):format(port) })
    assert.matches('far is reached through the proxy 127.0.0.1:' .. port, srv:log(), 1, true)
    local c = ask(srv)
    local s = assert(l:accept(10))
    for i = 1, 2 do
      if i == 2 then c:request('POST', '/v1/chat/completions?a=b', { body = { model = 'Q' } }) end
      local head = head_of(s)
      assert.matches('^POST http://far.test:8000/base/v1/chat/completions%?a=b HTTP/1.1\r\n', head)
      assert.matches('\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n', head, 1, true)
      assert.matches('\r\nHost: far.test:8000\r\n', head, 1, true)
      s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
      assert.equal('ok', c:response().body)
    end
    s:close()
    c:close()
  end)

  it('never stand before a model on this machine, nor before what NO_PROXY names', function()
    local l, port = listener()
    local p = ('127.0.0.1:%d'):format(port)
    local srv = start('http://127.0.0.1:1', { http_proxy = p, HTTPS_PROXY = p })
    assert.equal('from-here', srv:chat('near'):json().choices[1].message.content)
    assert.equal(502, srv:chat('Q').status)
    srv:stop()
    srv = start('http://nowhere.invalid:1', { HTTP_PROXY = p, no_proxy = 'x, .invalid' })
    assert.equal(502, srv:chat('Q').status)
    assert.is_nil((l:accept(0)))
  end)

  it('make a way for https with CONNECT, inside which the peer proves itself', function()
    local l, port = listener()
    local srv = start('https://far.test:8443', { HTTPS_PROXY = ('http://ann@127.0.0.1:%d'):format(port) })
    local c = ask(srv)
    local s = assert(l:accept(10))
    assert.equal('CONNECT far.test:8443 HTTP/1.1\r\nHost: far.test:8443\r\nProxy-Authorization: Basic YW5uOg==\r\n\r\n',
      head_of(s))
    s:send 'HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n'
    local conn = tls.server(s, { cert = far.cert, key = far.key })
    assert(conn:handshake(10))
    for i = 1, 2 do
      if i == 2 then c:request('POST', '/v1/chat/completions?a=b', { body = { model = 'Q' } }) end
      local head = head_of(conn)
      assert.matches('^POST /v1/chat/completions%?a=b HTTP/1.1\r\n', head)
      assert.is_nil(head:find('Proxy-', 1, true))
      conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
      assert.equal('ok', c:response().body)
    end
    conn:close()
    -- the proxy cannot play the peer
    c:request('POST', '/v1/chat/completions', { body = { model = 'Q' } })
    s = assert(l:accept(10))
    head_of(s)
    s:send 'HTTP/1.1 200 OK\r\n\r\n'
    local wrong = pem:issue()
    conn = tls.server(s, { cert = wrong.cert, key = wrong.key })
    conn:handshake(10)
    local r = c:response()
    assert.equal(502, r.status)
    assert.matches('certificate of host far.test is not trusted: hostname mismatch', r:json().error.message, 1, true)
    conn:close()
    c:close()
  end)

  it('that refuse, break off, stay silent or talk too much are 502', function()
    local l, port = listener()
    local srv = start('https://far.test', { HTTPS_PROXY = ('127.0.0.1:%d'):format(port) })
    local cases = {
      { function(s) s:send 'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n' end,
        'proxy 127.0.0.1: answered CONNECT with HTTP/1.1 407 Proxy Authentication Required' },
      { function(s) s:send 'HTTP/1.1 2' s:close() end, 'proxy 127.0.0.1: closed the connection at CONNECT' },
      { function() end, 'timed out connecting to 127.0.0.1' },
      { function(s) s:send 'HTTP/1.1 200 OK\r\n\r\nextra' end, 'proxy 127.0.0.1: spoke before it was asked' },
      { function(s) s:send('HTTP/1.1 200 OK\r\nX: ' .. ('y'):rep(20000)) end, 'answered CONNECT with too much' },
      { function(s) s:send 'SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n' end, 'proxy 127.0.0.1: answered CONNECT with SSH-2.0' },
    }
    for _, case in ipairs(cases) do
      local c = ask(srv)
      local s = assert(l:accept(10))
      assert.matches('^CONNECT far.test:443 ', head_of(s))
      case[1](s)
      local r = c:response()
      assert.equal(502, r.status)
      assert.matches(case[2], r:json().error.message, 1, true)
      pcall(s.close, s)
      c:close()
    end
  end)

  local function exactly(s, n)
    local got = ''
    while #got < n do got = got .. assert(s:recv(n - #got, 10)) end
    return got
  end

  it('may be SOCKS 5, for http and for https, with a password or without', function()
    local l, port = listener()
    local srv = start('http://far.test:8000/base', { HTTP_PROXY = ('socks5://127.0.0.1:%d'):format(port) })
    local c = ask(srv)
    local s = assert(l:accept(10))
    assert.equal('\5\1\0', exactly(s, 3))
    s:send '\5\0'
    assert.equal('\5\1\0\3\8far.test\x1f\x40', exactly(s, 15))
    s:send '\5\0\0\1\127\0\0\1\0\80'
    for i = 1, 2 do
      if i == 2 then c:request('POST', '/v1/chat/completions?a=b', { body = { model = 'Q' } }) end
      assert.matches('^POST /base/v1/chat/completions%?a=b HTTP/1.1\r\nHost: far.test:8000\r\n', head_of(s))
      s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
      assert.equal('ok', c:response().body)
    end
    s:close()
    c:close()
    srv:stop()

    srv = start('https://far.test', { HTTPS_PROXY = ('socks5h://ann:sec%%20ret@127.0.0.1:%d'):format(port) })
    c = ask(srv)
    s = assert(l:accept(10))
    assert.equal('\5\2\0\2', exactly(s, 4))
    s:send '\5'
    s:send '\2'
    assert.equal('\1\3ann\7sec ret', exactly(s, 13))
    s:send '\1\0'
    assert.equal('\5\1\0\3\8far.test\x01\xbb', exactly(s, 15))
    s:send '\5\0\0\3\1x\0\80'
    local conn = tls.server(s, { cert = far.cert, key = far.key })
    assert(conn:handshake(10))
    head_of(conn)
    conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    assert.equal('ok', c:response().body)
    conn:close()
    c:close()
  end)

  it('by SOCKS that refuse, break off or speak something else are 502', function()
    local l, port = listener()
    local srv = start('http://far.test', { HTTP_PROXY = ('socks5://127.0.0.1:%d'):format(port) })
    local cases = {
      { 'HTTP/1.1 400 Bad Request\r\n\r\n', 'proxy 127.0.0.1: does not speak SOCKS 5' },
      { '\5\255', 'proxy 127.0.0.1: wants a user name' },
      { '\5\0\5\5\0\1\0\0\0\0\0\0', 'proxy 127.0.0.1: does not connect to far.test: the connection was refused' },
      { '\5\0\5\0\0\1\0\0\0\0\0\0HTTP/1.1 200 OK\r\n\r\n', 'proxy 127.0.0.1: spoke before it was asked' },
      { '', 'proxy 127.0.0.1: closed the connection' },
      { nil, 'timed out connecting to 127.0.0.1' },
    }
    for i = 1, 6 do
      local c = ask(srv)
      local s = assert(l:accept(10))
      exactly(s, 3)
      if cases[i][1] == '' then s:close() elseif cases[i][1] then s:send(cases[i][1]) end
      local r = c:response()
      assert.equal(502, r.status)
      assert.matches(cases[i][2], r:json().error.message, 1, true)
      pcall(s.close, s)
      c:close()
    end
  end)

  it('of a kind that we do not speak are said in the log, and nothing goes around them', function()
    local srv = start('http://far.test', { HTTP_PROXY = 'socks4://127.0.0.1:1' })
    wait.till(function()
      return srv:log():find('far cannot be reached: HTTP_PROXY: proxies by socks4:// are not supported', 1, true)
    end, 5, 'the log')
    assert.equal(502, srv:chat('Q').status)
  end)
end)
