-- http_cases_spec.lua: acceptance cases of http.md section 12 that no other spec shows: models in paths, filters and
-- forwarding as seen from the other side, time-outs of peers, upgrades, loads and stops that meet requests.
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

-- A server of the spec's own in the place of a model or peer, for what the fake model cannot do.
local function deaf(port, extra)
  return ('  raw:\n    cmd: sleep 1000\n    checkEndpoint: none\n    proxy: http://127.0.0.1:%d\n%s'):format(port, extra or '')
end

-- The next request that comes to it: its connection, its head, its body.
local function take(up)
  local conn, text = assert(up:accept(20)), ''
  repeat
    local data = assert(conn:recv(65536, 10))
    text = text .. data
    local at = text:find('\r\n\r\n', 1, true)
    local need = tonumber(text:match '\r\n[Cc]ontent%-[Ll]ength: (%d+)\r\n' or 0)
  until at and #text >= at + 3 + need
  local at = text:find('\r\n\r\n', 1, true)
  return conn, text:sub(1, at + 1), text:sub(at + 4)
end

local function answer(conn, body, fields)
  conn:send(('HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s'):format(#body, fields or '', body))
end

-- Two fake models that are no models of luaswap: the peers.
local function fake_peer(name)
  local shell = require 'spec.shell'
  local sock = net.listen('127.0.0.1', 0)
  local port = sock:port()
  sock:close()
  local proc = assert(net.spawn { shell.exe, '--run', shell.root .. '/spec/support/fake_model.lua', '--port', tostring(port),
    '--silent', '--model', name })
  wait.till(function()
    local s = net.connect('127.0.0.1', port, 0.2)
    if s then s:close() return true end
  end, 20, 'the peer to listen')
  return proc, port
end

describe('names and forwarding', function()
  local srv, one, two
  setup(function()
    local p1, p2
    one, p1 = fake_peer 'p1'
    two, p2 = fake_peer 'p2'
    srv = server.start { config = 'compat: {}\nmodels:\n' ..
      server.model('m1', '--silent', { aliases = { 'nick' } }) ..
      '    filters:\n      stripParams: "temperature, model, absent"\n      setParams:\n        top_p: 0.5\n' ..
      '        model: other\n        chat_template_kwargs.enable_thinking: false\n      setParamsByID:\n' ..
      '        "m1:low":\n          top_p: 0.1\n' ..
      server.model('inner', '--silent', { useModelName = 'real-model' }) ..
      ('peers:\n  p1:\n    proxy: http://127.0.0.1:%d/base/\n    models: [org/model, both, p2/owned]\n' ..
      '    filters:\n      stripParams: temperature\n      setParams:\n        from: p1\n' ..
      '  p2:\n    proxy: http://127.0.0.1:%d\n    models: [both, owned]\n'):format(p1, p2) }
  end)
  teardown(function()
    server.stop_all()
    for _, p in ipairs { one, two } do
      p:kill 'KILL'
      p:wait(5)
    end
  end)

  local function echo(path, body, headers)
    local r = srv:post(path, body, { headers = headers })
    assert.equal(200, r.status, r.body)
    return r:json()
  end
  local function fields(got, name)
    local list = {}
    for _, h in ipairs(got.headers) do if h[1]:lower() == name then list[#list + 1] = h[2] end end
    return list
  end
  local function chat(model, more)
    local body = { model = model, fake = { echo = true } }
    for k, v in pairs(more or {}) do body[k] = v end
    local got = echo('/v1/chat/completions', body)
    return json.decode(got.body), got
  end

  it('A030 finds a peer model with a slash in its name in a path', function()
    local got = echo('/upstream/p1/org/model/v1/chat?x=1', { fake = { echo = true } })
    assert.equal('p1', got.model)
    assert.equal('/base/v1/chat?x=1', got.target)
    -- 3.3: the body is changed only where it names the full name
    local function sent(model)
      return json.decode(echo('/upstream/p1/org/model/v1/chat', { model = model, fake = { echo = true } }).body).model
    end
    assert.equal('org/model', sent 'p1/org/model')
    assert.equal('other', sent 'other')
    assert.equal('/base/x?echo=1&model=org%2Fmodel&y', echo('/upstream/p1/org/model/x?echo=1&model=p1/org/model&y', 'x',
      { ['Content-Type'] = 'text/plain' }).target)
    assert.equal('model=org%2Fmodel&x=1', echo('/upstream/p1/org/model/x?echo=1', 'model=p1/org/model&x=1',
      { ['Content-Type'] = 'application/x-www-form-urlencoded' }).body)
    local text = '{"model":"p1/org/model","model":"x","temperature":1}'
    assert.equal(text, echo('/upstream/p1/org/model/x?echo=1', text, { ['Content-Type'] = 'application/json' }).body)
    text = '{"model":"p1/org/model","temperature":1}' -- no filters here
    assert.equal('{"model":"org/model","temperature":1}', echo('/upstream/p1/org/model/x?echo=1', text,
      { ['Content-Type'] = 'application/json' }).body)
  end)

  it('A133 serves a peer also paths that do not start a model', function()
    assert.equal('p2', srv:get '/upstream/owned/app.js':get 'x-fake-model')
  end)

  it('A031 knows no bare name that two peers offer, but both full ones', function()
    assert.equal(404, srv:chat 'both'.status)
    for _, peer in ipairs { 'p1', 'p2' } do
      local body, got = chat(peer .. '/both')
      assert.equal(peer, got.model)
      assert.equal('both', body.model)
    end
  end)

  it('A032 gives a name that is a peer\'s full one to that peer', function()
    local body, got = chat 'p2/owned'
    assert.equal('p2', got.model)
    assert.equal('owned', body.model)
    body, got = chat 'p1/p2/owned'
    assert.equal('p1', got.model)
    assert.equal('p2/owned', body.model)
  end)

  it('A060 A062 strips, sets, and leaves the rest and `model` alone', function()
    local text = '{"a":1.0e0, "temperature":2, "model":"m1","top_p":1,"fake":{"echo":true}}'
    local got = echo('/v1/chat/completions', text, { ['Content-Type'] = 'application/json' })
    assert.equal('{"a":1.0e0, "model":"m1","top_p":0.5,"fake":{"echo":true},"chat_template_kwargs":{"enable_thinking":false}}',
      got.body)
  end)

  it('A061 prefers the parameters of the name that was asked for', function()
    assert.equal(0.1, chat('m1:low', { top_p = 0.9 }).top_p)
    assert.equal(0.5, chat('m1', { top_p = 0.9 }).top_p)
    assert.equal(0.5, chat('nick', { top_p = 0.9 }).top_p)
  end)

  it('A063 sets a nested key beside its siblings', function()
    local body = chat('m1', { chat_template_kwargs = { enable_thinking = true, keep = { 1, 2 } } })
    assert.is_false(body.chat_template_kwargs.enable_thinking)
    assert.same({ 1, 2 }, body.chat_template_kwargs.keep)
  end)

  it('A064 sends the exact length after a rewrite, also of a chunked body', function()
    local r = http.exchange(srv.port, 'POST', '/v1/chat/completions', { headers = { ['Content-Type'] = 'application/json' },
      chunked = { '{"model":"inn', 'er","fake":{"echo":true}}' } })
    assert.equal(200, r.status, r.body)
    local got = r:json()
    assert.equal('{"model":"real-model","fake":{"echo":true}}', got.body)
    assert.same({ tostring(#got.body) }, fields(got, 'content-length'))
    assert.same({}, fields(got, 'transfer-encoding'))
  end)

  it('A065 A066 replaces the model in a form, keeps files byte for byte, and leaves no file behind', function()
    local dir = net.tmpdir()
    local own = server.start { config = 'models:\n' .. server.model('inner', '--silent', { useModelName = 'real-model' }),
      env = { TMPDIR = dir } }
    local file = ('\0\1\2RIFF"\r\n--X\r\n'):rep(200000)
    local form = '--XyZ\r\nContent-Disposition: form-data; name="file"; filename="a \u{fc}.wav"\r\n' ..
      'Content-Type: audio/wav\r\n\r\n' .. file .. '\r\n--XyZ\r\nContent-Disposition: form-data; name="model"\r\n\r\n' ..
      '%s\r\n--XyZ--\r\n'
    local up = net.listen('127.0.0.1', 0)
    local raw = server.start { config = 'models:\n' .. deaf(up:port(), '    useModelName: real-model\n'), env = { TMPDIR = dir } }
    local c = raw:connect()
    c:send(http.request_bytes('POST', '/v1/audio/transcriptions', {
      body = (form:gsub('%%s', 'raw')), headers = { ['Content-Type'] = 'multipart/form-data; boundary=XyZ' } }), 20)
    local conn, _, body = take(up)
    assert.equal((form:gsub('%%s', 'real-model')), body)
    answer(conn, 'done')
    assert.equal('done', c:response().body)
    -- routing goes by the configured id
    assert.equal('raw', raw:get '/running':json().running[1].model)
    local f = io.popen('ls -A ' .. dir)
    assert.equal('', f:read 'a')
    f:close()
    conn:close()
    c:close()
    up:close()
    own:stop()
    raw:stop()
  end)

  it('A067 applies a peer\'s filters to its models only', function()
    local body = chat('p1/org/model', { temperature = 1, useless = true })
    assert.is_nil(body.temperature)
    assert.equal('p1', body.from)
    assert.equal('org/model', body.model)
    body = chat('org/model', { temperature = 1 })
    assert.is_nil(body.temperature)
    body = chat('owned', { temperature = 1 })
    assert.equal(1, body.temperature)
    assert.is_nil(body.from)
  end)

  it('A068 renames in the query of a GET, in forms and in multipart for a peer', function()
    local r = srv:get '/props?model=p2/owned&x=%20'
    assert.equal('p2', r:get 'x-fake-model')
    local got = echo('/v1/audio/speech?echo=1', 'model=p2%2Fowned&x=%20', { ['Content-Type'] = 'application/x-www-form-urlencoded' })
    assert.equal('model=owned&x=%20', got.body)
    got = echo('/v1/audio/transcriptions?echo=1', '--B\r\nContent-Disposition: form-data; name="model"\r\n\r\np2/owned\r\n--B--\r\n',
      { ['Content-Type'] = 'multipart/form-data; boundary=B' })
    assert.equal('--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nowned\r\n--B--\r\n', got.body)
  end)

  it('A072 shows a model the client\'s Host and address', function()
    local headers = { Host = 'front.example:99', ['X-Forwarded-For'] = '1.2.3.4', ['X-Forwarded-Proto'] = 'https',
      Forwarded = 'for=1.2.3.4' }
    local got = echo('/upstream/m1/echo', 'x', headers)
    assert.same({ 'front.example:99' }, fields(got, 'host'))
    assert.same({ '1.2.3.4, 127.0.0.1' }, fields(got, 'x-forwarded-for'))
    assert.same({ 'https' }, fields(got, 'x-forwarded-proto'))
    assert.same({ 'for=1.2.3.4' }, fields(got, 'forwarded'))
    got = echo('/upstream/m1/echo', 'x')
    assert.same({ '127.0.0.1' }, fields(got, 'x-forwarded-for'))
    -- A071 the same for a peer: its own name, and nothing of the client
    got = echo('/upstream/owned/echo', 'x', headers)
    assert.matches('^127%.0%.0%.1:%d+$', fields(got, 'host')[1])
    for _, name in ipairs { 'x-forwarded-for', 'x-forwarded-proto', 'forwarded' } do assert.same({}, fields(got, name)) end
  end)

  it('A073 asks only for encodings that it can read where it meters, and for the client\'s own elsewhere', function()
    for asked, seen in pairs { ['gzip, deflate, br'] = 'gzip, deflate', ['br, zstd'] = '', ['gzip;q=1.0'] = 'gzip;q=1.0',
      ['br;q=1.0, GZIP;q=0.8, *;q=0.1'] = 'GZIP;q=0.8' } do
      for _, path in ipairs { '/v1/chat/completions', '/upstream/m1/v1/embeddings' } do
        local got = echo(path, { model = 'm1', fake = { echo = true } }, { ['Accept-Encoding'] = asked, ['Content-Type'] = 'application/json' })
        assert.same({ seen }, fields(got, 'accept-encoding'), path .. ' ' .. asked)
      end
      assert.same({ asked }, fields(echo('/upstream/m1/other', { fake = { echo = true } }, { ['Accept-Encoding'] = asked,
        ['Content-Type'] = 'application/json' }), 'accept-encoding'))
    end
    assert.same({}, fields(select(2, chat 'm1'), 'accept-encoding'))
  end)

  it('drops hop-by-hop headers and whatever Connection lists, and keeps the rest', function()
    local got = echo('/upstream/m1/echo', 'x', { Connection = 'close, X-Hop', ['X-Hop'] = '1', ['Keep-Alive'] = 'timeout=5',
      ['Proxy-Connection'] = 'x', ['Proxy-Authorization'] = 'x', TE = 'gzip', Upgrade = 'h2c', ['X-Keep'] = '1',
      Authorization = 'Bearer mine', ['x-api-key'] = 'mine', Cookie = 'a=b' })
    for _, name in ipairs { 'x-hop', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'te', 'upgrade', 'user-agent' } do
      assert.same({}, fields(got, name), name)
    end
    for name, value in pairs { ['x-keep'] = '1', authorization = 'Bearer mine', ['x-api-key'] = 'mine', cookie = 'a=b' } do
      assert.same({ value }, fields(got, name))
    end
  end)

  it('keeps a query as it was written, but for a peer leaves out pairs that nobody can read', function()
    local query = '?echo=1&a=%zz&b;c=1&d=%20+'
    assert.equal('/x' .. query, echo('/upstream/m1/x' .. query, 'x').target)
    assert.equal('/v1/completions' .. query, echo('/v1/completions' .. query, { model = 'm1' }).target)
    assert.equal('/base/v1/completions?echo=1&d=%20+', echo('/v1/completions' .. query, { model = 'org/model' }).target)
    assert.equal('/x?echo=1&d=%20+', echo('/upstream/owned/x' .. query, 'x').target)
  end)

  it('A021 A022 takes the name from JSON, and delivers it as it came', function()
    for _, stream in ipairs { 'true', 'false', '1', '"t"', 'null' } do
      local text = ('{"stream":%s,"model":"nick","fake":{"echo":true,"stream":false}}'):format(stream)
      assert.equal('{"stream":' .. stream .. ',"model":"nick"', echo('/v1/completions', text,
        { ['Content-Type'] = 'application/json; charset=utf-8' }).body:sub(1, #stream + 25))
    end
  end)
end)

describe('peers', function()
  after_each(server.stop_all)

  it('A074 are given up after timeouts.responseHeader', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = server.start { config = ('peers:\n  slow:\n    proxy: http://127.0.0.1:%d\n    models: [q]\n' ..
      '    timeouts:\n      responseHeader: 1\n'):format(up:port()) }
    local c = srv:connect()
    c:request('POST', '/v1/chat/completions', { body = { model = 'q' } })
    local conn = take(up)
    local t0 = net.now()
    local r = c:response(20)
    assert.equal(502, r.status)
    assert.equal('bad_gateway', r:json().error.code)
    assert.is_true(net.now() - t0 < 10)
    conn:close()
    c:close()
    up:close()
  end)

  it('A075 A076 pass their event streams as they come, marked for proxies', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = server.start { config = ('models:\n%speers:\n  far:\n    proxy: http://127.0.0.1:%d\n    models: [q]\n')
      :format(deaf(up:port()), up:port()) }
    for _, name in ipairs { 'q', 'raw' } do
      local c = srv:connect()
      c:request('POST', '/v1/chat/completions', { body = { model = name } })
      local conn = take(up)
      conn:send 'HTTP/1.1 200 OK\r\nContent-Type: TEXT/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n'
      local r = c:head(10)
      assert.equal('no', r:get 'x-accel-buffering')
      for i = 1, 3 do
        conn:send(('9\r\ndata: %d\n\n\r\n'):format(i))
        assert.equal(tostring(i), c:event(r, 10).data) -- before the next one is there
      end
      conn:send '0\r\n\r\n'
      c:finish(r)
      assert.is_true(r.done)
      conn:close()
      c:close()
    end
    up:close()
  end)
end)

describe('upgrades', function()
  after_each(server.stop_all)

  it('A085 are websockets only, in any case and among other tokens', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = server.start { config = 'models:\n' .. deaf(up:port()) }
    for _, case in ipairs { { 'keep-alive, UpGrAdE', 'WebSocket', true }, { 'Upgrade', 'h2c', false },
      { 'keep-alive', 'websocket', false }, { 'upgrade', 'foo, websocket', true } } do
      local c = srv:connect()
      c:send(('GET /upstream/raw/ws HTTP/1.1\r\nHost: x\r\nConnection: %s\r\nUpgrade: %s\r\n\r\n'):format(case[1], case[2]))
      local conn, head = take(up)
      assert.equal(case[3], head:find('\r\nConnection: Upgrade\r\nUpgrade: ', 1, true) ~= nil, case[2])
      assert.equal(case[3], head:lower():find('\r\nupgrade:', 1, true) ~= nil)
      answer(conn, 'plain')
      assert.equal('plain', c:response().body)
      conn:close()
      c:close()
    end
    up:close()
  end)

  it('work where a model is named by the query, too', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = server.start { config = 'models:\n' .. deaf(up:port()) }
    local c = srv:connect()
    c:send 'GET /v1/audio/voices?model=raw HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    local conn, head = take(up)
    assert.matches('^GET /v1/audio/voices%?model=raw HTTP/1.1\r\n', head)
    conn:send 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly'
    assert.equal(101, c:head(10).status)
    c.sock:send('ping', 5)
    assert.equal('ping', conn:recv(10, 10))
    while #c.buf < 5 do c.buf = c.buf .. assert(c.sock:recv(10, 10)) end
    assert.equal('early', c.buf)
    conn:close()
    assert.is_true(c:at_end(10))
    c:close()
    up:close()
  end)

  it('to what was not asked for are a 502; a websocket is 200 and 0 bytes in the access log', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = server.start { config = 'models:\n' .. deaf(up:port()) }
    for got, status in pairs { ['h2c'] = 502, ['WebSocket'] = 101 } do
      local c = srv:connect()
      c:send('GET /upstream/raw/' .. got .. ' HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      local conn = take(up)
      conn:send('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ' .. got .. '\r\n\r\n')
      local r = c:head(10)
      assert.equal(status, r.status)
      if status == 502 then assert.equal('bad_gateway', c:finish(r):json().error.code) end
      conn:close()
      c:close()
      local line = ('"GET /upstream/raw/%s HTTP/1.1" %d '):format(got, status == 101 and 200 or 502)
      wait.till(function() return srv:get '/logs'.body:find(line, 1, true) end, 10, line)
      if status == 101 then assert.matches(line .. '0 "', srv:get '/logs'.body, 1, true) end
    end
    -- and one for a request that is no upgrade at all
    local c = srv:connect()
    c:request('GET', '/upstream/raw/x')
    local conn = take(up)
    conn:send 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    assert.equal(502, c:response().status)
    conn:close()
    c:close()
    up:close()
  end)
end)

describe('models that come and go', function()
  after_each(server.stop_all)

  local function until_stopping(srv)
    wait.till(function() return srv:get '/running'.body:find('"state":"stopping"', 1, true) end, 10, 'a to be stopping')
  end

  it('A078 that promise more than they send are cut, and the next request works', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = server.start { config = 'models:\n' .. deaf(up:port()) }
    local c = srv:connect()
    c:request('POST', '/v1/chat/completions', { body = { model = 'raw' } })
    local conn = take(up)
    conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nseven b'
    conn:close()
    local r = c:response()
    assert.equal('seven b', r.body)
    assert.is_truthy(r.cut)
    c:close()
    wait.till(function() return srv:get '/logs'.body:find('raw broke off after 7 bytes', 1, true) end, 10, 'the log line')
    c = srv:connect()
    c:request('POST', '/v1/chat/completions', { body = { model = 'raw' } })
    conn = take(up)
    answer(conn, 'whole')
    assert.equal('whole', c:response().body)
    conn:close()
    c:close()
    up:close()
  end)

  it('A041 that have died when their turn comes are started again, or fail with the envelope', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent' } }) }
    assert.equal(200, srv:chat 'a'.status)
    net.kill(srv:models()[1].pid, 'KILL')
    local after = srv:chat 'a'
    assert.equal(200, after.status, after.body)
    -- nobody can start this one a second time
    local flag = net.tmpdir() .. '/once'
    srv = server.start { config = ('models:\n  once:\n    cmd: sh -c "test ! -e %s && touch %s && exec %s"\n'):format(flag, flag,
      (server.fake_cmd '--silent')) }
    assert.equal(200, srv:chat 'once'.status)
    for _, p in ipairs(srv:models()) do net.kill(p.pid, 'KILL') end
    local r = srv:chat 'once'
    assert.is_true(r.status == 500 or r.status == 503, tostring(r.status))
    assert.equal('llama-swap', r:json().src)
  end)

  it('A081 that are being stopped are waited for and started again', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent --term-delay-ms 2500' } }) }
    assert.equal(200, srv:chat 'a'.status)
    local first = srv:models()[1].pid
    local c = srv:connect()
    c:request('POST', '/api/models/unload/a')
    until_stopping(srv)
    local r = srv:chat 'a'
    assert.equal(200, r.status)
    assert.equal(200, c:response().status)
    assert.not_equal(first, srv:models()[1].pid)
    c:close()
  end)

  it('A096 A092 show no loading text where the model, or the path, does not want it', function()
    local srv = server.start { config = server.config('sendLoadingState: true', {
      { 'quiet', '--silent --load-ms 300', { sendLoadingState = false } }, { 'loud', '--silent --load-ms 300' } }) }
    local mark = ('\u{2501}'):rep(5)
    local function text(path, model)
      local r = srv:post(path, { model = model, stream = true, messages = {} })
      return r.body, r.status
    end
    assert.is_nil(text('/v1/chat/completions', 'quiet'):find(mark, 1, true))
    assert.is_nil(text('/v1/embeddings', 'loud'):find(mark, 1, true))
    assert.is_nil(text('/v1/chat/completions', 'quiet'):find(mark, 1, true))
    assert.is_nil(text('/v/chat/completions', 'loud'):find(mark, 1, true))
    assert.is_nil(text('/v1/chat/completions', 'quiet'):find(mark, 1, true))
    assert.is_truthy(text('/v1/chat/completions', 'loud'):find(mark, 1, true))
    -- what begins with the path but is none of ours never reaches a model
    assert.equal(404, select(2, text('/v1/chat/completions/extra', 'loud')))
    assert.equal(404, select(2, text('/v1/chat/completions/', 'loud')))
  end)

  it('A122 A128 A129 are chosen by a selector that a pin names; when all targets are stopping it is 503', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent --term-delay-ms 2500' }, { 'b', '--silent' } }) ..
      'selectors:\n  pick: { strategy: pin, targets: [b] }\n  spill: { strategy: spillover, targets: [a] }\n' ..
      'profiles:\n  p:\n    pins: { public: pick }\n' }
    assert.equal(404, srv:get '/upstream/pick/echo'.status)
    assert.equal(0, #srv:models())
    assert.equal(200, http.exchange(srv.port, 'PUT', '/api/profiles/active', { body = '{"name":"p"}' }).status)
    local got = srv:post('/v1/chat/completions', { model = 'public', fake = { echo = true } }):json()
    assert.equal('b', got.model)
    assert.equal('b', json.decode(got.body).model)
    assert.equal(200, srv:chat 'spill'.status)
    local c = srv:connect()
    c:request('POST', '/api/models/unload/a')
    until_stopping(srv)
    local r = srv:chat 'spill'
    assert.equal(503, r.status)
    assert.is_truthy(r:json().error.message:find('no available spillover targets', 1, true))
    assert.equal(200, c:response().status)
    c:close()
  end)

  it('A138 named comfyui_auto take fifty at once, and ignore websockets', function()
    local srv = server.start { config = server.config('', { { 'comfyui_auto', '--silent', { concurrencyLimit = 10 } } }) }
    assert.equal(200, srv:get '/comfyui/'.status)
    local list = {}
    for i = 1, 50 do
      list[i] = srv:connect()
      list[i]:request('GET', '/comfyui/slow-respond?delay=100000ms')
    end
    wait.till(function()
      local d = srv:get '/debug/state':json()
      return #(d.requests.queued or {}) + #(d.requests.send or {}) + #(d.requests.stream or {}) == 50
    end, 20, 'all fifty to be taken')
    assert.equal(429, srv:get '/comfyui/x'.status)
    local c = srv:connect()
    c:send('GET /comfyui/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' ..
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
    assert.equal(101, c:head(10).status)
    c:close()
    for _, x in ipairs(list) do x:close() end
  end)

  it('A177 are preloaded at the start; names that are not local are skipped', function()
    local srv = server.start { config = server.config('hooks: { on_startup: { preload: [ nobody, far/q, q, nick ] } }', {
      { 'm1', '--silent', { aliases = { 'nick' } } } }) .. 'peers:\n  far:\n    proxy: http://127.0.0.1:1\n    models: [q]\n' }
    wait.till(function() return srv:get '/running'.body:find('"model":"m1","state":"ready"', 1, true) end, 20, 'm1')
    assert.equal(200, srv:chat 'm1'.status)
    assert.equal(1, #srv:models())
  end)
end)
