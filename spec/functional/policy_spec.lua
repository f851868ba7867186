-- policy_spec.lua: Lua policies in the running program: they route, refuse, order, fail and are replaced.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function start(code, opts)
  opts = opts or {}
  local dir = net.tmpdir()
  local file = server.write_file(dir .. '/p.lua', code)
  local srv = server.start { config = ('%s\npolicies:\n  - file: %s\n%s'):format(opts.top or '', file, opts.entry or '') ..
    server.config('', { { 'a', '--silent --respond A' }, { 'b', '--silent --respond B' } }) }
  srv.policy_file = file
  return srv
end

local function who(srv, model, extra)
  local r = srv:chat(model, extra)
  return r.status == 200 and r:json().choices[1].message.content or r.status
end

local fifo = 'routing: { scheduler: { use: fifo } }'

describe('a policy', function()
  after_each(server.stop_all)

  it('routes names that no model has, and sees what the request is', function()
    local srv = start [[
return { api = 1, name = "router",
  route = function(req)
    if req.model ~= "any" then return end
    local long = req.messages and req.messages > 1
    return { model = (req.stream or long or req:header("x-want") == "b") and "b" or "a" }
  end }]]
    assert.equal('A', who(srv, 'any'))
    assert.equal('B', who(srv, 'any', { messages = { { role = 'user' }, { role = 'user' } } }))
    local r = srv:post('/v1/chat/completions', { model = 'any' }, { headers = { ['X-Want'] = 'b' } })
    assert.equal('B', r:json().choices[1].message.content)
    assert.equal(404, who(srv, 'other'))
    assert.equal('A', who(srv, 'a'))
  end)

  it('refuses with its own status, message and Retry-After', function()
    local srv = start [[
return { api = 1, name = "door",
  on_request = function(req)
    if req.model == "b" then return luaswap.reject(429, "b is resting", { retry_after = 7 }) end
  end }]]
    local r = srv:chat 'b'
    assert.equal(429, r.status)
    assert.equal('7', r:get 'retry-after')
    assert.matches('b is resting', r.body, 1, true)
    assert.equal('A', who(srv, 'a'))
  end)

  it('that raises, loops or returns rubbish leaves the request to the built-in', function()
    for _, body in ipairs { 'error("no")', 'while true do end', 'return 42', 'local t = {} while true do t[#t+1] = ("x"):rep(1000) end',
      'return ("a"):rep(1000):find((".-"):rep(30) .. "b")' } do
      local srv = start(('return { api = 1, name = "bad", route = function(req) %s end }'):format(body))
      local t0 = net.now()
      for _ = 1, 4 do assert.equal('A', who(srv, 'a'), body) end
      assert.is_true(net.now() - t0 < 5, body)
      assert.equal(200, srv:get('/health').status)
      srv:stop()
    end
  end)

  it('is ejected after three strikes and says so', function()
    local srv = start [[return { api = 1, name = "bad", on_request = function() error("boom") end }]]
    for _ = 1, 4 do assert.equal('A', who(srv, 'a')) end
    local st = srv:get('/api/policy'):json()
    assert.equal('ejected', st.policies[1].state)
    assert.matches('policy bad', srv:log(), 1, true)
    assert.equal(200, srv:get('/api/policy/bad/dump').status)
    assert.equal(404, srv:get('/api/policy/nobody/dump').status)
  end)

  it('orders requests under fifo', function()
    local srv = start([[
return { api = 1, name = "last-first",
  pick_next = function(q)
    local last
    for r in q:each() do last = r end
    return last
  end }]], { top = fifo })
    assert.equal('A', who(srv, 'a'))
    local st = srv:get('/api/policy'):json()
    assert.equal('active', st.policies[1].state)
    assert.is_true(st.policies[1].calls.pick_next.n >= 1)
    assert.equal(200, srv:get('/api/policy/trace?n=10').status)
  end)

  it('only observes under serial, and the log says so', function()
    local srv = start [[return { api = 1, name = "obs", pick_next = function(q) return luaswap.hold(60) end }]]
    assert.equal('A', who(srv, 'a'))
    assert.matches('observe scheduling', srv:log(), 1, true)
  end)

  it('is replaced while requests run: 20 reloads lose nothing', function()
    local srv = start([[return { api = 1, name = "v", route = function(r) if r.model == "x" then return { model = "a" } end end }]])
    assert.equal('A', who(srv, 'x'))
    for i = 1, 20 do
      server.write_file(srv.policy_file, ('return { api = 1, name = "v", version = "%d", route = function(r) ' ..
        'if r.model == "x" then return { model = "a" } end end }'):format(i))
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'x', fake = { wait_ms = 10 } } })
      assert.equal(200, http.exchange(srv.port, 'POST', '/api/policy/v/reload', { body = '' }).status)
      assert.equal(200, c:response(20).status)
      c:close()
    end
    server.write_file(srv.policy_file, 'return { api = 1, name = ')
    assert.equal(409, http.exchange(srv.port, 'POST', '/api/policy/v/reload', { body = '' }).status)
    assert.equal('A', who(srv, 'x'))
  end)

  it('may ask another server, if that is allowed', function()
    local up = net.listen('127.0.0.1', 0)
    local code = ([[
return { api = 1, name = "asks", requires = { "http" },
  route = function(req)
    local res, err = luaswap.http.get("http://127.0.0.1:%d/who?m=" .. req.model, { timeout = 5 })
    if res then return { model = res:text() } end
  end }]]):format(up:port())
    local srv = start(code, { entry = ('    http_allow: [ "http://127.0.0.1:%d/" ]\n'):format(up:port()) })
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'x' } })
    local conn = assert(up:accept(10))
    assert.matches('GET /who%?m=x ', conn:recv(4096, 5))
    conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb'
    conn:close()
    assert.equal('B', c:response(20):json().choices[1].message.content)
    c:close()
    -- a client that leaves while the policy waits
    c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'x' } })
    conn = assert(up:accept(10))
    c:close()
    conn:close()
    wait.till(function() return srv:get('/health').status == 200 end, 5)
    up:close()
  end)

  it('that does not load stops the start, with file and line', function()
    local dir = net.tmpdir()
    local file = server.write_file(dir .. '/p.lua', 'return { api = 1,\n  name = "x",\n  route = ) }')
    local srv = server.start { no_wait = true, config = ('policies: [ { file: %s } ]\n'):format(file) ..
      server.config('', { { 'a', '--silent' } }) }
    assert.equal(1, srv.proc:wait(10))
    assert.matches('p.lua:3', srv:log(), 1, true)
    srv:destroy()
  end)
end)
