-- peers_spec.lua: requests that leave for another server, selectors, profiles, websockets.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local sha1 = require 'spec.support.sha1'

-- A peer is another luaswap-free fake model that the spec runs itself.
local function fake(args)
  local shell = require 'spec.shell'
  local sock = net.listen('127.0.0.1', 0)
  local port = sock:port()
  sock:close()
  local argv = { shell.exe, '--run', shell.root .. '/spec/support/fake_model.lua', '--port', tostring(port), '--silent' }
  for w in (args or ''):gmatch '%S+' do argv[#argv + 1] = w end
  local proc = assert(net.spawn(argv))
  require('spec.support.wait').till(function()
    local ok, s = pcall(net.connect, '127.0.0.1', port, 0.2)
    if ok and s then s:close() return true end
  end, 10, 'the peer to listen')
  return proc, port
end

describe('peers', function()
  local proc, port
  before_each(function() proc, port = fake '--model far --respond from-afar' end)
  after_each(function()
    server.stop_all()
    proc:kill 'KILL'
    proc:wait(5)
  end)

  local function start(extra, top)
    return server.start { config = ('%s\nmodels:\n%s\npeers:\n  strix:\n    proxy: http://127.0.0.1:%d\n    models: [Q, near]\n%s')
      :format(top or '', server.model('near', '--silent --respond from-here'), port, extra or '') }
  end

  it('serve what only they offer, with the name they know (A002, A068, A071; runtime A104)', function()
    local srv = start()
    for _, name in ipairs { 'Q', 'strix/Q' } do
      local r = srv:post('/v1/chat/completions', { model = name, fake = { echo = true } })
      assert.equal(200, r.status)
      local v = r:json()
      local got = v.echo or v
      assert.matches('"model":"Q"', type(got.body) == 'string' and got.body or r.body, 1, true)
      assert.matches(('127.0.0.1:%d'):format(port), r.body, 1, true)
      assert.is_falsy(r.body:lower():find('x-forwarded-for', 1, true))
    end
  end)

  it('lose to a local model of the same name (A003) and answer under the full name', function()
    local srv = start()
    assert.equal('from-here', srv:chat('near'):json().choices[1].message.content)
    assert.equal('from-afar', srv:chat('strix/near'):json().choices[1].message.content)
  end)

  it('get their apiKey, and never one of ours (A069, A070)', function()
    local srv = start('    apiKey: secret-of-peer\n', 'apiKeys: [ours]')
    local r = srv:post('/v1/chat/completions', { model = 'Q', fake = { echo = true } }, { headers = { ['x-api-key'] = 'ours' } })
    assert.equal(200, r.status)
    assert.matches('Bearer secret-of-peer', r.body, 1, true)
    assert.is_falsy(r.body:find('ours', 1, true))
    srv:stop()
    srv = start('', 'apiKeys: [ours]')
    r = srv:post('/v1/chat/completions', { model = 'Q', fake = { echo = true } },
      { headers = { Authorization = 'Bearer ours' } })
    assert.equal(200, r.status)
    assert.is_falsy(r.body:find('ours', 1, true))
    r = srv:post('/v1/chat/completions', { model = 'Q', fake = { echo = true } }, { headers = {
      { 'Authorization', 'Bearer ours' }, { 'Authorization', 'Basic x' }, { 'x-api-key', 'other' }, { 'x-api-key', 'ours' } } })
    assert.equal(200, r.status)
    assert.is_falsy(r.body:find('ours', 1, true))
  end)

  it('that cannot be reached give 502 with the envelope (A043)', function()
    local srv = start()
    proc:kill 'KILL'
    proc:wait(5)
    local r = srv:chat 'Q'
    assert.equal(502, r.status)
    assert.matches('peer proxy error', r:json().error.message, 1, true)
  end)

  it('are reached through /upstream too', function()
    local srv = start()
    local r = srv:get '/upstream/strix/Q/health'
    assert.equal(200, r.status)
  end)
end)

describe('selectors and profiles', function()
  after_each(server.stop_all)

  local function start(more)
    return server.start { config = server.config('', { { 'a', '--silent --respond A' }, { 'b', '--silent --respond B' } }) .. more }
  end
  local function who(srv, name) return srv:chat(name):json().choices[1].message.content end

  it('pin takes the first target, warm the one that is ready', function()
    local srv = start('selectors:\n  p: { strategy: pin, targets: [b, a] }\n  w: { strategy: warm, targets: [a, b] }\n')
    assert.equal('B', who(srv, 'p'))
    assert.equal('B', who(srv, 'w'))
    assert.equal('A', who(srv, 'a'))
    assert.equal('A', who(srv, 'w'))
  end)

  it('rename in the place where the model was found (A123)', function()
    local srv = start('selectors:\n  p: { strategy: pin, targets: [b] }\n')
    local r = srv:post('/v1/chat/completions', { model = 'p', fake = { echo = true } })
    assert.matches('\\"model\\":\\"b\\"', r.body, 1, true)
    r = srv:post('/v1/completions?echo=1', 'x=1&model=p&y=%20', { headers = { ['Content-Type'] = 'application/x-www-form-urlencoded' } })
    assert.matches('x=1&model=b&y=%20', r.body, 1, true)
    r = srv:post('/v1/completions?echo=1&model=p', 'hello', { headers = { ['Content-Type'] = 'text/plain' } })
    assert.matches('echo=1&model=b', r.body, 1, true)
    assert.equal(404, srv:get('/upstream/p/health').status)
  end)

  it('profiles list, switch, pin and disable (A114, A115, A117)', function()
    local srv = start('profiles:\n  coding:\n    pins: { public: b, a: "" }\n')
    local r = srv:get('/api/profiles'):json()
    assert.equal('coding', r.profiles[1].id)
    assert.equal('', r.profiles[1].pins.a)
    assert.equal(404, srv:chat('public').status)
    local function put(body) return http.exchange(srv.port, 'PUT', '/api/profiles/active', { body = body }) end
    assert.equal(404, put('{"name":"missing"}').status)
    assert.equal(400, put('nonsense').status)
    assert.equal('coding', put('{"name":"coding"}'):json().active)
    assert.equal('B', who(srv, 'public'))
    assert.equal(404, srv:chat('a').status)
    assert.equal(200, put('{"name":null}').status)
    assert.equal('A', who(srv, 'a'))
  end)
end)

describe('websockets', function()
  after_each(server.stop_all)

  local function handshake(srv, path)
    local c = http.connect(srv.port)
    c:send(('GET %s HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, UpGrAdE\r\nUpgrade: WebSocket\r\n' ..
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'):format(path))
    return c, c:head(20)
  end

  it('are passed through after a 101 and echo (A077, A082)', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent' } }) }
    local c, r = handshake(srv, '/upstream/a/ws')
    assert.equal(101, r.status)
    assert.is_truthy(r:get 'sec-websocket-accept')
    c:send('\x81\x84\0\0\0\0ping')
    local got = ''
    while #got < 6 do got = got .. assert(c.sock:recv(100, 10)) end
    assert.equal('\x81\x04ping', got:sub(1, 6))
    c:close()
    assert.equal(200, srv:chat('a').status)
    assert.is_string(sha1 and 'ok')
  end)

  it('do not start a model that ignores them: 409 (A083), and do not block a swap (A084)', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent', { compat = '{ ignoreWebsockets: true }' } },
      { 'b', '--silent' } }) }
    local c, r = handshake(srv, '/upstream/a/ws')
    assert.equal(409, r.status)
    c:close()
    assert.equal(200, srv:chat('a').status)
    c, r = handshake(srv, '/upstream/a/ws')
    assert.equal(101, r.status)
    assert.equal(200, srv:chat('b').status)
    assert.is_true(c:at_end(10))
    c:close()
  end)
end)
