-- shutdown_spec.lua: SIGTERM, a second signal, kill -9: nothing is lost, nothing is left.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function start(args, extra)
  return server.start { config = server.config('', { { 'a', '--silent ' .. (args or ''), extra } }) }
end

describe('the end', function()
  after_each(server.stop_all)

  it('is clean on SIGTERM: exit 0, no process left', function()
    local srv = start()
    assert.equal(200, srv:chat('a').status)
    srv:stop()
  end)

  it('is clean when the signal comes as soon as it listens, and twice in a row', function()
    for _ = 1, 10 do
      local srv = start()
      srv.proc:kill 'TERM'
      assert.equal(0, srv.proc:wait(10))
      srv:stop()
    end
  end)

  it('is exit 1 when the address is taken', function()
    local srv = start()
    local other = server.start { no_listen = true, no_wait = true, config = server.config('', { { 'a', '' } }),
      args = { '-listen', '127.0.0.1:' .. srv.port } }
    assert.equal(1, other.proc:wait(10))
    assert.is_truthy(other:log():find '127.0.0.1:%d+')
    other:check_log()
    other:destroy()
  end)

  it('waits for a running answer and refuses what waits with 503 (A111, http A044)', function()
    local srv = start()
    assert.equal(200, srv:chat('a').status)
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { wait_ms = 700 }, messages = {} } })
    local d = http.connect(srv.port)
    d:request('POST', '/v1/chat/completions', { body = { model = 'a', messages = {} } })
    srv:queued(1)
    srv.proc:kill 'TERM'
    local r = d:response(5)
    assert.equal(503, r.status)
    assert.is_truthy(r:get 'retry-after')
    assert.matches('shutting down', r:json().error.message, 1, true)
    assert.equal(200, c:response(10).status)
    assert.equal(0, srv.proc:wait(20))
    srv:all_gone(2)
  end)

  it('does not wait for bodies that are still on their way: 503 at once', function()
    local srv = start()
    local open = {}
    for i, path in ipairs { '/v1/chat/completions', '/upstream/a/test', '/v1/audio/transcriptions' } do
      local c = http.connect(srv.port)
      c:send(('POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"model"')
        :format(path))
      c.methods[1] = 'POST'
      open[i] = c
    end
    wait.till(function() return #(srv:state().requests.body or {}) == 3 end, 10, 'three half requests')
    srv.proc:kill 'TERM'
    local t0 = net.now()
    for _, c in ipairs(open) do
      local r = c:response(10)
      assert.equal(503, r.status)
      assert.is_truthy(r:get 'retry-after')
    end
    assert.equal(0, srv.proc:wait(15))
    assert.is_true(net.now() - t0 < 5 * wait.slow, net.now() - t0)
    for _, c in ipairs(open) do c:close() end
  end)

  it('leaves no model 2 seconds after kill -9, not even a forking one that ignores SIGTERM', function()
    local srv = start '--fork-child --ignore-term'
    assert.equal(200, srv:chat('a').status)
    srv:kill9()
    wait.till(function() return #srv:tree() == 0 end, 12, 'every process to end')
    srv:destroy()
  end)

  it('leaves no supervisor either that was started ahead, for the model that comes next', function()
    for _, how in ipairs { 'KILL', 'TERM' } do
      local srv = server.start { config = server.config('', {
        { 'a', '--silent --term-delay-ms 1500' }, { 'b', '--silent' } }) }
      assert.equal(200, srv:chat('a').status)
      local c = srv:connect()
      c:request('POST', '/v1/chat/completions', { body = { model = 'b', messages = {} } })
      wait.till(function()
        for _, p in ipairs(srv:tree()) do
          if p.cmdline:find '%-%-supervise%sb%s*$' then return true end
        end
      end, 10, 'the supervisor of b')
      assert.equal(1, #srv:models())
      srv.proc:kill(how)
      local code = srv.proc:wait(30)
      if how == 'TERM' then assert.equal(0, code) end
      wait.till(function() return #srv:tree() == 0 end, 6, 'every process to end')
      srv:destroy()
    end
  end)

  it('takes at most 2 seconds after kill -9 for models that obey', function()
    local srv = start '--fork-child'
    assert.equal(200, srv:chat('a').status)
    srv:kill9()
    wait.till(function() return #srv:tree() == 0 end, 2, 'every process to end')
    srv:destroy()
  end)

  it('kills a model that ignores SIGTERM after its unloadTimeout', function()
    local srv = start('--ignore-term', { unloadTimeout = 1 })
    assert.equal(200, srv:chat('a').status)
    local t0 = net.now()
    assert.equal(200, srv:get('/unload', { timeout = 20 }).status)
    local took = net.now() - t0
    assert.is_true(took > 0.8 and took < 4, tostring(took))
    assert.equal(0, #srv:models())
  end)

  it('is immediate on a second signal: everything killed, exit 130 (A112)', function()
    local srv = start('--ignore-term', { unloadTimeout = 60 })
    assert.equal(200, srv:chat('a').status)
    srv.proc:kill 'INT'
    wait.till(function() return srv:log():find('shutting down', 1, true) end, 5, 'the first signal to be heard')
    local t0 = net.now()
    srv.proc:kill 'INT'
    assert.equal(130, srv.proc:wait(5))
    assert.is_true(net.now() - t0 < 1)
    srv:all_gone(2)
    srv:destroy()
  end)

  it('leaves a TTL-ed model after its time and no earlier', function()
    local srv = start('', { ttl = 1 })
    assert.equal(200, srv:chat('a').status)
    local t0 = net.now()
    wait.till(function() return #srv:models() == 0 end, 10, 'the model to be unloaded')
    assert.is_true(net.now() - t0 > 0.7)
    assert.equal(200, srv:chat('a').status)
  end)
end)
