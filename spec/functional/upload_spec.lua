-- upload_spec.lua: large request bodies: what goes on while it still comes, what is held, and what that costs.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local block = ('0123456789abcdef'):rep(65536) -- 1 MiB
local listeners = {}

local function listener()
  local l = net.listen('127.0.0.1', 0)
  listeners[#listeners + 1] = l
  return l, l:port()
end

-- a, b: models of the spec itself; far: a peer, with model Q. All of them are `l`.
local function start(scheduler, extra)
  local l, port = listener()
  local model = ('    cmd: sleep 10000\n    checkEndpoint: none\n    proxy: http://127.0.0.1:%d\n'):format(port)
  local srv = server.start { config = ('routing: { scheduler: { use: %s } }\nmodels:\n  a:\n%s%s  b:\n%s' ..
    'peers:\n  far:\n    proxy: http://127.0.0.1:%d\n    models: [Q]\n'):format(scheduler, model, extra or '', model, port) }
  return srv, l
end

local function head_of(sock)
  local buf = ''
  while not buf:find('\r\n\r\n', 1, true) do buf = buf .. assert(sock:recv(65536, 20 * wait.slow)) end
  local at = select(2, buf:find('\r\n\r\n', 1, true))
  return buf:sub(1, at), buf:sub(at + 1)
end

local function read_more(sock, got, n)
  while #got < n do got = got .. assert(sock:recv(1 << 20, 20 * wait.slow)) end
  return got
end

-- Loads a model: fifo streams only to one that is ready.
local function load(srv, l, name)
  local c = http.connect(srv.port)
  c:request('GET', '/upstream/' .. name .. '/x')
  local s = assert(l:accept(20))
  head_of(s)
  s:send 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
  assert.equal(200, c:response().status)
  s:close()
  c:close()
end

local function resident(srv)
  return tonumber(server.read_file(('/proc/%d/status'):format(srv.pid)):match 'VmRSS:%s+(%d+)')
end

local form_head = '--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n' ..
  '--xyz\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
local form_tail = '\r\n--xyz--\r\n'

local function send_form_head(c, model, mib)
  local head = form_head:format(model)
  local total = #head + mib * #block + #form_tail
  c:send(('POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=xyz\r\n' ..
    'Content-Length: %d\r\n\r\n%s'):format(total, head))
  return head, total
end

local function send_upload(c, path, mib, extra)
  c:send(('POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n'):format(path, extra or '', mib * #block))
end

describe('large uploads', function()
  after_each(function()
    server.stop_all()
    for _, l in ipairs(listeners) do l:close() end
    listeners = {}
  end)

  it('reach a peer, and a ready model under fifo, before the client has sent the last byte', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    for _, model in ipairs { 'Q', 'a' } do
      local c = http.connect(srv.port)
      local head, total = send_form_head(c, model, 4)
      c:send(block)
      local s = assert(l:accept(20), model)
      local h, got = head_of(s)
      assert.matches('\r\nContent-Length: ' .. total .. '\r\n', h, 1, true)
      got = read_more(s, got, #head + #block)
      assert.equal(head .. block, got)
      for _ = 1, 3 do c:send(block) end
      c:send(form_tail)
      got = read_more(s, got, total)
      assert.equal(head .. block:rep(4) .. form_tail, got)
      s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
      assert.equal('ok', c:response().body)
      c:send 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n' -- the connection is still in order
      assert.equal(200, c:response().status)
      c:close()
      s:close()
    end
  end)

  it('go on in chunks when they came so, with their trailers', function()
    local srv, l = start 'serial'
    local c = http.connect(srv.port)
    c:send('POST /v1/audio/transcriptions?model=Q HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nTrailer: X-Sum\r\n' ..
      'Transfer-Encoding: chunked\r\n\r\n')
    local chunk = ('%x\r\n%s\r\n'):format(#block, block)
    c:send(chunk):send(chunk)
    local s = assert(l:accept(20))
    local h, got = head_of(s)
    assert.matches('\r\nTransfer-Encoding: chunked\r\n', h, 1, true)
    assert.matches('\r\nTrailer: X-Sum\r\n', h, 1, true)
    got = read_more(s, got, 2 * #block)
    c:send(chunk):send '0\r\nX-Sum: 42\r\nContent-Length: 7\r\n\r\n'
    while not got:find('\r\n0\r\nX-Sum: 42\r\n\r\n', 1, true) do got = read_more(s, got, #got + 1) end
    s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    assert.equal('ok', c:response().body)
    c:close()
    s:close()
  end)

  it('are held under serial, for a model that is not ready, and for a name that comes last', function()
    for _, case in ipairs { { 'serial' }, { 'fifo' }, { 'fifo', last = true }, { 'fifo', '    useModelName: other\n', last = true } } do
      local srv, l = start(case[1], case[2])
      if case.last or case[1] == 'serial' then load(srv, l, 'a') end
      local c = http.connect(srv.port)
      local head, tail = form_head:format 'a', form_tail
      if case.last then
        head = '--xyz\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        tail = '\r\n--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\na' .. form_tail
      end
      local total = #head + 3 * #block + #tail
      c:send(('POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=xyz\r\n' ..
        'Content-Length: %d\r\n\r\n%s'):format(total, head))
      for _ = 1, 3 do c:send(block) end
      assert.is_nil((l:accept(0.2)))
      c:send(tail)
      local s = assert(l:accept(20))
      local h, got = head_of(s)
      if case[2] then
        got = read_more(s, got, total + 4)
        assert.matches('name="model"\r\n\r\nother\r\n', got, 1, true)
      else
        assert.matches('\r\nContent-Length: ' .. total .. '\r\n', h, 1, true)
        assert.equal(head .. block:rep(3) .. tail, read_more(s, got, total))
      end
      s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
      assert.equal('ok', c:response().body)
      c:close()
      s:close()
      srv:stop()
    end
  end)

  it('are renamed on their way', function()
    local srv, l = start('fifo', '    useModelName: other/longer\n')
    load(srv, l, 'a')
    for sent, seen in pairs { ['far/Q'] = 'Q', a = 'other/longer' } do
      local c = http.connect(srv.port)
      local head, total = send_form_head(c, sent, 3)
      c:send(block)
      local s = assert(l:accept(20))
      local h, got = head_of(s)
      local want = form_head:format(seen) .. block:rep(3) .. form_tail
      assert.matches(('\r\nContent-Length: %d\r\n'):format(#want), h, 1, true)
      assert.not_equal(#head, #form_head:format(seen))
      assert.equal(total - #head, #want - #form_head:format(seen))
      got = read_more(s, got, #form_head:format(seen) + #block)
      c:send(block):send(block):send(form_tail)
      assert.equal(want, read_more(s, got, #want))
      s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
      assert.equal('ok', c:response().body)
      c:close()
      s:close()
    end
  end)

  it('with a second name behind the one that was changed are refused', function()
    local srv, l = start 'serial'
    local c = http.connect(srv.port)
    local tail = '\r\n--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nother' .. form_tail
    local head = form_head:format 'far/Q'
    c:send(('POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=xyz\r\n' ..
      'Content-Length: %d\r\n\r\n%s'):format(#head + 2 * #block + #tail, head))
    c:send(block)
    local s = assert(l:accept(20))
    head_of(s)
    c:send(block):send(tail)
    local r = c:response()
    assert.equal(400, r.status)
    assert.matches('more than one field named model', r:json().error.message, 1, true)
    local data, why = true, nil
    while data do data, why = s:recv(1 << 20, 20) end -- and the peer sees no whole body
    assert.not_equal('timeout', why)
    c:close()
    s:close()
  end)

  it('to /upstream are streamed likewise', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    for _, path in ipairs { '/upstream/a/put?x=1', '/upstream/far/Q/put?x=1' } do
      local c = http.connect(srv.port)
      send_upload(c, path, 3)
      c:send(block)
      local s = assert(l:accept(20))
      local h, got = head_of(s)
      assert.matches('^POST /put%?x=1 ', h)
      got = read_more(s, got, #block)
      c:send(block):send(block)
      assert.equal(3 * #block, #read_more(s, got, 3 * #block))
      s:send 'HTTP/1.1 204 No Content\r\n\r\n'
      assert.equal(204, c:response().status)
      c:close()
      s:close()
    end
  end)

  it('are read only as fast as they can be sent on', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    local before = resident(srv)
    local c = http.connect(srv.port)
    local mib = 64
    send_upload(c, '/upstream/a/put', mib)
    local s
    -- until nothing more goes in: the kernel's buffers and ours are full
    local sent, stuck = 0, 0
    while stuck < 3 do
      local n, _, part = c.sock:send(block, 0.2)
      sent = sent + (n and #block or part or 0)
      stuck = n and 0 or stuck + 1
      if not s then s = l:accept(0) end
      assert.is_true(sent < 48 * #block, 'the client is not held back')
    end
    s = s or assert(l:accept(20))
    assert.is_true(resident(srv) - before < 8192, resident(srv) - before .. ' kB more')
    local h, got = head_of(s)
    assert.matches('^POST /put ', h)
    local n, left = #got, mib * #block - sent
    while n < mib * #block do
      if left > 0 then
        local piece = block:sub(1, left)
        local ok, _, part = c.sock:send(piece, 0)
        left = left - (ok and #piece or part or 0)
      end
      local data = s:recv(1 << 20, 0.05)
      if data then n = n + #data end
    end
    assert.equal(mib * #block, n)
    s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    assert.equal('ok', c:response().body)
    assert.is_true(resident(srv) - before < 8192, resident(srv) - before .. ' kB more')
    c:close()
    s:close()
  end)

  it('end at the target when the client leaves, also while it is held back', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    for _, held in ipairs { false, true } do
      local c = http.connect(srv.port)
      send_upload(c, '/upstream/a/put', 64)
      c:send(block):send(block)
      local s = assert(l:accept(20))
      local _, got = head_of(s)
      if held then
        repeat local n = c.sock:send(block, 0.2) until not n
      else
        read_more(s, got, 2 * #block)
      end
      -- an orderly end waits behind what its kernel still has to send: nobody can see it before
      if held then c:rst() else c:close() end
      wait.till(function() return srv:log():find('POST /upstream/a/put', 1, true) end, 10, 'the end of the request')
      local data, why = true, nil
      while data do data, why = s:recv(1 << 20, 20) end
      assert.not_equal('timeout', why)
      s:close()
      srv:stop()
      if not held then
        srv, l = start 'fifo'
        load(srv, l, 'a')
      end
    end
  end)

  it('get an early answer while they are still being sent', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    for _, then_close in ipairs { false, true } do
      local c = http.connect(srv.port)
      send_upload(c, '/upstream/a/put', 64)
      c:send(block)
      local s = assert(l:accept(20))
      head_of(s)
      s:send 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much'
      if then_close then s:close() end -- bytes are unread: a reset follows
      local r = c:response()
      assert.equal(413, r.status)
      assert.equal('too much', r.body)
      assert.is_false(r.keep_alive)
      c:close()
      if not then_close then s:close() end
    end
  end)

  it('see what the target answers while both go on', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    local c = http.connect(srv.port)
    send_upload(c, '/upstream/a/put', 2)
    c:send(block)
    local s = assert(l:accept(20))
    local _, got = head_of(s)
    s:send 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n'
    local r = c:head(20)
    assert.equal('one', c:piece(r, 20))
    c:send(block)
    assert.equal(2 * #block, #read_more(s, got, 2 * #block))
    s:send '3\r\ntwo\r\n0\r\n\r\n'
    c:finish(r)
    assert.equal('onetwo', r.body)
    assert.is_true(r.done)
    c:close()
    s:close()
  end)

  it('are answered with 502 when the target breaks off: they cannot be sent twice', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    local c = http.connect(srv.port)
    send_upload(c, '/upstream/a/put', 8)
    c:send(block):send(block)
    local s = assert(l:accept(20))
    head_of(s)
    s:close()
    local r = c:response()
    assert.equal(502, r.status)
    assert.equal('llama-swap', r:json().src)
    assert.is_nil((l:accept(0.2)))
    c:close()
  end)

  it('go to a target that refuses as often as held ones: nothing was sent', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    l:close()
    listeners = {}
    local c = http.connect(srv.port)
    send_upload(c, '/upstream/a/put', 2)
    c:send(block):send(block)
    local r = c:response()
    assert.equal(502, r.status)
    assert.matches('a is gone .*; starting it again', srv:log())
    c:close()
  end)

  it('are held while somebody waits: a slow client must not be what he waits for', function()
    local srv, l = start 'fifo'
    load(srv, l, 'a')
    local first, waiting, c = http.connect(srv.port), http.connect(srv.port), http.connect(srv.port)
    first:request('GET', '/upstream/a/long')
    local s = assert(l:accept(20))
    head_of(s)
    waiting:request('GET', '/upstream/b/x')
    wait.till(function() return srv:get('/debug/state'):json().requests.queued end, 10, 'the one who waits')
    send_upload(c, '/upstream/a/put', 2)
    c:send(block)
    assert.is_nil((l:accept(0.2)))
    s:send 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
    s:close()
    s = assert(l:accept(20))
    assert.matches('^GET /x ', (head_of(s)))
    for _, x in ipairs { first, waiting, c } do x:close() end
    s:close()
  end)

  it('that stop coming are cut once somebody waits (serial.clientStall)', function()
    local l, port = listener()
    local model = ('    cmd: sleep 10000\n    checkEndpoint: none\n    proxy: http://127.0.0.1:%d\n'):format(port)
    local srv = server.start { config = ('routing: { scheduler: { use: fifo, settings: { serial: { clientStall: 1 } } } }\n' ..
      'models:\n  a:\n%s  b:\n%s'):format(model, model) }
    load(srv, l, 'a')
    local slow, other = http.connect(srv.port), http.connect(srv.port)
    send_upload(slow, '/upstream/a/put', 8)
    slow:send(block)
    local s = assert(l:accept(20))
    head_of(s)
    other:request('GET', '/upstream/b/x')
    local r = slow:response(20 * wait.slow)
    assert.equal(503, r.status)
    assert.matches('sent nothing', r:json().error.message)
    local t = assert(l:accept(20 * wait.slow))
    assert.matches('^GET /x ', (head_of(t)))
    t:send 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
    assert.equal(200, other:response().status)
    for _, x in ipairs { slow, other, s, t } do x:close() end
  end)

  it('of many at once, some of which leave, end exactly once each and leave nothing behind', function()
    local srv = server.start { config = server.config('routing: { scheduler: { use: fifo } }',
      { { 'a', '--silent', { concurrencyLimit = 200 } } }) }
    assert.equal(200, srv:chat('a').status)
    local seed = os.time()
    math.randomseed(seed)
    local list, open = {}, 0
    for i = 1, 40 do
      local size = (1 << 20) + math.random(1 << 20)
      local c = http.connect(srv.port)
      list[i] = { c = c, left = size, size = size, leaves = math.random(3) == 1 and math.random(size) or -1 }
      c:send(('POST /upstream/a/upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n'):format(size))
      open = open + 1
    end
    wait.till(function()
      for _, u in ipairs(list) do
        if not u.over then
          if u.left > 0 then
            local n, _, part = u.c.sock:send(block:sub(1, math.min(u.left, math.random(200000))), 0)
            u.left = u.left - (n or part or 0)
          end
          if u.left <= u.leaves then
            if math.random(2) == 1 then u.c:close() else u.c:rst() end
            u.over, open = true, open - 1
          elseif u.left == 0 then
            u.r = u.r or u.c:begin()
            if u.c:advance(u.r) then
              u.over, open = true, open - 1
              assert.equal(200, u.r.status, 'seed ' .. seed)
              assert.equal(u.size, u.r:json().bytes)
              u.c:close()
            end
          end
        end
      end
      return open == 0
    end, 60, 'all of them to end, seed ' .. seed)
    wait.till(function()
      local st = srv:get('/debug/state'):json()
      local n = 0
      for _, in_state in pairs(st.requests) do n = n + #in_state end
      return n <= 1 and st.buffered_bytes == 0 -- the one is this question
    end, 10, 'nothing to be left, seed ' .. seed)
    assert.equal(200, srv:chat('a').status)
  end)

  it('honour Expect: 100-continue', function()
    local srv, l = start 'serial'
    local c = http.connect(srv.port)
    send_upload(c, '/upstream/far/Q/put', 2, 'Expect: 100-continue\r\n')
    local r = c:begin()
    wait.till(function() c:advance(r) return #r.interim > 0 end, 10, '100 Continue')
    assert.equal(100, r.interim[1].status)
    c:send(block):send(block)
    local s = assert(l:accept(20))
    local h, got = head_of(s)
    assert.is_falsy(h:lower():find('expect:', 1, true))
    read_more(s, got, 2 * #block)
    s:send 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
    wait.till(function() return c:advance(r) end, 10, 'the answer')
    assert.equal(200, r.status)
    c:close()
    s:close()
  end)
end)

describe('request trailers', function()
  after_each(function()
    server.stop_all()
    for _, l in ipairs(listeners) do l:close() end
    listeners = {}
  end)

  it('go along with a held body, without those that have no place there', function()
    local srv, l = start('serial', '    useModelName: other\n')
    local c = http.connect(srv.port)
    c:send('POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTrailer: X-Sum\r\n' ..
      'Transfer-Encoding: chunked\r\n\r\n6\r\n{"mode\r\n6\r\nl":"a"\r\n1\r\n}\r\n0\r\nX-Sum: 42\r\nHost: evil\r\nX-More: a b\r\n\r\n')
    local s = assert(l:accept(20))
    local h, got = head_of(s)
    assert.matches('\r\nTransfer-Encoding: chunked\r\n', h, 1, true)
    assert.matches('\r\nTrailer: X-Sum\r\n', h, 1, true)
    assert.is_falsy(h:find('Content-Length', 1, true))
    local want = '11\r\n{"model":"other"}\r\n0\r\nX-Sum: 42\r\nX-More: a b\r\n\r\n'
    assert.equal(want, read_more(s, got, #want))
    s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    assert.equal('ok', c:response().body)
    -- without trailers a chunked body gets a length, as ever
    c:request('POST', '/v1/chat/completions', { headers = { ['Content-Type'] = 'application/json' }, chunked = { '{"model":"a"}' } })
    h, got = head_of(s)
    assert.matches('\r\nContent-Length: 17\r\n', h, 1, true)
    assert.equal('{"model":"other"}', read_more(s, got, 17))
    s:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    assert.equal('ok', c:response().body)
    c:close()
    s:close()
  end)
end)
