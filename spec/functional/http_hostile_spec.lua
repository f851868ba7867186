-- http_hostile_spec.lua: hostile requests against the real program. Each gets its status and the connection ends;
-- none reaches the model, or only as the one request that it honestly begins with. The same table, in one piece
-- and in small ones, is run against the HTTP server alone by spec/unit/c/http_hostile_test.c.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'

local H = 'Host: a\r\n'
local POST = 'POST /upstream/a/hit HTTP/1.1\r\n' .. H
local CHUNKED = POST .. 'Transfer-Encoding: chunked\r\n\r\n'
local SNEAK = 'GET /upstream/a/evil HTTP/1.1\r\n' .. H .. '\r\n'

-- what, bytes, status of the last answer, requests that reach the model (0)
local cases = {
  { 'CL then TE', POST .. 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' .. SNEAK, 400 },
  { 'TE then CL', POST .. 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n' .. SNEAK, 400 },
  { 'two equal CL', POST .. 'Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello', 400 },
  { 'two CL', POST .. 'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!', 400 },
  { 'CL list', POST .. 'Content-Length: 5, 5\r\n\r\nhello', 400 },
  { 'CL with plus', POST .. 'Content-Length: +5\r\n\r\nhello', 400 },
  { 'CL negative', POST .. 'Content-Length: -1\r\n\r\n', 400 },
  { 'CL hex', POST .. 'Content-Length: 0x5\r\n\r\nhello', 400 },
  { 'CL with inner blank', POST .. 'Content-Length: 5 5\r\n\r\nhello', 400 },
  { 'CL empty', POST .. 'Content-Length:\r\n\r\n', 400 },
  { 'CL beyond 64 bits', POST .. 'Content-Length: 18446744073709551617\r\n\r\nx', 400 },
  { 'CL in a name with blank', POST .. 'Content-Length : 5\r\n\r\nhello', 400 },
  { 'TE gzip, chunked', POST .. 'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE chunked, gzip', POST .. 'Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n', 400 },
  { 'TE chunked twice', POST .. 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE chunked, chunked', POST .. 'Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE xchunked', POST .. 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE identity', POST .. 'Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n', 400 },
  { 'TE quoted', POST .. 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 400 },
  { 'TE with vertical tab', POST .. 'Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE with parameter', POST .. 'Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n', 400 },
  { 'TE empty', POST .. 'Transfer-Encoding:\r\n\r\n', 400 },
  { 'TE in a name with blank', POST .. 'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE after a bare CR', POST .. 'X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE after an empty name and CR', POST .. 'x:\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE in HTTP/1.0', 'POST /echo HTTP/1.0\r\n' .. H .. 'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE folded', POST .. 'Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE under a NUL', POST .. 'Transfer-Encoding: chun\0ked\r\n\r\n0\r\n\r\n', 400 },
  { 'chunk size not hex', CHUNKED .. 'g\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk size empty', CHUNKED .. '\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk size with 0x', CHUNKED .. '0x1\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk size negative', CHUNKED .. '-1\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk size beyond 64 bits', CHUNKED .. '10000000000000001\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk line ended by LF', CHUNKED .. '1\nx\r\n0\r\n\r\n', 400 },
  { 'chunk data longer than said', CHUNKED .. '1\r\nxy\r\n0\r\n\r\n', 400 },
  { 'chunk data ended by LF', CHUNKED .. '1\r\nx\n0\r\n\r\n', 400 },
  { 'chunk size before a blank', CHUNKED .. '1 \r\nx\r\n0\r\n\r\n', 400 },
  { 'trailer without a colon', CHUNKED .. '0\r\nnonsense\r\n\r\n', 400 },
  { 'trailer ended by LF', CHUNKED .. '0\r\nA: b\n\r\n', 400 },
  { 'trailer name with blank', CHUNKED .. '0\r\nA : b\r\n\r\n', 400 },
  { 'chunk extension with bare LF', CHUNKED .. '1;a\nb\r\nx\r\n0\r\n\r\n', 400 },
  { 'line folding', 'GET / HTTP/1.1\r\n' .. H .. 'X: a\r\n b\r\n\r\n', 400 },
  { 'folded first line', 'GET / HTTP/1.1\r\n X: a\r\n' .. H .. '\r\n', 400 },
  { 'LF only', 'GET / HTTP/1.1\nHost: a\n\n', 400 },
  { 'bare LF in a value', 'GET / HTTP/1.1\r\n' .. H .. 'X: a\nY: b\r\n\r\n', 400 },
  { 'bare CR in a value', 'GET / HTTP/1.1\r\n' .. H .. 'X: a\rb\r\n\r\n', 400 },
  { 'CR CR LF', 'GET / HTTP/1.1\r\n' .. H .. 'X: a\r\r\n\r\n', 400 },
  { 'NUL in a value', 'GET / HTTP/1.1\r\n' .. H .. 'X: a\0b\r\n\r\n', 400 },
  { 'NUL in a name', 'GET / HTTP/1.1\r\n' .. H .. 'X\0Y: a\r\n\r\n', 400 },
  { 'control byte in a value', 'GET / HTTP/1.1\r\n' .. H .. 'X: a\x01b\r\n\r\n', 400 },
  { 'DEL in a value', 'GET / HTTP/1.1\r\n' .. H .. 'X: a\x7f\r\n\r\n', 400 },
  { 'blank in a name', 'GET / HTTP/1.1\r\n' .. H .. 'X Y: a\r\n\r\n', 400 },
  { 'blank before the colon', 'GET / HTTP/1.1\r\n' .. H .. 'X : a\r\n\r\n', 400 },
  { 'empty name', 'GET / HTTP/1.1\r\n' .. H .. ': a\r\n\r\n', 400 },
  { 'no colon', 'GET / HTTP/1.1\r\n' .. H .. 'XY\r\n\r\n', 400 },
  { 'bytes above 127 in a name', 'GET / HTTP/1.1\r\n' .. H .. 'X\xc3\xbc: a\r\n\r\n', 400 },
  { 'separator in a name', 'GET / HTTP/1.1\r\n' .. H .. 'X(Y): a\r\n\r\n', 400 },
  { 'bare LF before the request', '\nGET / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'many empty lines before it',
    '\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'no Host', 'GET / HTTP/1.1\r\n\r\n', 400 },
  { 'two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400 },
  { 'two equal Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400 },
  { 'Host with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400 },
  { 'Host with user info', 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n', 400 },
  { 'Host with a blank', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400 },
  { 'HTTP/0.9', 'GET /\r\n\r\n', 400 },
  { 'HTTP/2.0', 'GET / HTTP/2.0\r\n' .. H .. '\r\n', 505 },
  { 'HTTP/1.2', 'GET / HTTP/1.2\r\n' .. H .. '\r\n', 505 },
  { 'HTTP/3', 'GET / HTTP/3\r\n' .. H .. '\r\n', 505 },
  { 'HTTP/1.10', 'GET / HTTP/1.10\r\n' .. H .. '\r\n', 400 },
  { 'http/1.1 in lower case', 'GET / http/1.1\r\n' .. H .. '\r\n', 400 },
  { 'the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505 },
  { 'two blanks', 'GET  / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'blank in the target', 'GET /a b HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'tab for a blank', 'GET\t/ HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'blank at the end', 'GET / HTTP/1.1 \r\n' .. H .. '\r\n', 400 },
  { 'method that is no token', 'GE(T / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'method with a byte above 127', 'G\xc3\x8bT / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'no method', ' / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'CR in the method', 'GE\rT / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'NUL in the method', 'GE\0T / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'version without digits', 'GET / HTTP/x.y\r\n' .. H .. '\r\n', 400 },
  { 'version cut short', 'GET / HTTP/1.\r\n' .. H .. '\r\n', 400 },
  { 'version of another protocol', 'GET / ICY/1.1\r\n' .. H .. '\r\n', 400 },
  { 'HTTP/0.9 spelled out', 'GET / HTTP/0.9\r\n' .. H .. '\r\n', 505 },
  { 'request line ended by LF', 'GET / HTTP/1.1\n' .. H .. '\r\n', 400 },
  { 'request line ended by CR', 'GET / HTTP/1.1\r' .. H .. '\r\n', 400 },
  { 'CR CR LF after the request line', 'GET / HTTP/1.1\r\r\n' .. H .. '\r\n', 400 },
  { 'two request lines', 'GET / HTTP/1.1\r\nGET / HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'CONNECT in origin form', 'CONNECT /upstream/a/hit HTTP/1.1\r\n' .. H .. '\r\n', 405 },
  { 'connect in lower case', 'connect a:443 HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'absolute form with a query and no path', 'GET http://a?x HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { '%00 behind a raw byte', 'GET /\xc3\xbc%00 HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'CONNECT', 'CONNECT a:443 HTTP/1.1\r\n' .. H .. '\r\n', 405 },
  { 'authority form', 'GET a:80 HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'no slash', 'GET index.html HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'asterisk for GET', 'GET * HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'absolute form without a host', 'GET http:///x HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'absolute form with user info', 'GET http://u:p@a/ HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'fragment', 'GET /a#b HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { '%00 in the path', 'GET /a%00b HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'bad escape in the path', 'GET /a%zz HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'cut escape in the path', 'GET /a%2 HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'NUL in the target', 'GET /a\0b HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'DEL in the target', 'GET /a\x7f HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'CR in the target', 'GET /a\rb HTTP/1.1\r\n' .. H .. '\r\n', 400 },
  { 'TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400 },
  { 'random text', 'hello there, is this a server?\r\n\r\n', 400 },
  { 'a response', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 400 },
  { 'CL after a no-break space', POST .. 'Content-Length: \xa05\r\n\r\nhello', 400 },
  { 'CL after a vertical tab', POST .. 'Content-Length: \x0b5\r\n\r\nhello', 400 },
  { 'CL with a comma behind it', POST .. 'Content-Length: 5,\r\n\r\nhello', 400 },
  { 'CL with a fraction', POST .. 'Content-Length: 5.0\r\n\r\nhello', 400 },
  { 'CL under a NUL', POST .. 'Content-Length: 5\0\r\n\r\nhello', 400 },
  { 'CL and TE identity', POST .. 'Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello', 400 },
  { 'CL and an empty TE', POST .. 'Content-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello', 400 },
  { 'TE after a no-break space', POST .. 'Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE with a comma behind it', POST .. 'Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n', 400 },
  { 'TE with a comma before it', POST .. 'Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'TE chunked and identity', POST .. 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n', 400 },
  { 'TE folded after a comma', POST .. 'Transfer-Encoding: chunked,\r\n identity\r\n\r\n0\r\n\r\n', 400 },
  { 'TE in a name with tab', POST .. 'Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n', 400 },
  { 'chunk size with plus', CHUNKED .. '+1\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk size with underscore', CHUNKED .. '1_0\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk size after a blank', CHUNKED .. ' 1\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk size under a NUL', CHUNKED .. '1\0\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk line ended by CR', CHUNKED .. '1\rx\r\n0\r\n\r\n', 400 },
  { 'chunk extension with bare CR', CHUNKED .. '1;a\rb\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk extension with a NUL', CHUNKED .. '1;a\0b\r\nx\r\n0\r\n\r\n', 400 },
  { 'chunk data shorter than said', CHUNKED .. '5\r\nx\r\n0\r\n\r\n', 400 },
  { 'last chunk ended by LF', CHUNKED .. '0\n\n', 400 },
  { 'folded trailer', CHUNKED .. '0\r\nA: b\r\n c\r\n\r\n', 400 },
  { 'trailer with a NUL', CHUNKED .. '0\r\nA: \0\r\n\r\n', 400 },
  { 'header line that begins with a tab', 'GET / HTTP/1.1\r\n' .. H .. 'X: a\r\n\tb\r\n\r\n', 400 },
  { 'tab before the colon', 'GET / HTTP/1.1\r\n' .. H .. 'X\t: a\r\n\r\n', 400 },
  { 'Host with a comma', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 400 },
  { 'Host with a byte above 127', 'GET / HTTP/1.1\r\nHost: \xc3\xbc\r\n\r\n', 400 },
  { 'Host and host', 'GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n', 400 },
  { 'escape of another kind', 'GET /%u0041 HTTP/1.1\r\nHost: a\r\n\r\n', 400 },
  { 'unknown expectation', POST .. 'Content-Length: 1\r\nExpect: 200-ok\r\n\r\nx', 417 },
  { 'garbage after a request', 'GET /upstream/a/echo HTTP/1.1\r\n' .. H .. '\r\nhello\r\n', 400, 1 },
  { 'garbage after a body', POST .. 'Content-Length: 2\r\n\r\nhijunk / HTTP/1.1\r\n\r\n', 400, 1 },
  { 'a body on GET is not a request',
    'GET /upstream/a/echo HTTP/1.1\r\n' .. H .. 'Content-Length: 31\r\nConnection: close\r\n\r\n' .. SNEAK, 200, 1 },
  { 'an upgrade nobody took',
    'GET /upstream/a/echo HTTP/1.1\r\n' .. H .. 'Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n' .. SNEAK, 200, 1 },
  { 'smuggling after a chunked end', CHUNKED .. '0\r\n\r\nX\r\n\r\n', 400, 1 },
}

local srv, log

local function hits()
  local n = 0
  for _, e in ipairs(server.read_events(log)) do if e.ev == 'start' then n = n + 1 end end
  return n
end

-- Everything that comes until the server ends the connection.
local function answer(bytes, step)
  local c = http.connect(srv.port)
  local got, why = {}
  for at = 1, #bytes, step do
    if not c.sock:send(bytes:sub(at, at + step - 1), 10) then break end
  end
  repeat
    local data
    data, why = c.sock:recv(65536, 20)
    got[#got + 1] = data
  until not data
  c:close()
  return table.concat(got), why
end

local function judge(case, step)
  local before = hits()
  local got, why = answer(case[2], step)
  local status
  for s in got:gmatch 'HTTP/1%.1 (%d%d%d) ' do status = tonumber(s) end
  local n = hits() - before
  if why == 'timeout' or status ~= case[3] or n ~= (case[4] or 0) then
    return ('%s (pieces of %d): %s, status %s for %d, %d requests upstream for %d'):format(case[1], step, why,
      tostring(status), case[3], n, case[4] or 0)
  end
  if status >= 400 and not got:find('\r\nConnection: close\r\n', 1, true) then
    return case[1] .. ': does not say that it closes'
  end
end

describe('hostile requests', function()
  setup(function()
    log = net.tmpdir() .. '/e.jsonl'
    srv = server.start { config = server.config('', { { 'a', '--silent --log ' .. log } }) }
    assert.equal(200, srv:get('/upstream/a/echo').status)
  end)
  teardown(server.stop_all)

  it('are at least sixty', function()
    assert.is_true(#cases >= 60)
  end)

  for _, step in ipairs { 1 << 20, 11 } do
    it(('get their status and a closed connection, in pieces of %d'):format(step), function()
      local misses = {}
      for _, case in ipairs(cases) do misses[#misses + 1] = judge(case, step) end
      assert.equal('', table.concat(misses, '\n'))
    end)
  end

  it('get 431 when the head does not end, whatever part of it', function()
    for _, start in ipairs { 'GET /', 'GET / HTTP/1.1\r\nHost: ', 'GET / HTTP/1.1\r\nHost: a\r\nX: ',
      'GET / HTTP/1.1\r\nHost: a\r\nX' } do
      local got = answer(start .. ('a'):rep(100000), 1 << 20)
      assert.matches('^HTTP/1%.1 431 ', got)
    end
    local got = answer('GET / HTTP/1.1\r\nHost: a\r\n' .. ('A: b\r\n'):rep(1000) .. '\r\n', 1 << 20)
    assert.matches('^HTTP/1%.1 431 ', got)
  end)

  it('that come by the thousand on one connection are answered in order, and no more are read than fit', function()
    local c, n = http.connect(srv.port), 600
    c.sock:set_rcvbuf(4096)
    local all = {}
    for i = 1, n do all[i] = ('GET /health?%d HTTP/1.1\r\nHost: a\r\n\r\n'):format(i) end
    local bytes, sent, seen = table.concat(all), 0, 0
    while seen < n do
      if sent < #bytes then
        local k, _, part = c.sock:send(bytes:sub(sent + 1, sent + 65536), 0.05)
        sent = sent + (k and math.min(65536, #bytes - sent) or part or 0)
      end
      for _ = 1, 200 do
        if seen == n then break end
        c.methods[1] = 'GET'
        local r = assert(c:response(10))
        assert.equal(200, r.status)
        seen = seen + 1
      end
    end
    assert.equal(200, srv:get('/health').status)
    c:close()
  end)

  it('get nothing out of Connection: what frames and routes a request stays', function()
    local c = http.connect(srv.port)
    c:send('POST /upstream/a/echo HTTP/1.1\r\nHost: front\r\nContent-Length: 2\r\nContent-Type: text/x\r\n' ..
      'Connection: Host, Content-Length, Transfer-Encoding, X-Gone\r\nX-Gone: 1\r\nX-Forwarded-For: 9.9.9.9\r\n\r\nhi')
    local got = c:response():json()
    local fields = {}
    for _, h in ipairs(got.headers) do fields[h[1]:lower()] = h[2] end
    assert.equal('hi', got.body)
    assert.equal('front', fields.host)
    assert.equal('2', fields['content-length'])
    assert.equal('9.9.9.9, 127.0.0.1', fields['x-forwarded-for'])
    assert.is_nil(fields['x-gone'])
    c:close()
  end)

  it('leave a server that still works', function()
    assert.equal(200, srv:chat('a').status)
  end)
end)

describe('slow heads', function()
  after_each(server.stop_all)

  it('get 408, and connections without a request just end', function()
    srv = server.start { config = 'limits:\n  headerRead: 1\n  idleKeepAlive: 1\n' ..
      server.config('', { { 'a', '--silent' } }) }
    local slow, idle = http.connect(srv.port), http.connect(srv.port)
    slow:send 'GET /health HTTP/1.1\r\nHo'
    local r = slow:response(10)
    assert.equal(408, r.status)
    assert.is_true(slow:at_end(10))
    assert.is_true(idle:at_end(10))
    slow:close()
    idle:close()
  end)

  it('do not take connections from others: beyond limits.connections they wait', function()
    srv = server.start { config = 'limits:\n  connections: 2\n' .. server.config('', { { 'a', '--silent' } }) }
    local one, two, three = http.connect(srv.port), http.connect(srv.port), http.connect(srv.port)
    one:request('GET', '/health')
    two:request('GET', '/health')
    assert.equal(200, one:response().status)
    assert.equal(200, two:response().status)
    three:request('GET', '/health')
    assert.is_nil(three:head(0.2))
    one:close()
    assert.equal(200, three:response().status)
    two:close()
    three:close()
  end)
end)
