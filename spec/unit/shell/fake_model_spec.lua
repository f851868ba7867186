-- fake_model_spec.lua: the fake upstream and the raw client against each other, without luaswap between.
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'
local shell = require 'spec.shell'
local wait = require 'spec.support.wait'

local procs = {}

local function fake(...)
  local dir = net.tmpdir()
  local f = { log = dir .. '/events' }
  local argv = { shell.exe, '--run', shell.root .. '/spec/support/fake_model.lua', '--port', '0', '--log', f.log, ... }
  argv.stdout, argv.stderr, argv.env = dir .. '/out', 'stdout', { SPEC_FAKE_MARK = dir }
  f.mark = 'SPEC_FAKE_MARK=' .. dir
  f.proc = assert(net.spawn(argv))
  f.out = function() return server.read_file(dir .. '/out') end
  procs[#procs + 1] = f
  f.port = wait.till(function()
    local code, sig = f.proc:wait(0)
    if code or sig ~= 'timeout' then error('fake model ended: ' .. f.out(), 0) end
    return tonumber(f.out():match 'listening on port (%d+)')
  end, 10, 'the fake model')
  return f
end

describe('fake model', function()
  after_each(function()
    for _, f in ipairs(procs) do
      f.proc:kill 'KILL'
      f.proc:wait(5)
      for _, p in ipairs(net.marked(f.mark)) do net.kill(p.pid, 'KILL') end
    end
    procs = {}
  end)

  it('answers chats, plain and streamed, on one connection', function()
    local f = fake('--model', 'alpha', '--respond', 'yes')
    local c = http.connect(f.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'm', id = 'r1' } })
    local r = c:response()
    assert.equal(200, r.status)
    assert.equal('yes', r:json().choices[1].message.content)
    assert.equal('m', r:json().fake.model_asked)
    c:request('POST', '/v1/chat/completions', { body = { stream = true, max_tokens = 3 } })
    r = c:head()
    local texts = {}
    for ev in c:events(r) do texts[#texts + 1] = ev.data end
    assert.is_true(r.done)
    assert.equal(5, #texts)
    assert.equal('[DONE]', texts[5])
    assert.equal('yes', json.decode(texts[1]).choices[1].delta.content)
    assert.equal('alpha', r:get 'x-fake-model')
    local names = {}
    for _, e in ipairs(server.read_events(f.log)) do names[#names + 1] = e.ev end
    assert.equal('up listen start first end start first end', table.concat(names, ' '))
    assert.equal('r1', server.read_events(f.log)[3].req)
  end)

  it('takes its time to load, and says so', function()
    local f = fake('--load-ms', '300')
    assert.equal(503, http.get(f.port, '/health').status)
    local t0 = net.now()
    assert.equal(200, http.post(f.port, '/v1/completions', {}).status)
    assert.is_true(net.now() - t0 > 0.1)
    assert.equal(200, http.get(f.port, '/health').status)
  end)

  it('drops and resets streams inside a chunk, at the asked place', function()
    local f = fake()
    for knob, why in pairs { drop_after = 'closed', reset_after = 'reset' } do
      local r = http.post(f.port, '/v1/chat/completions', { stream = true, fake = { [knob] = 2 } }, { may_cut = true })
      assert.is_false(r.done)
      assert.equal(why, r.cut)
    end
    local r = http.post(f.port, '/v1/chat/completions?no_length=1', {})
    assert.is_nil(r:get 'content-length')
    assert.equal('hi', r:json().choices[1].message.content)
  end)

  it('notices a client that leaves a stream, also between two events', function()
    local f = fake()
    local c = http.connect(f.port)
    c:request('POST', '/v1/chat/completions', { body = { stream = true, id = 'x', fake = { tps = 1 } } })
    local r = c:head()
    assert.is_truthy(c:event(r))
    c:close()
    wait.till(function()
      for _, e in ipairs(server.read_events(f.log)) do
        if e.ev == 'gone' and e.req == 'x' then return true end
      end
    end, 0.9, 'the fake model to notice')
  end)

  it('streams without end against back-pressure', function()
    local f = fake()
    local c = http.connect(f.port)
    c:request('GET', '/sse', {})
    local r = c:head()
    for _ = 1, 1000 do assert.is_truthy(c:event(r)) end
    c:close()
    assert.equal(200, http.get(f.port, '/test').status)
  end)

  it('echoes bytes, headers and uploads', function()
    local f = fake()
    local r = http.post(f.port, '/echo?a=1', 'some body', { headers = { { 'X-A', '1' }, { 'X-A', '2' } } }):json()
    assert.equal('some body', r.body)
    assert.equal('/echo?a=1', r.target)
    assert.same({ 'X-A', '2' }, r.headers[2])
    local big = ('x'):rep(3 << 20)
    assert.equal(#big, http.post(f.port, '/upload', big):json().bytes)
    r = http.exchange(f.port, 'POST', '/upload', { chunked = { 'ab', 'cde' } }):json()
    assert.equal(5, r.bytes)
    assert.equal(1000000, http.post(f.port, '/v1/completions?size=1000000', {}).length)
  end)

  it('serves many connections at once', function()
    local f = fake('--tps', '100', '--tokens', '5')
    local list = {}
    for i = 1, 100 do
      list[i] = { port = f.port, path = '/v1/chat/completions', body = { stream = i % 2 == 0, id = i } }
    end
    local t0 = net.now()
    http.all(list, 20)
    for i = 1, 100 do assert.is_true(list[i].response.done) end
    assert.is_true(net.now() - t0 < 5)
  end)

  it('speaks websocket', function()
    local f = fake()
    local c = http.connect(f.port)
    c:request('GET', '/ws', { headers = { Upgrade = 'websocket', Connection = 'Upgrade',
      ['Sec-WebSocket-Key'] = 'dGhlIHNhbXBsZSBub25jZQ==', ['Sec-WebSocket-Version'] = '13' } })
    local r = c:head()
    assert.equal(101, r.status)
    assert.equal('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=', r:get 'sec-websocket-accept')
    c.sock:send '\x81\x85\1\2\3\4igohn' -- "hello", masked
    local got = ''
    while #got < 7 do got = got .. assert(c.sock:recv(7, 5)) end
    assert.equal('\x81\5hello', got)
  end)

  it('ignores SIGTERM when told so, and leaves a child when told so', function()
    local f = fake('--ignore-term', '--fork-child')
    f.proc:kill 'TERM'
    assert.same({ nil, 'timeout' }, { f.proc:wait(0.1) })
    wait.till(function() return #net.marked(f.mark) == 2 end, 5, 'the stray child')
    f.proc:kill 'KILL'
    f.proc:wait(5)
    assert.equal(1, #net.marked(f.mark))
  end)

  it('ends as told: by signal, code, time and request', function()
    local f = fake('--exit-code', '4')
    f.proc:kill 'TERM'
    assert.equal(4, f.proc:wait(5))
    f = fake('--exit-after-ms', '20', '--exit-code', '5')
    assert.equal(5, f.proc:wait(5))
    f = fake()
    local r, why = http.post(f.port, '/v1/completions', { fake = { die = true } }, { may_cut = true })
    assert.same({ nil, 'closed' }, { r, why })
    assert.equal(7, f.proc:wait(5))
  end)
end)

describe('raw client', function()
  local function answer_with(bytes)
    local l = net.listen('127.0.0.1', 0)
    local c = http.connect(l:port())
    local s = l:accept(5)
    c:send 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
    s:recv(1000, 5) -- unread bytes would turn the close into a reset
    s:send(bytes)
    s:close()
    return c
  end

  for what, bytes in pairs {
    ['bare LF'] = 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n',
    ['two lengths'] = 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx',
    ['length and chunked'] = 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx',
    ['blank in a name'] = 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n',
    ['folded line'] = 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
    ['bad chunk size'] = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n',
    ['bad chunk end'] = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n',
  } do
    it('refuses an answer with ' .. what, function()
      local c = answer_with(bytes)
      assert.has_error(function() c:response(2) end)
    end)
  end

  it('tells a whole answer from a cut one', function()
    local r = answer_with('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab'):response(2)
    assert.equal('closed', r.cut)
    r = answer_with('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n'):response(2)
    assert.equal('closed', r.cut)
    assert.equal('ab', r.body)
    r = answer_with('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP'):response(2)
    assert.is_true(r.done)
    assert.equal(100, r.interim[1].status)
    assert.same({ nil, 'closed' }, { answer_with('HTTP/1.1 200'):response(2) })
  end)
end)
