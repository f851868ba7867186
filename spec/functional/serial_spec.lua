-- serial_spec.lua: the default scheduler seen from outside: order, one model at a time, nothing lost.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local function chat(srv, model, id, fake, extra)
  local body = { model = model, id = id, messages = { { role = 'user', content = 'hi' } }, fake = fake }
  for k, v in pairs(extra or {}) do body[k] = v end
  return { port = srv.port, path = '/v1/chat/completions', body = body }
end

local function start_abc(args, top)
  local dir = net.tmpdir()
  local log = dir .. '/events.jsonl'
  local models = {}
  for _, m in ipairs { 'a', 'b', 'c' } do
    models[#models + 1] = { m, ('--respond from-%s --silent --log %s %s'):format(m, log, args or '') }
  end
  return server.start { config = server.config(top or '', models) }, log
end

-- Model processes that are no children of one another (the leak checker of an ending one forks for a moment).
local function leaders(srv)
  local list, pids, n = srv:models(), {}, 0
  for _, p in ipairs(list) do pids[p.pid] = true end
  for _, p in ipairs(list) do if not pids[p.ppid] then n = n + 1 end end
  return n
end

local function served(log)
  local list = {}
  for _, e in ipairs(server.read_events(log)) do
    if e.ev == 'start' then list[#list + 1] = e end
  end
  return list
end

describe('serial', function()
  after_each(server.stop_all)

  it('serves A B C A in that order and loads A twice', function()
    local srv, log = start_abc()
    local list = http.all({ chat(srv, 'a', 'r1'), chat(srv, 'b', 'r2'), chat(srv, 'c', 'r3'), chat(srv, 'a', 'r4') }, 60,
      { stagger = 0.02 })
    for i, e in ipairs(list) do
      assert.equal(200, e.response.status)
      assert.equal('from-' .. e.body.model, e.response:json().choices[1].message.content, 'request ' .. i)
    end
    local order, ups = {}, 0
    for _, e in ipairs(server.read_events(log)) do
      if e.ev == 'start' then order[#order + 1] = e.model end
      if e.ev == 'up' then ups = ups + 1 end
    end
    assert.same({ 'a', 'b', 'c', 'a' }, order)
    assert.equal(4, ups)
  end)

  it('never has two model processes alive, seen from outside', function()
    local srv = start_abc '--term-delay-ms 30'
    local most, list = 0, {}
    for i = 1, 6 do list[i] = chat(srv, ({ 'a', 'b', 'c' })[i % 3 + 1], 'r' .. i) end
    local open = {}
    for _, e in ipairs(list) do
      local c = http.connect(srv.port)
      c:request('POST', e.path, e)
      open[#open + 1] = c
    end
    local done = 0
    while done < #open do
      most = math.max(most, leaders(srv))
      local ready = net.poll(open, 0.01)
      if #ready > 0 then
        local r = open[done + 1]:response(0.001)
        if r then
          assert.equal(200, r.status)
          open[done + 1]:close()
          done = done + 1
          table.remove(open, done)
          done = done - 1
          if #open == 0 then break end
        end
      end
    end
    assert.equal(1, most)
  end)

  it('ends 200 mixed requests from 40 clients exactly once each, in order of arrival', function()
    local srv, log = start_abc('--tokens 2')
    local list, conns = {}, {}
    for i = 1, 40 do conns[i] = http.connect(srv.port) end
    -- long runs of one model keep the number of swaps (a second each under sanitizers) bearable
    for i = 1, 200 do
      local e = chat(srv, ({ 'a', 'b', 'c' })[i // 25 % 3 + 1], ('r%03d'):format(i), nil, { stream = i % 4 == 0 })
      list[i] = e
    end
    local answers = {}
    for round = 0, 4 do
      local batch = {}
      for i = 1, 40 do
        local e = list[round * 40 + i]
        e.conn, e.keep = conns[i], true
        batch[i] = e
      end
      http.all(batch, 120, { stagger = 0.001 })
      for _, e in ipairs(batch) do
        assert.equal(200, e.response and e.response.status, e.body.id)
        answers[#answers + 1] = e.body.id
      end
    end
    for _, c in ipairs(conns) do c:close() end
    local seen = served(log)
    assert.equal(200, #seen)
    for i, e in ipairs(seen) do assert.equal(('r%03d'):format(i), e.req) end
    assert.equal(200, #answers)
  end)

  it('runs one request at a time, also for one model', function()
    local srv, log = start_abc()
    local list = {}
    for i = 1, 5 do list[i] = chat(srv, 'a', 'r' .. i, { wait_ms = 30 }) end
    http.all(list, 30, { stagger = 0.002 })
    local open = 0
    for _, e in ipairs(server.read_events(log)) do
      if e.ev == 'start' then open = open + 1 elseif e.ev == 'end' then open = open - 1 end
      assert.is_true(open <= 1)
    end
  end)

  it('gives every caller of a broken model one error and then serves the next model', function()
    local srv = server.start { config = 'models:\n' ..
      '  broken:\n    cmd: /bin/false ${PORT}\n' .. server.model('b', '--silent') }
    local list = {}
    for i = 1, 5 do list[i] = chat(srv, 'broken', 'x' .. i) end
    list[6] = chat(srv, 'b', 'ok')
    http.all(list, 30, { stagger = 0.002 })
    for i = 1, 5 do
      assert.equal(500, list[i].response.status)
      local err = list[i].response:json()
      assert.equal('llama-swap', err.src)
      assert.equal('server_error', err.error.type)
      assert.matches('exited prematurely', err.error.message)
    end
    assert.equal(200, list[6].response.status)
  end)

  it('takes a waiting request whose client leaves out of the line (http A079)', function()
    local srv, log = start_abc()
    local first = http.connect(srv.port)
    first:request('POST', '/v1/chat/completions', { body = { model = 'a', id = 'r1', stream = true, messages = {},
      fake = { endless = true, tps = 50 } } })
    assert.equal(200, first:head(20).status)
    local second = http.connect(srv.port)
    second:request('POST', '/v1/chat/completions', chat(srv, 'b', 'r2'))
    local third = http.connect(srv.port)
    third:request('POST', '/v1/chat/completions', chat(srv, 'a', 'r3'))
    srv:queued(2)
    second:close()
    srv:queued(1)
    first:close()
    assert.equal(200, third:response(20).status)
    local ids = {}
    for _, e in ipairs(served(log)) do ids[#ids + 1] = e.req end
    assert.same({ 'r1', 'r3' }, ids)
    third:close()
  end)

  it('aborts the load of a model that nobody wants any more (A021, A023)', function()
    local srv, log = start_abc()
    srv:stop()
    srv = server.start { config = server.config('', {
      { 'slow', '--load-ms 60000 --silent' }, { 'b', '--silent --log ' .. log } }) }
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', chat(srv, 'slow', 'r1'))
    wait.till(function() return #srv:models() == 1 end, 10)
    local t0 = net.now()
    local d = http.connect(srv.port)
    d:request('POST', '/v1/chat/completions', chat(srv, 'b', 'r2'))
    c:close()
    assert.equal(200, d:response(20).status)
    assert.is_true(net.now() - t0 < 15)
    d:close()
  end)

  it('refuses what is beyond an explicit concurrencyLimit with 429 and Retry-After (A026)', function()
    local log = net.tmpdir() .. '/e'
    local srv = server.start { config = server.config('', {
      { 'a', '--silent --log ' .. log, { concurrencyLimit = 2 } } }) }
    local list = {}
    for i = 1, 3 do list[i] = chat(srv, 'a', 'r' .. i, { wait_ms = 200 }) end
    http.all(list, 30, { stagger = 0.01 })
    assert.equal(200, list[1].response.status)
    assert.equal(200, list[2].response.status)
    local r = list[3].response
    assert.equal(429, r.status)
    assert.equal('1', r:get 'retry-after')
    assert.equal('concurrency_limit', r:json().error.code)
  end)

  it('bounds the line with serial.maxQueue and accepts 50 without a limit', function()
    local srv = server.start { config = server.config(
      'routing: { scheduler: { use: serial, settings: { serial: { maxQueue: 2 } } } }', { { 'a', '--silent' } }) }
    local list = {}
    for i = 1, 4 do list[i] = chat(srv, 'a', 'r' .. i, { wait_ms = 150 }) end
    http.all(list, 30, { stagger = 0.01 })
    local codes = {}
    for i = 1, 4 do codes[i] = list[i].response.status end
    assert.same({ 200, 200, 200, 429 }, codes)
    srv:stop()
    srv = server.start { config = server.config('', { { 'a', '--silent' } }) }
    list = {}
    for i = 1, 50 do list[i] = chat(srv, 'a', 'r' .. i) end
    http.all(list, 60)
    for i = 1, 50 do assert.equal(200, list[i].response.status) end
  end)

  it('cuts an answer that never ends after serial.maxServe and serves the next (A024)', function()
    local srv = server.start { config = server.config(
      'routing: { scheduler: { settings: { serial: { maxServe: 1 } } } }', { { 'a', '--silent' } }) }
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', chat(srv, 'a', 'r1', { endless = true, tps = 50 }, { stream = true }))
    local r = c:head(20)
    assert.equal(200, r.status)
    local next_one = http.connect(srv.port)
    next_one:request('POST', '/v1/chat/completions', chat(srv, 'a', 'r2'))
    c:finish(r, 20)
    assert.is_truthy(r.cut)
    assert.equal(200, next_one:response(20).status)
    assert.matches('maxServe', srv:log())
    c:close()
    next_one:close()
  end)

  it('starts a model that was killed again, and asks once more, without the client noticing', function()
    local srv, log = start_abc()
    assert.equal(200, srv:chat('a').status)
    local before = srv:models()[1]
    net.kill(before.pid, 'KILL')
    assert.equal(200, srv:chat('a').status)
    local after = srv:models()[1]
    assert.not_equal(before.pid, after.pid)
    assert.equal(2, #served(log))
  end)

  it('serves 300 requests that arrive together with zero displacement', function()
    local srv, log = start_abc()
    assert.equal(200, srv:chat('a').status)
    local list = {}
    for i = 1, 300 do
      list[i] = chat(srv, 'a', ('r%04d'):format(i))
      list[i].conn = http.connect(srv.port)
    end
    http.all(list, 60)
    local seen = served(log)
    for i = 1, 300 do
      assert.equal(200, list[i].response.status)
      assert.equal(('r%04d'):format(i), seen[i + 1].req)
    end
  end)
end)
