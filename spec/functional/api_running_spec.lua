-- api_running_spec.lua: /running, the unload endpoints, version and the debug dumps.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

describe('/running', function()
  after_each(server.stop_all)

  it('A109 has the seven fields with the configured values', function()
    local srv = server.start { config = server.config('', {
      { 'a', '--silent', { ttl = 77, name = '"The A"', description = 'first' } }, { 'b', '--silent' } }) }
    assert.equal('{"running":[]}\n', srv:get '/running'.body)
    assert.equal(200, srv:chat 'a'.status)
    local r = srv:get '/running'
    assert.equal('application/json', r:get 'content-type')
    local list = r:json().running
    assert.equal(1, #list)
    local keys = {}
    for k in pairs(list[1]) do keys[#keys + 1] = k end
    table.sort(keys)
    assert.same({ 'cmd', 'description', 'model', 'name', 'proxy', 'state', 'ttl' }, keys)
    local m = list[1]
    assert.equal('a', m.model)
    assert.equal('ready', m.state)
    assert.equal(77, m.ttl)
    assert.equal('The A', m.name)
    assert.equal('first', m.description)
    assert.is_truthy(m.proxy:match '^http://localhost:%d+$')
    assert.is_truthy(m.cmd:find(m.proxy:match '%d+$', 1, true))
    assert.equal(200, srv:chat 'b'.status)
    assert.equal('b', srv:get '/running':json().running[1].model)
  end)
end)

describe('unloading', function()
  after_each(server.stop_all)

  local function start(models, top) return server.start { config = server.config(top or '', models) } end

  it('A110 stops everything and answers when it has stopped', function()
    local srv = start { { 'a', '--silent --term-delay-ms 300' } }
    for _, how in ipairs { 'get', 'post' } do
      assert.equal(200, srv:chat 'a'.status)
      assert.equal(1, #srv:models())
      local r = how == 'get' and srv:get '/unload' or srv:post('/api/models/unload', '')
      assert.equal(0, #srv:models())
      assert.equal(200, r.status)
      assert.equal(how == 'get' and 'OK' or '{"msg":"ok"}\n', r.body)
      assert.equal(how == 'get' and 'text/plain; charset=utf-8' or 'application/json', r:get 'content-type')
      assert.same({}, srv:get '/running':json().running)
    end
    assert.equal(200, srv:get '/unload'.status)
  end)

  it('A111 stops one model by id, alias, and with slashes in its name', function()
    local srv = start { { 'org/a', '--silent', { aliases = { 'nick' } } }, { 'b', '--silent' } }
    for _, path in ipairs { 'org/a', 'org%2Fa', 'nick' } do
      assert.equal(200, srv:chat 'org/a'.status)
      local r = srv:post('/api/models/unload/b', '')
      assert.equal(200, r.status)
      assert.equal(1, #srv:models())
      r = srv:post('/api/models/unload/' .. path, '')
      assert.equal(200, r.status)
      assert.equal('OK', r.body)
      assert.equal(0, #srv:models(), path)
    end
    for _, path in ipairs { 'nobody', 'org', 'org/a/more', 'org/a/' } do
      local r = srv:post('/api/models/unload/' .. path, '')
      assert.equal(404, r.status, path)
      assert.equal('not_found', r:json().error.code)
      assert.is_truthy(r:json().error.message:find 'model not found')
    end
  end)

  it('A112 stops smaller time-outs first and equal ones in parallel (runtime A096)', function()
    local args = '--silent --term-delay-ms 200'
    local srv = start({ { 'a', args, { unloadTimeout = 45 } }, { 'b', args, { unloadTimeout = 10 } },
      { 'c', args, { unloadTimeout = 25 } }, { 'd', args, { unloadTimeout = 25 } } },
      'routing:\n  scheduler:\n    use: fifo\ngroups:\n  g:\n    swap: false\n    members: [a, b, c, d]')
    for _, m in ipairs { 'a', 'b', 'c', 'd' } do assert.equal(200, srv:chat(m).status) end
    assert.equal(4, #srv:models())
    local t0 = net.now()
    assert.equal(200, srv:get '/unload'.status)
    assert.is_true(net.now() - t0 < 0.75, 'they were not stopped together')
    local order = {}
    for model in srv:log():gmatch 'proc (%w): stopping' do order[#order + 1] = model end
    assert.same({ 'b', 'c', 'd', 'a' }, order)
  end)

  it('A113 fails requests that wait for the unloaded model and keeps the others', function()
    local srv = start { { 'a', '--silent --load-ms 100000' }, { 'b', '--silent' } }
    local list = {}
    for i, m in ipairs { 'a', 'a', 'b' } do
      list[i] = srv:connect()
      list[i]:request('POST', '/v1/chat/completions', { body = { model = m } })
      wait.till(function() return #(srv:get '/debug/state':json().requests.queued or {}) == i end, 10, 'a place')
    end
    assert.equal(200, srv:post('/api/models/unload/a', '').status)
    for i = 1, 2 do
      local r = list[i]:response(10)
      assert.is_true(r.status == 503 or r.status == 500, tostring(r.status))
      assert.equal('llama-swap', r:json().src)
    end
    assert.equal(200, list[3]:response(20).status)
  end)

  it('ends running requests and does not bring the model back for them', function()
    local srv = start { { 'a', '--silent' }, { 'b', '--silent' } }
    assert.equal(200, srv:chat 'a'.status)
    local plain = srv:connect()
    plain:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { wait_ms = 60000 } } })
    wait.till(function() return srv:get '/debug/state':json().requests.send end, 10, 'the request to be served')
    assert.equal(200, srv:post('/api/models/unload/a', '').status)
    local r = plain:response(10)
    assert.is_true(r.status == 503 or r.status == 502, tostring(r.status))
    assert.equal('llama-swap', r:json().src)
    assert.same({}, srv:get '/running':json().running)
    -- a stream ends so that its reader can tell
    local stream = srv:connect()
    stream:request('POST', '/v1/chat/completions', {
      body = { model = 'b', stream = true, fake = { endless = true, tps = 50 } } })
    r = stream:head(10)
    assert.is_truthy(stream:event(r, 5))
    assert.equal(200, srv:get '/unload'.status)
    stream:finish(r, 10)
    assert.is_truthy(r.cut)
    assert.is_truthy(r.body:find '"error":{')
    assert.same({}, srv:get '/running':json().running)
  end)

  it('goes on when its client has left', function()
    local srv = start { { 'a', '--silent --term-delay-ms 300' } }
    assert.equal(200, srv:chat 'a'.status)
    local c = srv:connect()
    c:request('GET', '/unload')
    wait.till(function() return srv:get '/running':json().running[1].state == 'stopping' end, 5, 'a to be stopping')
    c:rst()
    wait.till(function() return #srv:models() == 0 end, 5, 'a to end')
    assert.equal(200, srv:chat 'a'.status)
  end)

  it('answers many at once', function()
    local srv = start { { 'a', '--silent --term-delay-ms 100' } }
    assert.equal(200, srv:chat 'a'.status)
    local list = {}
    for i = 1, 20 do
      local get = i % 2 == 0
      list[i] = { port = srv.port, method = get and 'GET' or 'POST',
        path = get and '/unload' or '/api/models/unload/a' }
    end
    http.all(list, 20)
    for _, e in ipairs(list) do assert.equal(200, e.response.status) end
  end)
end)

describe('looking inside', function()
  after_each(server.stop_all)

  it('A172 tells the version', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent' } }) }
    local v = srv:get '/api/version':json()
    assert.is_truthy(v.version:match '^%d+%.%d+')
    assert.is_true(#v.commit > 0 and #v.build_date > 0)
  end)

  it('prints its state on SIGUSR1', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent' } }) }
    srv.proc:kill 'USR1'
    wait.till(function() return srv:log():find '{"phase":"running",.*"processes":%[{"model":"a"' end, 5, 'the dump')
    assert.equal(200, srv:get '/health'.status)
  end)

  it('dumps requests, processes and the scheduler', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent' }, { 'b', '--silent' } }) }
    local one, two = srv:connect(), srv:connect()
    one:request('POST', '/v1/chat/completions?token=secret', { body = { model = 'a', fake = { wait_ms = 60000 } } })
    wait.till(function() return srv:get '/debug/state':json().requests.send end, 10, 'the first request to be served')
    two:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
    local d = wait.till(function()
      local d = srv:get '/debug/state':json()
      return d.requests.queued and d
    end, 5, 'the second request to wait')
    assert.equal('running', d.phase)
    local q = d.requests.queued[1]
    assert.equal('b', q.model)
    assert.equal('POST', q.method)
    assert.is_false(q.granted)
    assert.equal('a', d.requests.send[1].model)
    assert.equal('/v1/chat/completions', d.requests.send[1].path)
    assert.is_true(d.requests.send[1].granted)
    assert.equal(1, d.scheduler.waiting)
    assert.equal(1, d.scheduler.inflight)
    assert.equal('serial', d.scheduler.kind)
    local a = d.processes[1]
    assert.equal('a', a.model)
    assert.equal('ready', a.state)
    assert.equal(1, a.inflight)
    assert.equal(1, a.history.starts)
    assert.is_true(a.pid > 0)
    assert.equal(0, d.checks_failed)
    assert.equal(srv.config_path, d.config_files[1])
    local trace = srv:get '/debug/sched'.body
    assert.is_truthy(trace:find('# model 0 a: ready', 1, true))
    assert.is_truthy(trace:find 'ARRIVE .*ticket=')
    assert.is_truthy(trace:find 'GRANT .*ticket=')
    one:close()
    two:close()
  end)
end)
