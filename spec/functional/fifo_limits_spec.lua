-- fifo_limits_spec.lua: concurrencyLimit, starvation and orphaned loads under fifo (A045 to A060).
local net = require 'spec.net'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local function limited(r)
  assert.equal(429, r.status)
  assert.equal('1', r:get 'retry-after')
  local e = r:json().error
  assert.equal('concurrency_limit', e.code)
  assert.equal('rate_limit_error', e.type)
end

describe('fifo limits', function()
  after_each(server.stop_all)

  it('count a loading model\'s requests: the third of two is refused at once (A055, A056, http A087)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 500', { concurrencyLimit = 2 } } } }
    local one, two = t:send('a', 'r1'), t:send('a', 'r2')
    t:queued(2)
    local t0 = net.now()
    local _, r = t:status(t:send('a', 'r3'))
    limited(r)
    assert.is_true(net.now() - t0 < 0.3 * wait.slow)
    t:ok(one)
    t:ok(two)
    assert.same({ 'r1', 'r2' }, t:ids())
  end)

  it('count requests that wait behind another model; the two share one load (A057)', function()
    local t = traffic.start { models = { 'm', { 'a', '', { concurrencyLimit = 2 } } } }
    local m = t:hold('m', 'm1')
    local one, two = t:send('a', 'r1'), t:send('a', 'r2')
    t:queued(2)
    limited(select(2, t:status(t:send('a', 'r3'))))
    m:close()
    t:ok(one)
    t:ok(two)
    assert.same({ 'm', 'a' }, t:loads())
  end)

  it('are free again when the one that held the place leaves: in the line, in a load, while served (A058)', function()
    local t = traffic.start { models = { 'm', { 'a', '--load-ms 300', { concurrencyLimit = 1 } } } }
    local m = t:hold('m', 'm1')
    local gone = t:send('a', 'r1') -- in the line
    t:queued(1)
    limited(select(2, t:status(t:send('a', 'r2'))))
    gone:close()
    t:queued(0)
    local loading = t:send('a', 'r3')
    t:queued(1)
    m:close()
    t:is('a', 'starting')
    loading:close() -- waits for the load
    t:queued(0)
    local served = t:send('a', 'r4', { wait_ms = 20000 })
    t:was_served 'r4'
    limited(select(2, t:status(t:send('a', 'r5'))))
    served:close()
    wait.till(function() return t:state().scheduler.inflight == 0 end, 5)
    t:ok(t:send('a', 'r6'))
    assert.same({ 'm1', 'r4', 'r6' }, t:ids())
  end)

  it('refuse before any loading text (A053, A101)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 400', { concurrencyLimit = 1 } } }, top = 'sendLoadingState: true' }
    local one = t:send('a', 'r1', nil, { stream = true })
    one:head(10)
    local _, r = t:status(t:send('a', 'r2', nil, { stream = true }))
    limited(r)
    one:close()
  end)
end)

describe('fifo and time', function()
  after_each(server.stop_all)

  -- n requests of a model are always under way, until fn() is true.
  local function steady(t, model, n, fn)
    local open, serial = {}, 0
    repeat
      while #open < n do
        serial = serial + 1
        local c = t:send(model, ('s%d'):format(serial), { wait_ms = 60 + serial * 37 % 90 })
        c.answer = c:begin()
        open[#open + 1] = c
      end
      for _, c in ipairs((net.poll(open, 0.01))) do
        if c:advance(c.answer) then
          assert.equal(200, c.answer.status)
          c:close()
          for i, o in ipairs(open) do if o == c then table.remove(open, i) end end
        end
      end
    until fn()
    for _, c in ipairs(open) do c:close() end
  end

  local function answered(c)
    c.answer = c.answer or c:begin()
    return c:advance(c.answer)
  end

  it('starves a waiting model without maxWait, as the reference, and not with it (A060, D-F1)', function()
    local t = traffic.start { models = { 'a', 'b' } }
    assert.equal(200, t.srv:chat 'a'.status)
    local b, t0 = nil, net.now()
    steady(t, 'a', 3, function()
      b = b or t:send('b', 'b1')
      return answered(b) or net.now() - t0 > 2.5
    end)
    assert.is_falsy(b.answer.status)
    b:close()
    t.srv:stop()
    t = traffic.start { models = { 'a', 'b' }, fifo = { maxWait = 1 } }
    assert.equal(200, t.srv:chat 'a'.status)
    b, t0 = nil, net.now()
    steady(t, 'a', 3, function()
      b = b or t:send('b', 'b1')
      return answered(b) or net.now() - t0 > 10 * wait.slow
    end)
    assert.equal(200, b.answer.status)
    assert.is_true(net.now() - t0 < 1 + 1.5 * wait.slow, 'it took ' .. net.now() - t0)
    assert.is_true(net.now() - t0 > 0.9)
    b:close()
  end)

  it('finishes a load that nobody waits for any more (orphanLoad: keep, the default; http A080)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 500' } } }
    local c = t:send('a', 'r1')
    t:is('a', 'starting')
    c:close()
    t:is('a', 'ready')
    assert.same({ 'a' }, t:loads())
    t:ok(t:send('a', 'r2'))
    assert.same({ 'r2' }, t:ids())
  end)

  it('aborts it with orphanLoad: abort, but not while one of two still waits (A051, A100)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 700' } }, fifo = { orphanLoad = 'abort' } }
    local one, two = t:send('a', 'r1'), t:send('a', 'r2')
    t:queued(2)
    one:close()
    t:ok(two)
    assert.same({ 'r2' }, t:ids())
    assert.same({ 'a' }, t:loads())
    assert.equal(200, t.srv:get '/unload'.status)
    local c = t:send('a', 'r3')
    t:is('a', 'starting')
    c:close()
    t:is('a', 'stopped', 5)
    assert.equal(0, #t.srv:models())
    assert.equal(1, #t:events('ready', 'a'))
  end)

  it('never loads for a request that left the line (A050)', function()
    local t = traffic.start { models = { 'a', 'b', 'c' } }
    local a = t:hold('a', 'a1')
    local b, c = t:send('b', 'b1'), t:send('c', 'c1')
    t:queued(2)
    b:close()
    t:queued(1)
    a:close()
    t:ok(c)
    assert.same({ 'a', 'c' }, t:loads())
  end)

  it('lets the next model in as soon as the client of a running answer leaves (A045)', function()
    local t = traffic.start { models = { 'a', 'b' } }
    local a = t:send('a', 'a1', { wait_ms = 30000 })
    t:was_served 'a1'
    local b = t:send('b', 'b1')
    t:queued(1)
    local t0 = net.now()
    a:close()
    t:ok(b)
    assert.is_true(net.now() - t0 < 5 * wait.slow)
    assert.equal('a1', t:events('gone', 'a')[1].req)
  end)
end)
