-- life_cancel_spec.lua: a client that leaves, in every state of its request (runtime.md 2.10): nothing stays behind,
-- what the model was doing for it ends, and the others do not notice.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local ways = {
  close = function(c) c:close() end,
  reset = function(c) c:rst() end,
  ['half close'] = function(c) c.sock:shutdown() end, -- no more requests, but the answer is still wanted
}

for _, use in ipairs { 'serial', 'fifo' } do
  describe('a client that leaves under ' .. use, function()
    after_each(server.stop_all)
    local t

    -- The model still answers, and nothing of the one that left is there.
    local function well(model)
      t:at_rest()
      t:ok(t:send(model or 'a', 'after'))
    end

    local function gone(id)
      wait.till(function()
        for _, e in ipairs(t:events 'gone') do if e.req == id then return true end end
      end, 10, 'the model to notice that ' .. id .. ' left')
    end

    it('within the head, within the body, by close and by reset', function()
      t = traffic.start { use = use, models = { 'a' } }
      assert.equal(200, t.srv:chat 'a'.status)
      local bytes = http.request_bytes('POST', '/v1/chat/completions', { body = { model = 'a', messages = {},
        pad = ('x'):rep(100000) } })
      for _, n in ipairs { 1, 30, 100, 200, 5000, #bytes - 1 } do
        for _, how in ipairs { 'close', 'reset' } do
          local c = http.connect(t.srv.port)
          c:send(bytes:sub(1, n))
          ways[how](c)
        end
      end
      well()
      assert.same({ 'after' }, t:ids()) -- no half request reached the model
    end)

    it('in the line: it never reaches a model', function()
      t = traffic.start { use = use, models = { 'a', 'b' } }
      local busy = t:hold('a', 'a1')
      for _, how in ipairs { 'close', 'reset' } do
        local c = t:send('b', 'b1')
        t:queued(1)
        ways[how](c)
        t:queued(0)
      end
      busy:close()
      well()
      assert.same({ 'a' }, t:loads())
    end)

    it('while its model loads', function()
      t = traffic.start { use = use, models = { { 'a', '--load-ms 500' } } }
      local c = t:send('a', 'a1')
      t:is('a', 'starting')
      c:close()
      t:queued(0)
      well()
      assert.same({ 'after' }, t:ids())
    end)

    it('before the first byte, within a stream, within a large answer: the model is told', function()
      t = traffic.start { use = use, models = { 'a' } }
      for how in pairs { close = 1, reset = 1 } do
        local c = t:send('a', 'wait-' .. how, { wait_ms = 30000 })
        t:was_served('wait-' .. how)
        ways[how](c)
        gone('wait-' .. how)
        c = t:send('a', 'stream-' .. how, { endless = true, tps = 100 }, { stream = true })
        local r = c:head(10)
        assert.is_truthy(c:event(r, 5))
        ways[how](c)
        gone('stream-' .. how)
        c = t:send('a', 'large-' .. how, { size = 1000000000 })
        r = c:head(10)
        assert.is_truthy(c:piece(r, 5))
        ways[how](c)
        gone('large-' .. how)
      end
      well()
    end)

    it('only with half of its connection still gets its answer', function()
      t = traffic.start { use = use, models = { 'a' } }
      assert.equal(200, t.srv:chat 'a'.status)
      local c = t:send('a', 'r1', { wait_ms = 200 })
      t:was_served 'r1'
      c.sock:shutdown()
      local r, why = c:response(5)
      -- either is right for HTTP/1.1; what may not be is a place that stays taken
      assert.is_true((r and r.status == 200) or why == 'closed' or why == 'reset', tostring(why))
      c:close()
      well()
    end)

    it('with an answer that the model has finished and nobody read', function()
      t = traffic.start { use = use, models = { 'a' } }
      assert.equal(200, t.srv:chat 'a'.status)
      local c = http.connect(t.srv.port)
      c.sock:set_rcvbuf(8192)
      c:request('POST', '/v1/chat/completions', t:entry('a', 'r1', { size = 6000000 }))
      c:head(10)
      local other
      if use == 'serial' then
        other = t:send('a', 'r2') -- somebody waits, so the rest is spooled and the model is free
        t:ok(other)
      end
      c:close()
      well()
    end)

    it('many at once, in all states, for two seconds', function()
      t = traffic.start { use = use, models = { { 'a', '--tokens 3' }, { 'b', '--tokens 3' } },
        groups = { g = { swap = false, members = { 'a', 'b' } } } }
      local seed = os.time()
      math.randomseed(seed)
      local t0, n = net.now(), 0
      while net.now() - t0 < 2 do
        local model = use == 'serial' and n // 40 % 2 == 0 and 'a' or use == 'serial' and 'b' or ({ 'a', 'b' })[math.random(2)]
        local open = {}
        for i = 1, 8 do
          n = n + 1
          open[i] = t:send(model, 'c' .. n, { wait_ms = math.random(0, 5), tps = 300 }, { stream = i % 2 == 0 })
        end
        net.nap(math.random() * 0.02)
        for _, c in ipairs(open) do ways[math.random(2) == 1 and 'close' or 'reset'](c) end
      end
      well 'a'
      t:ok(t:send('b', 'after-b'))
    end)
  end)
end

describe('cancelling through the API', function()
  after_each(server.stop_all)

  local function number(t, id)
    local found
    wait.till(function()
      for state, list in pairs(t:state().requests) do
        for _, r in ipairs(list) do
          if r.model == id.model and (not id.state or id.state == state) then found = r.id end
        end
      end
      return found
    end, 10, 'the request')
    return found
  end

  local function cancel(t, n)
    local r = t.srv:post(('/api/inflight/%d/cancel'):format(n), '')
    assert.equal(200, r.status)
    assert.equal('{"msg":"ok"}\n', r.body)
  end

  local function cancelled(r)
    assert.equal(499, r.status)
    assert.equal('request_cancelled', r:json().error.code)
    assert.equal('llama-swap', r:json().src)
  end

  for _, use in ipairs { 'serial', 'fifo' } do
    it('ends a request in the line, in a load, at the model: 499, never an empty 200 (A109, D-R7, http A167), ' .. use, function()
      local t = traffic.start { use = use, models = { { 'a', '--load-ms 400' }, 'b' } }
      local a = t:send('a', 'a1', { wait_ms = 30000 })
      t:is('a', 'starting')
      local b = t:send('b', 'b1')
      cancel(t, number(t, { model = 'b' }))
      cancelled(select(2, t:status(b)))
      t:was_served 'a1'
      cancel(t, number(t, { model = 'a', state = 'send' }))
      cancelled(select(2, t:status(a)))
      t:ok(t:send('b', 'b2'))
      a = t:send('a', 'a2')
      t:is('a', 'starting')
      cancel(t, number(t, { model = 'a' }))
      cancelled(select(2, t:status(a)))
      t:at_rest()
      assert.same({ 'a1', 'b2' }, t:ids())
    end)
  end

  it('tells the reader of a stream, and of a loading stream, by an error event', function()
    local t = traffic.start { models = { { 'a', '--load-ms 1500' } }, top = 'sendLoadingState: true' }
    local c = t:send('a', 'a1', nil, { stream = true })
    local r = c:head(10)
    cancel(t, number(t, { model = 'a' }))
    c:finish(r, 10)
    assert.is_true(r.done)
    assert.is_truthy(r.body:find('request cancelled', 1, true))
    assert.equal('data: [DONE]\n\n', r.body:sub(-14))
    c:close()
    t:is('a', 'ready')
    c = t:send('a', 'a2', { endless = true, tps = 50 }, { stream = true })
    r = c:head(10)
    assert.is_truthy(c:event(r, 5))
    cancel(t, number(t, { model = 'a', state = 'stream' }))
    c:finish(r, 10)
    assert.is_truthy(r.cut == 'closed' or r.cut == 'reset', r.cut)
    assert.is_truthy(r.body:find('request_cancelled', 1, true))
    c:close()
    c = http.connect(t.srv.port)
    c.sock:set_rcvbuf(8192)
    c:request('POST', '/v1/chat/completions', t:entry('a', 'a3', { size = 50000000 }))
    r = c:head(10)
    cancel(t, number(t, { model = 'a', state = 'stream' }))
    c:finish(r, 10)
    assert.is_truthy(r.cut == 'closed' or r.cut == 'reset', r.cut)
    c:close()
    t:at_rest()
    t:ok(t:send('a', 'a4'))
  end)

  it('knows no other requests: 404', function()
    local t = traffic.start { models = { 'a' } }
    for _, path in ipairs { '99999/cancel', 'x/cancel', '-1/cancel', '18446744073709551616/cancel' } do
      local r = t.srv:post('/api/inflight/' .. path, '')
      assert.equal(404, r.status, path)
      assert.equal('llama-swap', r:json().src)
    end
    for _, path in ipairs { '1', '1/cancel/more', '/cancel', '' } do
      local r = t.srv:post('/api/inflight/' .. path, '')
      assert.is_true(r.status == 404 or r.status == 307, path) -- no such path, or no clean one
    end
  end)
end)
