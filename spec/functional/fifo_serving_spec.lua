-- fifo_serving_spec.lua: the throughput scheduler seen from outside: parallel answers, batches, concurrent swaps, order
-- (runtime.md 3.1, 3.2; A033 to A061). Limits and time are in fifo_limits_spec.lua.
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local function statuses(list)
  local out = {}
  for i, r in ipairs(list) do out[i] = r.status end
  return out
end

local function fine(list)
  for i, r in ipairs(list) do assert.equal(200, r.status, ('answer %d: %s'):format(i, r.body)) end
end

local function count(list, x)
  local n = 0
  for _, y in ipairs(list) do if x == y then n = n + 1 end end
  return n
end

local function limited(r)
  assert.equal(429, r.status)
  assert.equal('1', r:get 'retry-after')
  local e = r:json().error
  assert.equal('concurrency_limit', e.code)
  assert.equal('rate_limit_error', e.type)
end

describe('fifo', function()
  after_each(server.stop_all)

  it('serves a ready model in parallel, ten by default, and refuses the eleventh (A033, A054, http A086)', function()
    local t = traffic.start { models = { 'a' } }
    assert.equal(200, t.srv:chat 'a'.status)
    local list = {}
    for i = 1, 11 do list[i] = { 'a', 'r' .. i, { wait_ms = 500 } } end
    local got = t:all(list, 0.002)
    for i = 1, 10 do assert.equal(200, got[i].status) end
    limited(got[11])
    assert.equal(10, t:most_at_once 'a')
    assert.equal(200, t.srv:chat 'a'.status) -- places are free again (A053)
    assert.same({ 'a' }, t:loads())
  end)

  it('does one load for three requests of a cold model and serves them together (A036, A037)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 300' } } }
    local got = t:all { { 'a', 'r1', { wait_ms = 150 } }, { 'a', 'r2', { wait_ms = 150 } }, { 'a', 'r3', { wait_ms = 150 } } }
    fine(got)
    assert.same({ 'a' }, t:loads())
    assert.equal(3, t:most_at_once 'a')
    assert.is_true(t:at('start', 'a') >= t:at('ready', 'a'))
  end)

  it('gives both waiters of a load that fails the error (A038) and knows unknown models (A035)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 60000 --exit-after-ms 300 --exit-code 3' } } }
    local got = t:all { { 'a', 'r1' }, { 'a', 'r2' }, { 'nobody', 'r3' } }
    assert.same({ 500, 500, 404 }, statuses(got))
    assert.same({ 'a' }, t:loads())
    t:at_rest()
  end)

  it('makes A A B B C C of A B C A B C: one load each, two served each (A043)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 200' }, { 'b', '--load-ms 60' }, { 'c', '--load-ms 60' } } }
    local got = t:all { { 'a', 'a1' }, { 'b', 'b1' }, { 'c', 'c1' }, { 'a', 'a2' }, { 'b', 'b2' }, { 'c', 'c2' } }
    fine(got)
    assert.same({ 'a', 'b', 'c' }, t:loads())
    assert.same({ 'a1', 'a2', 'b1', 'b2', 'c1', 'c2' }, t:ids())
  end)

  it('lets b evict a only after both requests of a have ended (A039, A044)', function()
    local t = traffic.start { models = { 'a', 'b' } }
    local a1, a2 = t:hold('a', 'a1'), t:hold('a', 'a2')
    local b = t:send('b', 'b1')
    t:queued(1)
    a1:close()
    wait.till(function() return #t:events('gone', 'a') == 1 end, 10, 'the end of a1')
    t:queued(1)
    assert.same({ 'a' }, t:loads())
    a2:close()
    t:ok(b)
    assert.is_true(t:at('up', 'b') >= t:events('gone', 'a')[2].t)
    assert.is_true(t:at('up', 'b') >= t:at('term', 'a'))
  end)

  it('loads models that are not in each other\'s way at once (A040)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 600' }, { 'b', '--load-ms 600' } },
      groups = { g = { swap = false, members = { 'a', 'b' } } } }
    fine(t:all { { 'a', 'r1' }, { 'b', 'r2' } })
    assert.is_true(math.max(t:at('up', 'a'), t:at('up', 'b')) < math.min(t:at('ready', 'a'), t:at('ready', 'b')))
  end)

  it('has the second of two that evict the same model wait for the first (A041)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 300' }, 'b', { 'x', '--term-delay-ms 500' } },
      groups = { g = { swap = false, members = { 'a', 'b' } } } }
    assert.equal(200, t.srv:chat 'x'.status)
    fine(t:all { { 'a', 'r1' }, { 'b', 'r2' } })
    assert.is_true(t:at('up', 'b') >= t:at('ready', 'a')) -- x was stopping when b was asked for
    assert.same({ a = 'ready', b = 'ready' }, t:states())
  end)

  it('starts two that wait for the end of a swap together (A042)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 400' }, { 'b', '--load-ms 500' }, { 'c', '--load-ms 500' } },
      groups = { g = { members = { 'a' } }, h = { swap = false, exclusive = false, members = { 'b', 'c' } } } }
    fine(t:all { { 'b', 'b0' }, { 'c', 'c0' } })
    local a = t:send('a', 'a1')
    wait.till(function() return #t:events('up', 'a') == 1 end, 10)
    local got = t:all { { 'b', 'b1' }, { 'c', 'c1' } }
    fine(got)
    t:ok(a)
    local b, c = t:events('up', 'b')[2].t, t:events('up', 'c')[2].t
    assert.is_true(math.min(b, c) >= t:at('ready', 'a'))
    assert.is_true(math.max(b, c) < math.min(t:events('ready', 'b')[2].t, t:events('ready', 'c')[2].t))
  end)

  it('orders the line by priority, also when it is given under an alias (A049, A061)', function()
    local t = traffic.start { models = { 'm', 'a', 'b', { 'c', '', { aliases = { 'nick' } } }, 'd' },
      fifo = { priority = { a = 10, b = 5, nick = 5, d = 1 } } }
    local m = t:hold('m', 'm1')
    local open = {}
    for i, x in ipairs { 'b', 'd', 'nick', 'a' } do
      open[i] = t:send(x, x)
      t:queued(i)
    end
    m:close()
    for _, c in ipairs(open) do t:ok(c) end
    assert.same({ 'm1', 'a', 'b', 'nick', 'd' }, t:ids())
  end)

  it('tells the places in the line, and that they change', function()
    local t = traffic.start { models = { 'm', 'a', 'b' }, top = 'sendLoadingState: true', fifo = { priority = { b = 1 } } }
    local m = t:hold('m', 'm1')
    local a = t:send('a', 'a1', { tokens = 2 }, { stream = true })
    local text = ''
    local r = a:head(5)
    local function see(what, seconds)
      local till = net.now() + seconds * wait.slow
      while not text:find(what, 1, true) do
        local ev = a:event(r, till - net.now())
        if not ev then error(('never saw %q in %q'):format(what, text)) end
        local ok, v = pcall(json.decode, ev.data)
        local d = ok and v.choices and v.choices[1] and v.choices[1].delta
        text = text .. (d and d.reasoning_content or '')
      end
    end
    see('Queue position: #1 ', 3)
    local b = t:send('b', 'b1', { tokens = 2 }, { stream = true })
    see('Queue position: #2 ', 3)
    m:close()
    t:ok(b)
    a:finish(r, 20)
    assert.is_true(r.done)
    a:close()
  end)
end)

describe('fifo under many requests', function()
  after_each(server.stop_all)

  it('answers each of 100 mixed requests of 20 clients exactly once', function()
    local t = traffic.start { models = { { 'a', '--tokens 2' }, { 'b', '--tokens 2' }, { 'c', '--tokens 2' } } }
    local conns = {}
    for i = 1, 20 do conns[i] = http.connect(t.srv.port) end
    for round = 1, 5 do
      local batch = {}
      for i = 1, 20 do
        batch[i] = t:entry(({ 'a', 'b', 'c' })[(i + round) % 3 + 1], ('r%d-%d'):format(round, i), nil, { stream = i % 4 == 0 })
        batch[i].conn, batch[i].keep = conns[i], true
      end
      http.all(batch, 60)
      for _, e in ipairs(batch) do assert.equal(200, e.response and e.response.status, e.body.id) end
    end
    for _, c in ipairs(conns) do c:close() end
    local seen = {}
    for _, id in ipairs(t:ids()) do seen[#seen + 1] = id end
    assert.equal(100, #seen)
    for _, id in ipairs(seen) do assert.equal(1, count(seen, id)) end
    assert.is_true(#t:loads() <= 15, #t:loads())
  end)
end)
