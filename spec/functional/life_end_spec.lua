-- life_end_spec.lua: models that are idle too long, or die while they are asked (runtime.md 1.8, 1.9).
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local function processes(t)
  local map = {}
  for _, p in ipairs(t:state().processes) do map[p.model] = p end
  return map
end

local together = { g = { swap = false, members = { 'a', 'b' } } }

describe('ttl', function()
  after_each(server.stop_all)

  it('stops an idle model by itself, not a busy one, and 0 is never (A086)', function()
    local t = traffic.start { models = { { 'a', '', { ttl = 1 } }, { 'b', '', { ttl = 0 } } }, groups = together }
    assert.equal(200, t.srv:chat 'b'.status)
    assert.equal(200, t.srv:chat 'a'.status)
    local t0 = net.now()
    repeat
      assert.equal(200, t.srv:chat 'a'.status)
      net.nap(0.01)
    until net.now() - t0 > 1.6
    local stream = t:send('a', 's1', { tokens = 30, tps = 15 }, { stream = true })
    assert.is_true(stream:response(20).done) -- two seconds of an answer are no idleness
    stream:close()
    assert.same({ 'b', 'a' }, t:loads())
    t0 = net.now()
    t:is('a', 'stopped', 6)
    assert.is_true(net.now() - t0 > 0.7 and net.now() - t0 < 3 * wait.slow, net.now() - t0)
    assert.equal('ready', t:states().b)
    assert.equal(1, #t:events('term', 'a'))
    t:ok(t:send('a', 'a2')) -- and it comes back
  end)

  it('does not count an open websocket that is ignored (A087)', function()
    local t = traffic.start { models = { { 'a', '', { ttl = 1, compat = '{ ignoreWebsockets: true }' } } } }
    assert.equal(200, t.srv:chat 'a'.status)
    local c = http.connect(t.srv.port)
    c:send('GET /upstream/a/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' ..
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
    assert.equal(101, c:head(10).status)
    t:is('a', 'stopped', 6)
    assert.is_true(c:at_end(5))
    c:close()
  end)

  it('counts from the moment of being ready when nobody was served (A091, D-P3)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 400', { ttl = 3 } } } }
    local c = t:send('a', 'a1')
    t:is('a', 'starting')
    c:close()
    t:is('a', 'ready')
    local t0 = net.now()
    wait.never(function() return t:states().a ~= 'ready' end, 2.2, 'the stop')
    t:is('a', 'stopped', 6)
    assert.is_true(net.now() - t0 > 2.5)
  end)
end)

describe('a model that is killed', function()
  after_each(server.stop_all)

  local function pid(t) return t.srv:models()[1].pid end

  it('under load is asked once more, nobody notices who had no byte of an answer', function()
    for _, use in ipairs { 'fifo', 'serial' } do
      local t = traffic.start { use = use, models = { 'a' } }
      assert.equal(200, t.srv:chat 'a'.status)
      local n = use == 'fifo' and 8 or 1
      local open = {}
      for i = 1, n do open[i] = t:send('a', 'r' .. i, { wait_ms = 400 }) end
      wait.till(function() return #t:ids() == n end, 10)
      net.kill(pid(t), 'KILL')
      for _, c in ipairs(open) do t:ok(c) end
      assert.equal(2 * n, #t:ids())
      assert.same({ 'a', 'a' }, t:loads())
      local h = processes(t).a.history
      assert.equal(2, h.starts)
      assert.equal(9, h.last_signal)
      t:at_rest()
      t.srv:stop()
    end
  end)

  it('cuts a stream that had begun and serves the others again', function()
    local t = traffic.start { models = { 'a' } }
    local stream = t:send('a', 's1', { endless = true, tps = 50 }, { stream = true })
    local r = stream:head(10)
    assert.is_truthy(stream:event(r, 5))
    local plain = t:send('a', 'p1', { wait_ms = 300 })
    t:was_served 'p1'
    net.kill(pid(t), 'KILL')
    stream:finish(r, 10)
    assert.is_truthy(r.cut)
    stream:close()
    t:ok(plain)
    t:at_rest()
  end)

  it('by a request that kills it each time: two tries, one error, the next is served', function()
    for _, use in ipairs { 'fifo', 'serial' } do
      local t = traffic.start { use = use, models = { 'a' } }
      local status, r = t:status(t:send('a', 'bad', { die = true }))
      assert.equal(502, status)
      assert.equal('llama-swap', r:json().src)
      assert.same({ 'bad', 'bad' }, t:ids())
      t:ok(t:send('a', 'good'))
      t.srv:stop()
    end
  end)

  it('by one of several takes only that one down: its neighbours are asked again without it', function()
    local t = traffic.start { models = { 'a' } }
    assert.equal(200, t.srv:chat 'a'.status)
    local open = {}
    for i = 1, 5 do
      open[i] = t:send('a', 'n' .. i, { wait_ms = 300 })
      t:was_served('n' .. i)
    end
    local bad = t:send('a', 'bad', { die = true })
    for _, c in ipairs(open) do t:ok(c) end
    local status, r = t:status(bad)
    assert.equal(502, status)
    assert.equal('llama-swap', r:json().src)
    local times = {}
    for _, id in ipairs(t:ids 'a') do times[id] = (times[id] or 0) + 1 end
    assert.equal(2, times.bad)
    for i = 1, 5 do assert.equal(2, times['n' .. i]) end
    assert.same({ 'a', 'a' }, t:loads()) -- it was the last one, and died alone
    t:at_rest()
  end)

  it('by one after the other, among requests that never stop: none of the others fails', function()
    local t = traffic.start { models = { { 'a', '', { concurrencyLimit = 100 } }, 'b' },
      groups = { g = { swap = false, members = { 'a', 'b' } } } }
    local list = {}
    for i = 1, 40 do
      list[i] = i % 10 == 5 and { 'a', 'bad' .. i, { die = true } }
        or { i % 7 == 0 and 'b' or 'a', 'n' .. i, { wait_ms = 60 } }
    end
    for i, r in ipairs(t:all(list, 0.03)) do
      local id = list[i][2]
      if id:find 'bad' then
        assert.is_true(r.status == 502 or r.status == 500, ('%s: %s'):format(id, r.status))
      else
        assert.equal(200, r.status, id)
      end
    end
    t:at_rest()
  end)

  it('in the middle of an answer gets nobody else before its end was noticed', function()
    for _, use in ipairs { 'fifo', 'serial' } do
      local t = traffic.start { use = use, models = { { 'a', '', { concurrencyLimit = 1 } } } }
      for i = 1, 4 do
        local c = t:send('a', 'bad' .. i, { die_after = 2, tokens = 9, tps = 100 }, { stream = true })
        local r = c:head(20)
        c:finish(r, 20)
        assert.is_truthy(r.cut)
        c:close()
        t:ok(t:send('a', 'good' .. i))
      end
      assert.same({ 'bad1', 'good1', 'bad2', 'good2', 'bad3', 'good3', 'bad4', 'good4' }, t:ids())
      assert.is_nil(t.srv:log():find('is gone', 1, true)) -- nobody was sent to a dead process
      t.srv:stop()
    end
  end)

  it('while it is idle is noticed, and started by the next request only', function()
    local t = traffic.start { models = { 'a' } }
    assert.equal(200, t.srv:chat 'a'.status)
    net.kill(pid(t), 'KILL')
    t:is('a', 'stopped', 5)
    wait.never(function() return #t:loads() ~= 1 end, 0.5, 'a start by itself')
    t:ok(t:send('a', 'r1'))
    assert.same({ 'a', 'a' }, t:loads())
  end)

  it('while it loads fails those that wait; the next request tries again from the start', function()
    local t = traffic.start { models = { { 'a', '--load-ms 1500' } } }
    local one, two = t:send('a', 'r1'), t:send('a', 'r2')
    t:queued(2)
    wait.till(function() return #t:events('up', 'a') == 1 end, 10)
    net.kill(t:events('up', 'a')[1].pid, 'KILL')
    for _, c in ipairs { one, two } do
      local status, r = t:status(c)
      assert.equal(500, status)
      assert.is_truthy(r:json().error.message:find('exited prematurely', 1, true))
    end
    assert.equal(1, processes(t).a.history.fails_in_row)
    t:ok(t:send('a', 'r3'))
    assert.equal(0, processes(t).a.history.fails_in_row)
  end)
end)
