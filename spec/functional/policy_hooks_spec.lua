-- policy_hooks_spec.lua: the hooks around the work itself, live: rewrite, on_failure, after_ready, before_stop.
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local fifo, serial = 'routing: { scheduler: { use: fifo } }', ''

local function start(code, opts)
  local dir = net.tmpdir()
  local file = server.write_file(dir .. '/p.lua', code)
  local models = opts.models or { { 'a', '--silent --respond A' }, { 'b', '--silent --respond B' } }
  local srv = server.start { config = ('%s\npolicies:\n  - file: %s\n%s'):format(opts.top or serial, file, opts.entry or '') ..
    server.config('', models) }
  srv.policy_file = file
  return srv
end

local function answer(r) return r.status == 200 and r:json().choices[1].message.content or r.status end

local function calls(srv, hook)
  return srv:get('/api/policy'):json().policies[1].calls[hook] or { n = 0 }
end

describe('rewrite', function()
  after_each(server.stop_all)

  local function echoed(srv, body, opts)
    return srv:post('/v1/chat/completions', body, opts):json()
  end

  it('sets and drops members of the body on its way, and nothing else', function()
    local srv = start([[
return { api = 1, name = "rw", requires = { "body" },
  rewrite = function(req, body)
    if body.leave then return end
    return { temperature = 0.5, seed = luaswap.json.null, ["odd.key"] = { body.messages[1].content, #body.messages },
      model = "hijacked" }
  end }]], {})
    local text = '{"model" : "a","x":1.0e0,"seed":7,"temperature":  1.25, "dup\\u0041":[ 1 ,2],' ..
      '"messages":[{"role":"user","content":"hi"}],"fake":{"echo":true}}'
    local r = http.exchange(srv.port, 'POST', '/v1/chat/completions', { body = text,
      headers = { ['Content-Type'] = 'application/json' } })
    local sent = r:json().body
    assert.equal('{"model" : "a","x":1.0e0,"temperature":  0.5, "dup\\u0041":[ 1 ,2],' ..
      '"messages":[{"role":"user","content":"hi"}],"fake":{"echo":true},"odd.key":["hi",1]}', sent)
    local left = '{"leave":true,"model":"a","seed":7,"fake":{"echo":true}}'
    r = http.exchange(srv.port, 'POST', '/v1/chat/completions', { body = left, headers = { ['Content-Type'] = 'application/json' } })
    assert.equal(left, r:json().body)
  end)

  it('comes after the filters of the configuration, and keeps the name that the model is to see', function()
    local srv = start([[
return { api = 1, name = "rw", requires = { "body" },
  rewrite = function(req, body) return { saw = body.model, top_p = body.top_p or "gone", model = "x" } end }]],
      { models = { { 'a', '--silent', { useModelName = 'inner', filters = '{ stripParams: "top_p" }' } } } })
    local got = json.decode(echoed(srv, { model = 'a', top_p = 1, fake = { echo = true } }).body)
    assert.equal('inner', got.model)
    assert.equal('inner', got.saw)
    assert.equal('gone', got.top_p)
  end)

  it('is not asked about what has no JSON body, and a body beyond a megabyte goes as it is', function()
    local srv = start([[
return { api = 1, name = "rw", requires = { "body" }, rewrite = function(req, body) return { touched = true } end }]], {})
    assert.equal(200, srv:get('/upstream/a/test').status)
    assert.equal(0, calls(srv, 'rewrite').n)
    local r = srv:post('/v1/chat/completions', { model = 'a', pad = ('x'):rep(1200000) })
    assert.equal(200, r.status)
    assert.equal(0, calls(srv, 'rewrite').n)
    assert.is_true(json.decode(echoed(srv, { model = 'a', fake = { echo = true } }).body).touched)
    assert.equal(1, calls(srv, 'rewrite').n)
  end)

  it('that fails leaves the body alone', function()
    for what, body in pairs { raises = 'error "no"', number = 'return 7', loops = 'while true do end',
      list = 'return { 1, 2 }', func = 'return { a = print or function() end }' } do
      local srv = start(('return { api = 1, name = "rw", requires = { "body" }, rewrite = function(r, b) %s end }'):format(body), {})
      for _ = 1, 4 do
        local sent = json.decode(echoed(srv, { model = 'a', fake = { echo = true } }).body)
        assert.same({ model = 'a', fake = { echo = true } }, sent, what)
      end
      assert.equal('ejected', srv:get('/api/policy'):json().policies[1].state, what)
      srv:stop()
    end
  end)
end)

for _, use in ipairs { 'serial', 'fifo' } do
  local top = use == 'fifo' and fifo or serial
  describe('on_failure under ' .. use, function()
    after_each(server.stop_all)

    it('has a request tried on another model: it died, it does not start, it answers with 503', function()
      local srv = start([[
local seen = luaswap.state
return { api = 1, name = "fallback",
  on_failure = function(req, err)
    luaswap.log.info("failed: %s attempt %d", err, req.attempt)
    if req.model ~= "b" then return { retry = true, model = "b" } end
  end }]], { top = top, models = { { 'dies', '--silent --crash-on-request' },
        { 'never', '--silent --no-health --exit-after-ms 20 --exit-code 3' },
        { 'a', '--silent --respond A' }, { 'b', '--silent --respond B' } } })
      assert.equal('B', answer(srv:chat 'dies'))
      assert.equal('B', answer(srv:chat 'never'))
      assert.equal('A', answer(srv:chat 'a'))
      local r = srv:chat('a', { fake = { status = 503 } })
      assert.equal(503, r.status) -- b says the same, and then it is an answer
      assert.matches('it answered with status 503 attempt 1', srv:log(), 1, true)
      assert.matches('attempt 2', srv:log(), 1, true)
      assert.equal('active', srv:get('/api/policy'):json().policies[1].state)
    end)

    it('is asked at most so often that a request is tried three times', function()
      local srv = start([[
return { api = 1, name = "again", on_failure = function(req, err) return { retry = true, delay = 0.01 } end }]],
        { top = top, models = { { 'a', '--silent --respond A' } } })
      local r = srv:chat('a', { fake = { status = 500 } })
      assert.equal(500, r.status)
      local c = calls(srv, 'on_failure')
      assert.equal(3, c.n)
      assert.matches('was tried 3 times', srv:log(), 1, true)
      assert.equal('A', answer(srv:chat 'a'))
    end)

    it('says with attempt and ctx which attempt it is, and each attempt is admitted', function()
      local srv = start([[
return { api = 1, name = "again", requires = { "body" },
  on_request = function(req) req.ctx.asked = (req.ctx.asked or 0) + 1 end,
  rewrite = function(req) if req.attempt == 2 then return { fake = luaswap.json.null, user = "ctx" .. req.ctx.asked } end end,
  on_serve_done = function(req) luaswap.log.info("done %d %s attempt %d", req.status, req.error or "well", req.attempt) end,
  on_failure = function(req, err) return { retry = true } end }]], { top = top })
      assert.equal('A', answer(srv:chat('a', { fake = { status = 500 } })))
      wait.till(function() return srv:log():find('done 200 well attempt 2', 1, true) end, 10, 'the second end')
      assert.matches('done 502 it answered with status 500 attempt 1', srv:log(), 1, true)
      assert.equal(2, calls(srv, 'on_request').n)
      assert.equal(2, calls(srv, 'on_serve_done').n)
    end)

    it('may say that it is over, and that counts more than the attempt of our own', function()
      local srv = start([[return { api = 1, name = "no", on_failure = function() return { retry = false } end }]],
        { top = top, models = { { 'dies', '--silent --crash-on-request' } } })
      assert.equal(502, srv:chat('dies').status)
      assert.equal(1, calls(srv, 'on_failure').n)
    end)

    it('that has no opinion, fails or names nobody leaves it to the built-in', function()
      for what, body in pairs { ['nil'] = 'return', raises = 'error "no"', rubbish = 'return "again"', nobody = 'return { retry = true, model = "nobody" }' } do
        local srv = start(('return { api = 1, name = "x", on_failure = function(r, e) %s end }'):format(body),
          { top = top, models = { { 'dies', '--silent --crash-on-request' }, { 'b', '--silent --respond B' } } })
        local r = srv:chat 'dies'
        assert.is_true(r.status == 502 or r.status == 500, what .. ' ' .. r.status)
        assert.equal('B', answer(srv:chat 'b'))
        srv:stop()
      end
    end)

    it('has a request for a peer that is gone served here', function()
      local srv = start([[
return { api = 1, name = "home", on_failure = function(req, err) if req.asked == "far" then return { retry = true, model = "b" } end end }]],
        { top = top .. '\npeers: { there: { proxy: "http://127.0.0.1:1", models: [ far ] } }' })
      assert.equal('B', answer(srv:chat 'far'))
      assert.equal('A', answer(srv:chat 'a'))
    end)

    it('cannot send what a path names elsewhere', function()
      local srv = start([[
return { api = 1, name = "home", on_failure = function(req, err) return { retry = true, model = "b" } end }]],
        { top = top, models = { { 'dies', '--silent --crash-on-request' }, { 'b', '--silent --respond B' } } })
      assert.equal(502, srv:post('/upstream/dies/v1/chat/completions', { model = 'dies' }).status)
      assert.matches('a request of this kind cannot go to', srv:log(), 1, true)
    end)

    it('gives a request back its place', function()
      local srv = start([[
return { api = 1, name = "again", requires = { "body" },
  rewrite = function(req) if req.attempt == 2 then return { fake = luaswap.json.null } end end,
  on_serve_done = function(req) if req.status == 200 then luaswap.log.info("served %s", req:header "x-request-id") end end,
  on_failure = function(req, err) return { retry = true } end }]], { top = top, models = { { 'a', '--silent', { concurrencyLimit = 5 } } } })
      assert.equal(200, srv:chat('a').status)
      local c = {}
      for i = 1, 3 do
        c[i] = http.connect(srv.port)
        c[i]:request('POST', '/v1/chat/completions', { headers = { ['X-Request-ID'] = 'r' .. i },
          body = { model = 'a', fake = { wait_ms = 100, status = i == 1 and 500 or nil } } })
        wait.till(function() return srv:get('/api/policy'):json().policies[1].calls.rewrite.n >= 2 end, 10, 'the first at work')
      end
      for i = 1, 3 do
        local r = c[i]:response(20)
        assert.equal(200, r.status, r.body)
      end
      if use == 'serial' then
        -- the one behind it went when it gave its turn back; nobody else did
        wait.till(function() return srv:log():find 'served r1.*served r3' end, 10, 'their ends in this order')
      end
    end)

    it('a client that leaves between two attempts leaves nothing behind', function()
      local srv = start([[return { api = 1, name = "again", on_failure = function(req, err) return { retry = true, delay = 30 } end }]], { top = top })
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { status = 500 } } })
      wait.till(function() return srv:log():find('has it tried again', 1, true) end, 10, 'the first attempt')
      c:close()
      assert.equal('A', answer(srv:chat 'a'))
      -- and a shutdown does not wait for one
      c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { status = 500 } } })
      wait.till(function() return select(2, srv:log():gsub('has it tried again', '')) == 2 end, 10, 'the second request')
      local t0 = net.now()
      net.kill(srv.pid, 'TERM')
      assert.equal(503, c:response(20).status)
      assert.equal(0, srv.proc:wait(20 * wait.slow))
      assert.is_true(net.now() - t0 < 15 * wait.slow)
      c:close()
    end)
  end)

  describe('after_ready and before_stop under ' .. use, function()
    after_each(server.stop_all)

    local function asking(limit, extra)
      local up = net.listen('127.0.0.1', 0)
      local base = ('http://127.0.0.1:%d/'):format(up:port())
      local srv = start(([[
return { api = 1, name = "kv", requires = { "http" },
  after_ready = function(m) local r, e = luaswap.http.post("%sready/" .. m.id .. "/" .. m.state, "", { timeout = 30 }) luaswap.log.info("ready %%s %%s", m.id, r and r.status or e) end,
  before_stop = function(m, why) local r, e = luaswap.http.post("%sstop/" .. m.id .. "/" .. why, "", { timeout = 30 }) luaswap.log.info("stop %%s %%s", m.id, r and r.status or e) end }]])
        :format(base, base), { top = top, entry = ('    http_allow: [ "%s" ]\n    limits: { stop_hook_s: %s }\n'):format(base, limit or 30),
        models = extra })
      local conns = {}
      local function take(what)
        local c = assert(up:accept(10 * wait.slow))
        conns[#conns + 1] = c
        assert.matches('POST ' .. what, c:recv(4096, 5))
        return function() c:send 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' c:close() end
      end
      return srv, take, up
    end

    it('are waited for: no request before the one, no stop before the other', function()
      local srv, take, up = asking()
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
      local go = take '/ready/a/starting'
      assert.is_nil((c.sock:recv(1, 0)))
      go()
      assert.equal('A', answer(c:response(20)))
      c:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
      go = take '/stop/a/swap'
      assert.equal('ready', srv:get('/running'):json().running[1].state)
      go()
      take '/ready/b/starting' ()
      assert.equal('B', answer(c:response(20)))
      -- unloading through the API says so
      local u = http.connect(srv.port)
      u:request('POST', '/api/models/unload', { body = '' })
      take '/stop/b/admin' ()
      assert.equal(200, u:response(20).status)
      u:close()
      c:close()
      up:close()
    end)

    it('are not waited for longer than limits.stop_hook_s', function()
      local srv, take, up = asking '1'
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
      take '/ready/a/starting'
      assert.equal('A', answer(c:response(20)))
      c:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
      take '/stop/a/swap'
      take '/ready/b/starting'
      assert.equal('B', answer(c:response(20)))
      assert.matches('waited longer than it may', srv:log(), 1, true)
      up:close()
      assert.equal(200, srv:chat('b').status)
      srv:stop()
    end)

    it('with stop_hook_s: 0 they run and nobody waits', function()
      local srv, take, up = asking '0'
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
      local go = take '/ready/a/starting'
      assert.equal('A', answer(c:response(20)))
      go()
      wait.till(function() return srv:log():find('ready a 200', 1, true) end, 10, 'the hook to end')
      up:close()
    end)

    it('a process that dies while one is waited for ends the wait', function()
      local srv, take, up = asking()
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
      take '/ready/a/starting'
      local victim = wait.till(function() return srv:models()[1] end, 10, 'the process')
      net.kill(victim.pid, 'KILL')
      local r = c:response(20)
      assert.equal(500, r.status)
      c:close()
      c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
      take '/ready/a/starting' ()
      assert.equal('A', answer(c:response(20)))
      c:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
      take '/stop/a/swap'
      net.kill(srv:models()[1].pid, 'KILL')
      take '/ready/b/starting' ()
      assert.equal('B', answer(c:response(20)))
      up:close()
    end)

    it('the client that a load was for may leave meanwhile; another one is served', function()
      local srv, take, up = asking()
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
      local go = take '/ready/a/starting'
      c:close()
      c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
      go()
      assert.equal('A', answer(c:response(20)))
      up:close()
    end)

    it('a policy that is replaced or switched off while one is waited for holds nothing up', function()
      for _, verb in ipairs { 'reload', 'disable' } do
        local srv, take, up = asking()
        local c = http.connect(srv.port)
        c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
        take '/ready/a/starting'
        local r = srv:post('/api/policy/kv/' .. verb, '')
        assert.equal(200, r.status, r.body)
        assert.equal('A', answer(c:response(20)))
        c:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
        if verb == 'reload' then
          take '/stop/a/swap'
          assert.equal(200, srv:post('/api/policy/kv/disable', '').status)
        end
        assert.equal('B', answer(c:response(20)))
        c:close()
        up:close()
        srv:stop()
      end
    end)

    it('before_stop is told of a shutdown, which does not wait long for it', function()
      local srv, take, up = asking()
      local c = http.connect(srv.port)
      c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
      take '/ready/a/starting' ()
      assert.equal('A', answer(c:response(20)))
      c:close()
      net.kill(srv.pid, 'TERM')
      take '/stop/a/shutdown' ()
      assert.equal(0, srv.proc:wait(20 * wait.slow))
      assert.matches('stop a 200', srv:log(), 1, true)
      up:close()
    end)

    it('failing they change nothing', function()
      for what, body in pairs { raises = 'error "no"', loops = 'while true do end', memory = 'local t = {} while true do t[#t+1] = ("x"):rep(1000) end' } do
        local srv = start(('return { api = 1, name = "x", after_ready = function(m) %s end, before_stop = function(m, why) %s end }')
          :format(body, body), { top = top })
        for i = 1, 6 do assert.equal(i % 2 == 1 and 'A' or 'B', answer(srv:chat(i % 2 == 1 and 'a' or 'b')), what) end
        assert.equal('ejected', srv:get('/api/policy'):json().policies[1].state, what)
        srv:stop()
      end
    end)
  end)
end

describe('the KV keeper of examples/policies', function()
  after_each(server.stop_all)

  it('has a cache saved before its model goes, and restored when it is back', function()
    local up = net.listen('127.0.0.1', 0)
    local base = ('http://127.0.0.1:%d'):format(up:port())
    local srv = server.start { config = ([[
policies:
  - file: %s/examples/policies/kv-keeper.lua
    settings: { urls: { a: "%s" } }
    http_allow: [ "%s" ]
]]):format(require 'spec.shell'.root, base, base) ..
      server.config('', { { 'a', '--silent --respond A' }, { 'b', '--silent --respond B' } }) }
    local function slots(c, action)
      local conn = assert(up:accept(10 * wait.slow))
      local said = ''
      wait.till(function()
        said = said .. (conn:recv(4096, 5) or '')
        return said:find('}', 1, true)
      end, 10, 'the whole call')
      assert.matches('^POST /slots/0%?action=' .. action, said)
      assert.matches('"filename":"a-0.kv"', said, 1, true)
      assert.is_nil((c.sock:recv(1, 0))) -- the request waits for it
      conn:send 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'
      conn:close()
    end
    local c = http.connect(srv.port)
    local function ask(model) c:request('POST', '/v1/chat/completions', { body = { model = model } }) end
    ask 'a'
    assert.equal('A', answer(c:response(20)))
    ask 'b'
    slots(c, 'save')
    assert.equal('B', answer(c:response(20)))
    ask 'a'
    slots(c, 'restore')
    assert.equal('A', answer(c:response(20)))
    c:close()
    up:close()
    assert.equal('active', srv:get('/api/policy'):json().policies[1].state)
  end)
end)
