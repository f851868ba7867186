-- loading_spec.lua: what a client sees while its model loads or while it waits for its turn (http.md 4.7).
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local server = require 'spec.support.server'

local mark = ('\u{2501}'):rep(5)

local function start(args, top)
  return server.start { config = server.config(top or 'sendLoadingState: true', {
    { 'a', '--silent ' .. (args or '') }, { 'b', '--silent' } }) }
end

local function stream(srv, path, model, fake)
  local c = http.connect(srv.port)
  c:request('POST', path, { body = { model = model, stream = true, fake = fake, messages = {} } })
  return c
end

-- All reasoning text, and the other events' data.
local function read(c, r)
  local text, rest = '', {}
  for ev in c:events(r, 30) do
    local ok, v = pcall(json.decode, ev.data)
    local delta = ok and type(v) == 'table' and v.choices and v.choices[1] and v.choices[1].delta
    if delta and delta.reasoning_content and not v.id then text = text .. delta.reasoning_content
    else rest[#rest + 1] = ev.data end
  end
  return text, rest
end

describe('the loading stream', function()
  after_each(server.stop_all)

  it('spells the marks, names the model, then the model\'s own stream follows (A103, http A088-A090)', function()
    local srv = start '--load-ms 900 --respond purr'
    local c = stream(srv, '/v1/chat/completions', 'a', { tokens = 3 })
    local r = c:head(20)
    assert.equal(200, r.status)
    assert.equal('text/event-stream', r:get 'content-type')
    assert.equal('no-cache', r:get 'cache-control')
    assert.equal('keep-alive', r:get 'connection')
    local text, rest = read(c, r)
    assert.is_true(r.done)
    assert.equal(mark .. '\n', text:sub(1, #mark + 1))
    assert.matches('loading model: a\n', text, 1, true)
    assert.matches('Done! %(%d+%.%d%ds%)\n' .. mark .. '\n \n$', text)
    assert.equal('[DONE]', rest[#rest])
    assert.is_true(#rest >= 3)
    c:close()
  end)

  it('does not show for other paths, without stream, when switched off, or when the model is ready (http A092-A094)', function()
    local srv = start()
    local c = stream(srv, '/v1/completions', 'a')
    assert.is_falsy(c:response(20).body:find(mark, 1, true))
    c:close()
    local r = srv:post('/v1/chat/completions', { model = 'b', messages = {} })
    assert.is_falsy(r.body:find(mark, 1, true))
    c = stream(srv, '/v1/chat/completions', 'b')
    assert.is_falsy(c:response(20).body:find(mark, 1, true))
    c:close()
    srv:stop()
    srv = start('', '')
    c = stream(srv, '/v1/chat/completions', 'a')
    assert.is_falsy(c:response(20).body:find(mark, 1, true))
    c:close()
  end)

  it('shows the place in the line, also for the model that is loaded (S-12, A031, http A091)', function()
    local srv = start()
    assert.equal(200, srv:chat('a').status)
    local busy = http.connect(srv.port)
    busy:request('POST', '/v1/chat/completions', { body = { model = 'a', messages = {}, fake = { wait_ms = 1800 } } })
    local first = http.connect(srv.port)
    first:request('POST', '/v1/chat/completions', { body = { model = 'a', messages = {} } })
    local c = stream(srv, '/v1/chat/completions', 'a', { tokens = 2 })
    local r = c:head(5)
    local text = read(c, r)
    assert.matches('Queue position: #2 ', text, 1, true)
    assert.equal(200, busy:response(20).status)
    assert.equal(200, first:response(20).status)
    for _, x in ipairs { busy, first, c } do x:close() end
  end)

  it('ends with an error event and [DONE] when the load fails (D-L1, A113)', function()
    local srv = start '--exit-after-ms 300 --no-health'
    local c = stream(srv, '/v1/chat/completions', 'a')
    local r = c:head(20)
    local text, rest = read(c, r)
    assert.is_true(r.done)
    assert.matches(mark, text, 1, true)
    assert.equal(2, #rest)
    local err = json.decode(rest[1])
    assert.matches('exited prematurely', err.error.message)
    assert.equal('[DONE]', rest[2])
    c:close()
  end)

  it('turns an upstream refusal into an error event; the status stays (http A095)', function()
    local srv = start '--load-ms 200'
    local c = stream(srv, '/v1/chat/completions', 'a', { status = 400, stream = false })
    local r = c:head(20)
    assert.equal(200, r.status)
    local _, rest = read(c, r)
    assert.is_true(r.done)
    assert.equal('[DONE]', rest[#rest])
    assert.is_true(#rest >= 2)
    c:close()
  end)

  it('does not start for a request that is refused (A101)', function()
    local srv = server.start { config = server.config('sendLoadingState: true', {
      { 'a', '--silent --load-ms 500', { concurrencyLimit = 1 } } }) }
    local c = stream(srv, '/v1/chat/completions', 'a')
    c:head(20)
    local d = stream(srv, '/v1/chat/completions', 'a')
    local r = d:response(20)
    assert.equal(429, r.status)
    assert.is_falsy(r.body:find(mark, 1, true))
    c:close()
    d:close()
  end)
end)
