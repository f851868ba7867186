-- api_logs_spec.lua: /logs and the live streams (http.md 8).
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function start(args, top)
  return server.start { config = server.config(top or '', { { 'org/a', args or '', { aliases = { 'nick' } } },
    { 'b', args or '' } }) }
end

-- An open stream: the connection and the answer's head.
local function open(srv, path)
  local c = srv:connect()
  c:request('GET', path)
  local r = assert(c:head())
  return c, r
end

-- Reads until the text so far matches; returns all of it.
local function read_until(c, r, pattern, seconds)
  local parts, last, deadline = {}, '', net.now() + (seconds or 10)
  while not last:find(pattern) do
    local piece, why = c:piece(r, math.max(0, deadline - net.now()))
    if not piece then error(('no %q in the stream (%s): %s'):format(pattern, why, last:sub(-500)), 2) end
    parts[#parts + 1] = piece
    last = last:sub(-200) .. piece
  end
  return table.concat(parts)
end

describe('/logs', function()
  after_each(server.stop_all)

  it('A178 is the combined log as text; a browser is sent to the UI', function()
    local srv = start()
    srv:get '/health'
    local r = srv:get '/logs'
    assert.equal(200, r.status)
    assert.equal('text/plain', r:get 'content-type')
    assert.is_truthy(r.body:find 'listening on')
    assert.is_truthy(r.body:find '"GET /health HTTP/1.1" 200 2')
    r = srv:get('/logs', { headers = { Accept = 'text/html,application/xhtml+xml' } })
    assert.equal(302, r.status)
    assert.equal('/ui/', r:get 'location')
  end)

  it('A179 combines what logToStdout names', function()
    local sock = net.tmpdir() .. '/s'
    for dest, wants in pairs {
      proxy = { proxy = true }, upstream = { model = true }, both = { proxy = true, model = true }, none = {},
    } do
      local srv = server.start { config = server.config('logToStdout: ' .. dest, { { 'a', '' } }), no_listen = true,
        no_wait = true, args = { '-listen', 'unix:' .. sock } }
      srv.port = 'unix:' .. sock
      wait.till(function() return (net.connect('unix:' .. sock, 0, 0.1)) end, 10, 'the socket')
      assert.equal(200, srv:chat 'a'.status)
      local logs = srv:get '/logs'.body
      assert.equal(wants.proxy or false, logs:find 'POST /v1/chat/completions HTTP' ~= nil, dest .. ' proxy')
      assert.equal(wants.model or false, logs:find 'fake model a pid' ~= nil, dest .. ' upstream')
      assert.equal(wants.model or false, srv:log():find 'fake model a pid' ~= nil, dest .. ' stdout')
      for path, text in pairs { proxy = 'POST /v1/chat/completions HTTP', upstream = 'fake model a pid' } do
        local c, r = open(srv, '/logs/stream/' .. path)
        read_until(c, r, text)
        c:close()
      end
      srv:stop()
      os.remove(sock)
    end
  end)

  it('A181 A182 has an access line for each request but the polled ones', function()
    local srv = start '--silent'
    srv:get('/health', { headers = { ['User-Agent'] = 'spec/1.0' } })
    srv:get '/wol-health'
    srv:get('/running?secret=1', { headers = { ['X-Forwarded-For'] = '1.2.3.4, 5.6.7.8', ['X-Real-IP'] = '9.9.9.9' } })
    srv:get('/nowhere', { headers = { ['X-Real-IP'] = '9.9.9.9' } })
    srv:chat 'b'
    local log = srv:get '/logs'.body
    assert.is_truthy(log:find '%[INFO%] Request 127%.0%.0%.1 "GET /health HTTP/1%.1" 200 2 "spec/1%.0" [%d.]+%S*s\n')
    assert.is_truthy(log:find 'Request 1%.2%.3%.4 "GET /running HTTP/1%.1" 200 %d+ "" ')
    assert.is_truthy(log:find 'Request 9%.9%.9%.9 "GET /nowhere HTTP/1%.1" 404 19 "" ')
    assert.is_truthy(log:find 'Request 127%.0%.0%.1 "POST /v1/chat/completions HTTP/1%.1" 200 %d+ "" ')
    assert.is_nil(log:find 'wol%-health')
    assert.is_nil(log:find 'secret')
  end)
end)

describe('a log stream', function()
  after_each(server.stop_all)

  it('sends its head at once, the history, then what comes', function()
    local srv = start()
    local c, r = open(srv, '/logs/stream')
    assert.equal(200, r.status)
    assert.equal('text/plain', r:get 'content-type')
    assert.equal('nosniff', r:get 'x-content-type-options')
    assert.equal('no', r:get 'x-accel-buffering')
    assert.is_true(r.chunked)
    read_until(c, r, 'listening on')
    srv:get '/nowhere'
    read_until(c, r, 'GET /nowhere')
    c:close()
  end)

  it('sends its head at once when there is nothing to say', function()
    local srv = start()
    local c, r = open(srv, '/logs/stream/b')
    assert.equal(200, r.status)
    assert.same({ nil, 'timeout' }, { c:piece(r, 0.05) })
    assert.equal(200, srv:chat 'b'.status)
    read_until(c, r, 'fake model b pid')
    c:close()
  end)

  it('leaves the history out on no-history', function()
    local srv = start()
    for _, query in ipairs { '?no-history', '?no-history=false', '?x=1&no-history=' } do
      local c, r = open(srv, '/logs/stream' .. query)
      srv:get '/nowhere'
      local text = read_until(c, r, 'GET /nowhere')
      assert.is_nil(text:find 'listening on')
      c:close()
    end
  end)

  it('A180 is one model by id, alias, slashes or %2F; unknown ones are 400', function()
    local srv = start '' --  the fake model says its name when it starts
    assert.equal(200, srv:chat 'org/a'.status)
    for _, name in ipairs { 'org/a', 'org%2Fa', 'nick', 'org/a/and/more' } do
      local c, r = open(srv, '/logs/stream/' .. name)
      local text = read_until(c, r, 'fake model org/a pid')
      assert.is_nil(text:find 'listening on http')
      c:close()
    end
    for _, name in ipairs { 'nobody', 'org', '%zz' } do
      local r = srv:get('/logs/stream/' .. name)
      assert.equal(400, r.status, name)
      assert.equal('bad_request', r:json().error.code)
    end
  end)

  it('tells proxy from upstream', function()
    local srv = start ''
    assert.equal(200, srv:chat 'b'.status)
    local c, r = open(srv, '/logs/stream/upstream')
    assert.is_nil(read_until(c, r, 'fake model b pid'):find '%[INFO%]')
    c:close()
    c, r = open(srv, '/logs/stream/proxy')
    assert.is_nil(read_until(c, r, 'listening on http'):find 'fake model b pid')
    c:close()
  end)

  it('A183 keeps the newest bytes of the history', function()
    local srv = start '--burst 300000'
    assert.equal(200, srv:chat 'b'.status)
    local c, r = open(srv, '/logs/stream/b')
    local text = read_until(c, r, 'POST /v1/chat/completions')
    assert.is_true(#text <= 102400 + 4096, #text)
    assert.is_true(#text >= 100000, #text)
    assert.is_nil(text:find 'fake model b pid')
    c:close()
  end)

  it('A183 never waits for a stalled reader, who learns how much it missed', function()
    local srv = start '--silent'
    assert.equal(200, srv:chat 'b'.status)
    local burst = 24 * 1024 * 1024
    local line = #('burst b %s\n'):format(('x'):rep(90))
    local total = math.ceil(burst / line) * line
    local lazy = srv:connect()
    lazy:request('GET', '/logs/stream/b?no-history')
    local head = assert(lazy:head())
    local keen, keen_r = open(srv, '/logs/stream/b?no-history')
    local t0 = net.now()
    assert.equal(200, srv:chat('b', { fake = { burst = burst } }, { timeout = 60 }).status)
    assert.is_true(net.now() - t0 < 30, 'the model was held up')
    assert.equal(200, srv:get '/health'.status)
    keen:close()
    assert.is_truthy(keen_r)
    -- now the lazy one reads: what came, then one line that says what did not
    local mark = '\n\u{2014} (%d+) bytes dropped \u{2014}\n'
    local text = read_until(lazy, head, mark, 30)
    for piece in function() return (lazy:piece(head, 0.3)) end do text = text .. piece end
    local dropped, notes = 0, 0
    for n in text:gmatch(mark) do dropped, notes = dropped + n, notes + 1 end
    local kept = text:gsub(mark, '')
    -- a note stands on a line of its own, so it may bring a newline that the model did not write
    local more = #kept + dropped - total
    assert.is_true(more >= 0 and more <= notes, ('%d bytes more than written, %d notes'):format(more, notes))
    assert.is_truthy(text:find('\n\n\u{2014} %d+ bytes'), 'no blank line before the note')
    assert.is_true(#kept < total / 2, 'it was kept for a reader that does not read')
    -- and it goes on living
    assert.equal(200, srv:chat('b', { fake = { burst = 200 } }).status)
    read_until(lazy, head, 'burst b')
    lazy:close()
  end)

  it('holds no memory for readers that stall', function()
    local srv = start '--silent'
    assert.equal(200, srv:chat 'b'.status)
    local list = {}
    for i = 1, 20 do
      local c = srv:connect()
      c.sock:set_rcvbuf(4096)
      c:request('GET', '/logs/stream/b?no-history')
      assert(c:head())
      list[i] = c
    end
    assert.equal(200, srv:chat('b', { fake = { burst = 16 * 1024 * 1024 } }, { timeout = 60 }).status)
    local queued = 0
    for _, req in ipairs(srv:get '/debug/state':json().requests.reply) do queued = queued + req.queued_bytes end
    assert.is_true(queued <= 21 * 600 * 1024, queued)
    for _, c in ipairs(list) do c:rst() end
    wait.till(function() return not srv:get '/debug/state':json().requests.reply end, 5, 'the streams to end')
  end)

  it('A176 ends, whole, as soon as the server is told to stop', function()
    local srv = start '--silent'
    local c, r = open(srv, '/logs/stream')
    local t0 = net.now()
    srv.proc:kill 'TERM'
    c:finish(r, 10)
    assert.is_nil(r.cut)
    assert.is_true(net.now() - t0 < 3)
    assert.matches('%] shutting down\n', r.body)
    assert.equal(0, srv.proc:wait(20))
  end)

  it('A176 goes on over a reload of the configuration, as its model does', function()
    local srv = start '--silent'
    assert.equal(200, srv:chat 'b'.status)
    local c, r = open(srv, '/logs/stream')
    local d, s = open(srv, '/logs/stream/b?no-history')
    srv.proc:kill 'HUP'
    read_until(c, r, 'reloaded; models') -- what the reload says of itself
    assert.equal(200, srv:chat('b', { fake = { burst = 200 } }).status)
    read_until(d, s, 'burst b')
    read_until(c, r, 'POST /v1/chat/completions')
    c:close()
    d:close()
  end)

  it('A176 of a reader that does not read does not hold up the end', function()
    local srv = start '--silent'
    assert.equal(200, srv:chat 'b'.status)
    local c = srv:connect()
    c.sock:set_rcvbuf(4096)
    c:request('GET', '/logs/stream/b?no-history')
    assert(c:head())
    assert.equal(200, srv:chat('b', { fake = { burst = 16 * 1024 * 1024 } }, { timeout = 60 }).status)
    local t0 = net.now()
    srv.proc:kill 'TERM'
    assert.equal(0, srv.proc:wait(20))
    assert.is_true(net.now() - t0 < 10)
    c:close()
  end)

  it('shows control characters of a client escaped', function()
    local srv = start '--silent'
    srv:get '/evil%0Aline%1b[31m'
    http.exchange(srv.port, 'GET', '/x', { headers = { ['User-Agent'] = 'a\tb' } })
    local log = srv:get '/logs'.body
    assert.is_truthy(log:find '/evil%%0Aline%%1b%[31m')
    assert.is_nil(log:find '\27')
    assert.is_nil(log:find 'a\tb')
  end)
end)
