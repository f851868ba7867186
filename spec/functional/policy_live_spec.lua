-- policy_live_spec.lua: what policies see of the running program (every endpoint, tokens, GPUs), reloads under load, and a
-- policy as the scheduler.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function start(code, opts)
  opts = opts or {}
  local dir = net.tmpdir()
  local file = server.write_file(dir .. '/p.lua', code)
  local srv = server.start { env = opts.env, no_wait = opts.no_wait,
    config = ('%s\npolicies:\n  - file: %s\n%s'):format(opts.top or '', file, opts.entry or '') ..
      server.config('', opts.models or { { 'a', '--silent --respond A' }, { 'b', '--silent --respond B' } }) }
  srv.policy_file = file
  return srv
end

local function who(srv, model, extra)
  local r = srv:chat(model, extra)
  return r.status == 200 and r:json().choices[1].message.content or r.status
end

-- Log lines of the policy that match, in order.
local function said(srv, pattern)
  local out = {}
  for line in srv:log():gmatch '[^\n]+' do
    local s = line:match('policy %w+: .-: (.*)') or ''
    if s:match(pattern) then out[#out + 1] = s end
  end
  return out
end

local tell = [[
local function say(what) return function(r) luaswap.log.info("%s %s %s %s", what, r.kind or "-", r.path or "-", r.model) end end
return { api = 1, name = "tell", requires = { "body" },
  route = say "route", on_request = say "on_request", on_serve_start = say "start", on_serve_done = say "done", on_cancel = say "cancel",
  rewrite = function(r) luaswap.log.info("rewrite %s %s %s", r.kind, r.path, r.model) end }]]

for _, use in ipairs { 'serial', 'fifo' } do
  describe('hooks fire once and in order, under ' .. use .. ',', function()
    after_each(server.stop_all)

    local cases = {
      { 'a chat', function(s) return s:chat 'a' end, 'chat /v1/chat/completions a', rewrite = true },
      { 'a stream', function(s) return s:chat('a', { stream = true }) end, 'chat /v1/chat/completions a', rewrite = true },
      { 'a completion', function(s) return s:post('/v1/completions', { model = 'a', prompt = 'x' }) end, 'completion /v1/completions a', rewrite = true },
      { 'a message', function(s) return s:post('/v1/messages', { model = 'a', messages = {} }) end, 'chat /v1/messages a', rewrite = true },
      { 'an embedding', function(s) return s:post('/v1/embeddings', { model = 'a', input = 'x' }) end, 'embedding /v1/embeddings a', rewrite = true },
      { 'a rerank', function(s) return s:post('/v1/rerank', { model = 'a', query = 'x' }) end, 'rerank /v1/rerank a', rewrite = true },
      { 'an image', function(s) return s:post('/v1/images/generations', { model = 'a', prompt = 'x' }) end, 'image /v1/images/generations a', rewrite = true },
      { 'audio in a form', function(s)
        local b = '--B\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--B\r\nContent-Disposition: form-data; ' ..
          'name="file"; filename="x"\r\n\r\n\0\1\2\r\n--B--\r\n'
        return http.exchange(s.port, 'POST', '/v1/audio/transcriptions', { body = b,
          headers = { ['Content-Type'] = 'multipart/form-data; boundary=B' } })
      end, 'audio /v1/audio/transcriptions a' },
      { 'a path of the model', function(s) return s:get '/upstream/a/test' end, 'other /upstream/a/test a', unrouted = true },
      { 'a chat below /upstream', function(s) return s:post('/upstream/a/v1/chat/completions', { model = 'x' }) end,
        'chat /upstream/a/v1/chat/completions a', unrouted = true },
    }

    it('for each kind of request', function()
      local srv = start(tell, { top = ('routing: { scheduler: { use: %s } }'):format(use) })
      local seen = 0
      for _, c in ipairs(cases) do
        local r = c[2](srv)
        assert.equal(200, r.status, c[1] .. ': ' .. r.body)
        wait.till(function() return #said(srv, '^done ') > seen end, 10, c[1] .. ' to be told of')
        seen = seen + 1
        local want = {}
        if not c.unrouted then want[1] = 'route ' .. c[3] end
        want[#want + 1] = 'on_request ' .. c[3]
        want[#want + 1] = 'start ' .. c[3]
        if c.rewrite then want[#want + 1] = 'rewrite ' .. c[3] end
        want[#want + 1] = 'done ' .. c[3]
        local all = said(srv, '.')
        local got = {}
        for i = #all - #want + 1, #all do got[#got + 1] = all[i] or '-' end
        assert.same(want, got, c[1])
        assert.equal(#want, #all - (srv.told or 0), c[1])
        srv.told = #all
      end
      assert.equal(404, srv:chat('nobody').status) -- routed, and then there is no such model
      assert.matches('^route ', said(srv, '.')[srv.told + 1])
      assert.equal(srv.told + 1, #said(srv, '.'))
      assert.equal('active', srv:get('/api/policy'):json().policies[1].state)
    end)

    it('for a websocket, and not for what never reaches a model', function()
      local srv = start(tell, { top = ('routing: { scheduler: { use: %s } }'):format(use) })
      local c = http.connect(srv.port)
      c:send('GET /upstream/a/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' ..
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n')
      assert.equal(101, c:head(20).status)
      c:close()
      wait.till(function() return said(srv, '^done ')[1] end, 10, 'its end')
      assert.same({ 'on_request other /upstream/a/ws a', 'start other /upstream/a/ws a', 'done other /upstream/a/ws a' }, said(srv, '.'))
      assert.equal(200, srv:get('/v1/models').status)
      assert.equal(200, srv:get('/running').status)
      assert.equal(3, #said(srv, '.'))
    end)

    it('for a peer: route and rewrite, nothing of the line', function()
      local far = server.start { config = server.config('', { { 'far', '--silent --respond F' } }) }
      local srv = start(tell, { top = ('routing: { scheduler: { use: %s } }\npeers:\n  there:\n    proxy: %s\n    models: [ far ]\n')
        :format(use, far.url) })
      assert.equal('F', who(srv, 'far'))
      assert.same({ 'route chat /v1/chat/completions far', 'rewrite chat /v1/chat/completions far' }, said(srv, '.'))
    end)
  end)
end

describe('what a policy learns of an answer', function()
  after_each(server.stop_all)

  it('is its status, its tokens, and what went wrong', function()
    local srv = start([[
return { api = 1, name = "out", on_serve_done = function(r)
  luaswap.log.info("%s in %s exact %s out %s %s", tostring(r.status), tostring(r.tokens_in), tostring(r.tokens_exact), tostring(r.tokens_out), r.error or "-") end }]])
    assert.equal('A', who(srv, 'a', { fake = { tokens = 17 } }))
    local r = srv:chat('a', { stream = true, stream_options = { include_usage = true }, fake = { tokens = 5, stream = true } })
    assert.equal(200, r.status)
    assert.equal(200, srv:post('/v1/messages', { model = 'a', messages = {}, fake = { tokens = 9 } }).status)
    assert.equal(200, srv:get('/upstream/a/test').status)
    wait.till(function() return #said(srv, '^200 in') >= 4 end, 10, 'four ends')
    local got = said(srv, ' in ')
    assert.matches('^200 in %d+ exact true out 17 %-$', got[1])
    assert.matches('^200 in %d+ exact', got[2])
    assert.matches('out 9 %-$', got[3])
    assert.matches('out nil %-$', got[4])
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { stream = true, tokens = 100, drop_after = 2 } } })
    pcall(c.response, c, 20)
    c:close()
    wait.till(function() return #said(srv, ' in ') >= 5 end, 10, 'the fifth end')
    assert.not_matches('%-$', said(srv, ' in ')[5])
  end)
end)

describe('GPUs', function()
  after_each(server.stop_all)
  local code = [[
return { api = 1, name = "g", requires = { "gpu" },
  on_request = function() for _, g in ipairs(luaswap.gpu()) do
    luaswap.log.info("gpu %d %s total %d used %d free %d foreign %d", g.index, g.name, g.total_mb, g.used_mb, g.free_mb, g.foreign_mb) end end }]]

  local function smi(text)
    local dir = net.tmpdir()
    server.write_file(dir .. '/nvidia-smi', text)
    os.execute(('chmod 755 %s/nvidia-smi'):format(dir))
    return { PATH = dir .. ':' .. os.getenv 'PATH' }
  end

  it('are what nvidia-smi says, with the memory that others use', function()
    local srv = start(code, { env = smi [[#!/bin/sh
case "$1" in
--query-gpu=*) printf '0, GPU-1, Fake 9000, 24000, 9000, 3, 44\n1, GPU-2, Fake 9001, 8000, 100, [N/A], [N/A]\n' ;;
--query-compute-apps=*) printf 'GPU-1, %d, 6000\nGPU-1, 1, 1000\n' $PPID ;;
esac
]] })
    assert.equal('A', who(srv, 'a'))
    assert.same({ 'gpu 0 Fake 9000 total 24000 used 9000 free 15000 foreign 3000',
      'gpu 1 Fake 9001 total 8000 used 100 free 7900 foreign 100' }, said(srv, '^gpu'))
  end)

  it('that are not there are a reason not to load what requires them', function()
    for _, text in ipairs { '#!/bin/sh\nexit 9\n', '#!/bin/sh\necho "No devices were found"\n' } do
      local srv = start(code, { env = smi(text), no_wait = true })
      assert.equal(1, srv.proc:wait(20 * wait.slow))
      assert.matches('gpu', srv:log(), 1, true)
      srv:destroy()
    end
  end)

  it('that do not answer hold up the start for a few seconds, and nothing else', function()
    local srv = start([[return { api = 1, name = "g", on_request = function() luaswap.log.info("gpus %d", #luaswap.gpu()) end }]],
      { env = smi '#!/bin/sh\nexec sleep 1000\n' })
    assert.equal('A', who(srv, 'a'))
    assert.same({ 'gpus 0' }, said(srv, '^gpus'))
  end)
end)

describe('a policy as the scheduler', function()
  after_each(server.stop_all)

  local function with_use(file, top)
    return server.start { config = ('routing: { scheduler: { use: %s } }\n%s'):format(file, top or '') ..
      server.config('', { { 'a', '--silent --respond A' }, { 'b', '--silent --respond B' } }) }
  end

  it('is the file that use: names', function()
    local file = server.write_file(net.tmpdir() .. '/mine.lua',
      'return { api = 1, name = "mine", pick_next = function(q) return q:first() end }')
    local srv = with_use(file)
    assert.equal('A', who(srv, 'a'))
    assert.equal('B', who(srv, 'b'))
    local st = srv:get('/api/policy'):json()
    assert.equal('mine', st.policies[1].name)
    assert.is_true(st.policies[1].calls.pick_next.n >= 2)
  end)

  it('may be one of the twins that come with the program', function()
    for _, twin in ipairs { 'serial', 'fifo' } do
      local srv = with_use(('%s/lua/luaswap/sched/%s.lua'):format(require 'spec.shell'.root, twin))
      for _ = 1, 2 do
        assert.equal('A', who(srv, 'a'))
        assert.equal('B', who(srv, 'b'))
      end
      assert.equal(1, #srv:models())
      srv:stop()
    end
  end)

  it('is told how to write it when the name is another', function()
    local srv = server.start { no_wait = true, config = 'routing: { scheduler: { use: lifo } }\n' ..
      server.config('', { { 'a', '--silent' } }) }
    assert.equal(1, srv.proc:wait(10 * wait.slow))
    assert.matches('a policy that ends in .lua', srv:log(), 1, true)
    srv:destroy()
  end)
end)

describe('a plan that kills', function()
  after_each(server.stop_all)
  local code = [[
return { api = 1, name = "k", plan_swap = function(m) if m.id == "b" then return { evict = { "a" }, when = "kill", grace = 0 } end end }]]

  local function run(extra)
    local srv = start(code, { top = 'routing: { scheduler: { use: fifo } }',
      models = { { 'a', '--silent --respond A', extra }, { 'b', '--silent --respond B' } } })
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { wait_ms = 1500 } } })
    wait.till(function() return srv:get('/api/scheduler'):json().serving[1] end, 10, 'a to serve')
    local b = who(srv, 'b')
    local r = c:response(20)
    c:close()
    return b, r.status, select(2, srv:log():gsub('proc a: starting', ''))
  end

  it('stops only a model that is preemptible; who was cut is served again', function()
    assert.same({ 'B', 200, 1 }, { run() })
    assert.same({ 'B', 200, 2 }, { run { preemptible = 'true' } })
  end)
end)

describe('a pinned model', function()
  after_each(server.stop_all)

  it('stays, whatever another model, its ttl or a policy wants; people may unload it', function()
    local srv = start('return { api = 1, name = "k", plan_swap = function(m) if m.id == "b" then return { evict = { "a" } } end end }', {
      top = 'routing: { scheduler: { use: fifo } }',
      models = { { 'a', '--silent --respond A', { pinned = 'true', ttl = 1 } }, { 'b', '--silent --respond B' } } })
    assert.equal('A', who(srv, 'a'))
    assert.equal('B', who(srv, 'b'))
    assert.equal('A', who(srv, 'a'))
    assert.equal('B', who(srv, 'b'))
    local _, starts = srv:log():gsub('proc a: starting', '')
    assert.equal(1, starts)
    local p = srv:get('/api/policy'):json().policies[1]
    assert.is_true(p.calls.plan_swap.invalid >= 1, 'its plan was refused')
    assert.equal(200, http.exchange(srv.port, 'POST', '/api/models/unload/a', { body = '' }).status)
    wait.till(function() return srv:log():find 'proc a: .*exit' or srv:log():find 'proc a: .*stop' end, 10, 'its end')
  end)
end)

describe('a reload', function()
  after_each(server.stop_all)

  local function version(n, body)
    return ([[
local S = luaswap.state
S.total = S.total or 0
return { api = 1, name = "v", version = "%s",
  route = function(r) r.ctx.by = "%s" if r.model == "x" then return { model = "a" } end end,
  on_request = function(r) r.ctx.n = (r.ctx.n or 0) + 1 S.total = S.total + 1 end,
  on_serve_done = function(r) luaswap.log.info("ended %%d by %%s n %%s total %%d", r.id, tostring(r.ctx.by), tostring(r.ctx.n), S.total) end,
  %s }]]):format(n, n, body or '')
  end

  local function reload(srv)
    return http.exchange(srv.port, 'POST', '/api/policy/v/reload', { body = '' })
  end

  for _, use in ipairs { 'serial', 'fifo' } do
    it('a hundred times under load loses no request and no ctx, under ' .. use, function()
      local srv = start(version 'v0', { top = ('routing: { scheduler: { use: %s } }'):format(use), models = { { 'a', '--silent' }, { 'b', '--silent' } } })
      assert.equal(200, srv:chat('a').status)
      local open, sent, got = {}, 0, 0
      local function more()
        local c = http.connect(srv.port)
        sent = sent + 1
        c:request('POST', '/v1/chat/completions', { body = { model = sent % 25 == 0 and 'b' or 'x', fake = { wait_ms = 5 } } })
        open[#open + 1] = c
      end
      local function take()
        local c = table.remove(open, 1)
        assert.equal(200, c:response(30).status)
        c:close()
        got = got + 1
      end
      for _ = 1, 8 do more() end
      for i = 1, 100 do
        server.write_file(srv.policy_file, version('v' .. i))
        local r = reload(srv)
        assert.equal(200, r.status, r.body)
        take()
        more()
      end
      while open[1] do take() end
      wait.till(function() return #said(srv, '^ended') >= sent + 1 end, 10, 'all ends')
      local ends = said(srv, '^ended')
      assert.equal(sent + 1, #ends)
      for _, line in ipairs(ends) do
        assert.matches('by v%d+ n 1 total', line) -- what was written down before the reload is there after it
      end
      assert.matches(('total %d$'):format(sent + 1), ends[#ends])
      assert.equal(sent, got)
      assert.equal('active', srv:get('/api/policy'):json().policies[1].state)
    end)
  end

  it('keeps who is held waiting, with its ctx', function()
    local hold = 'pick_next = function(q) return luaswap.hold(30) end'
    local srv = start(version('old', hold), { top = 'routing: { scheduler: { use: fifo } }', entry = '    limits: { hold_limit: 600 }\n' })
    local c = {}
    for i = 1, 3 do
      c[i] = http.connect(srv.port)
      c[i]:request('POST', '/v1/chat/completions', { body = { model = 'x' } })
    end
    wait.till(function() return #srv:get('/api/scheduler'):json().queue == 3 end, 10, 'three to wait')
    server.write_file(srv.policy_file, version 'new')
    local r = reload(srv)
    assert.equal(200, r.status, r.body)
    for i = 1, 3 do
      assert.equal(200, c[i]:response(20).status)
      c[i]:close()
    end
    wait.till(function() return #said(srv, '^ended') == 3 end, 10, 'three ends')
    for _, line in ipairs(said(srv, '^ended')) do assert.matches('by old n 1', line) end
  end)

  it('of the whole configuration keeps ctx as well', function()
    local srv = start(version 'v1')
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'x', fake = { stream = true, endless = true } } })
    wait.till(function() return srv:get('/api/scheduler'):json().serving[1] end, 10, 'it to be served')
    server.write_file(srv.policy_file, version 'v2')
    net.kill(srv.pid, 'HUP')
    wait.till(function() return srv:get('/api/policy'):json().policies[1].version == 'v2' end, 20, 'the reload')
    c:close()
    wait.till(function() return said(srv, '^ended')[1] end, 10, 'its end')
    assert.matches('by v1 n 1 total 1', said(srv, '^ended')[1])
  end)

  it('drops a ctx that is not data, and says so', function()
    local srv = start([[return { api = 1, name = "v", on_request = function(r) r.ctx.f = function() end r.ctx.n = 1 end,
      on_serve_done = function(r) luaswap.log.info("ctx %s", tostring(r.ctx.n)) end }]])
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { stream = true, endless = true } } })
    wait.till(function() return srv:get('/api/scheduler'):json().serving[1] end, 10, 'it to be served')
    local r = reload(srv)
    assert.equal(200, r.status, r.body)
    c:close()
    wait.till(function() return said(srv, '^ctx %a')[1] end, 10, 'its end')
    assert.same({ 'ctx nil' }, said(srv, '^ctx %a'))
    assert.matches('req.ctx of 1 requests not kept: ctx.f: a function cannot be kept', srv:log(), 1, true)
  end)
end)
