-- swap_spec.lua: luaswap with real llama-server processes. Each model may only say its own letters, so the text
-- of every answer proves which model gave it; how many processes run is seen from outside.
-- Needs LLAMA_SERVER (./dev test --real sets it); without it everything here is skipped.
local gguf = require 'spec.real.tiny_gguf'
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local bin = os.getenv 'LLAMA_SERVER'
if bin == '' then bin = nil end
local PROCESS = 'llama%-server'
local letters = gguf.letters

local function case(name, fn)
  if bin then it(name, fn) else pending(name) end
end

describe('real llama-server', function()
  local paths

  local function config(extra)
    local out = { 'healthCheckTimeout: 60\n', extra and extra.top or '', 'models:\n' }
    for _, name in ipairs { 'alpha', 'beta', 'gamma', 'embed' } do
      out[#out + 1] = ([[
  %s:
    cmd: |
      %s --host 127.0.0.1 --port ${PORT} -m %s
      -c 4096 -np 1 -t 1 --no-warmup --offline %s
    aliases: [tiny-%s]
    useModelName: tiny-%s
%s]]):format(name, bin, paths[name], name == 'embed' and '--embeddings' or '', name, name,
        extra and extra[name] or '')
    end
    return table.concat(out)
  end

  local function chat(model, tokens, more)
    local body = { model = model, max_tokens = tokens or 16, messages = { { role = 'user', content = 'hi' } } }
    for k, v in pairs(more or {}) do body[k] = v end
    return body
  end

  local function assert_letters(model, text)
    assert(#text > 0, 'an empty answer')
    assert(not text:find('[^' .. letters[model] .. ']'), ('%s said %q'):format(model, text))
  end

  local function text_of(r)
    assert.equal(200, r.status)
    return r:json().choices[1].message.content
  end

  -- Sends all at once, a few milliseconds apart so that their order is certain.
  local function send_all(srv, list)
    for _, e in ipairs(list) do e.port, e.path = srv.port, '/v1/chat/completions' end
    http.all(list, 120, { stagger = 0.004 })
  end

  setup(function()
    if bin then paths = gguf.write_all(net.tmpdir()) end
  end)

  after_each(server.stop_all)

  case('A B C A at once are answered A B C A, one process at a time', function()
    local srv = server.start { config = config() }
    local watch = srv:watch(PROCESS)
    local list = {}
    for i, m in ipairs { 'alpha', 'beta', 'gamma', 'alpha' } do list[i] = { model = m, body = chat(m) } end
    send_all(srv, list)
    local seen = watch:stop()
    for i, e in ipairs(list) do
      assert_letters(e.model, text_of(e.response))
      if i > 1 then assert.is_true(list[i - 1].response.t_done <= e.response.t_head) end
    end
    assert.equal(1, seen.most)
    local started = {}
    for i, command in ipairs(seen.order) do started[i] = command:match 'tiny%-(%w+)%.gguf' end
    assert.equal('alpha beta gamma alpha', table.concat(started, ' '))
  end)

  case('mixed requests of many clients end once each, in order, each from its own model', function()
    local srv = server.start { config = config() }
    local watch = srv:watch(PROCESS)
    local names, list = { 'alpha', 'beta', 'gamma' }, {}
    math.randomseed(7)
    for i = 1, 30 do
      local m = names[math.random(3)]
      list[i] = { model = m, body = chat(m, math.random(1, 60), { stream = i % 3 == 0 }) }
    end
    send_all(srv, list)
    assert.equal(1, watch:stop().most)
    for i, e in ipairs(list) do
      assert.is_true(e.response.done)
      assert.equal(200, e.response.status)
      if e.body.stream then
        local parts = {}
        for _, ev in ipairs(e.response:events()) do
          if ev.data and ev.data ~= '[DONE]' then
            local choice = json.decode(ev.data).choices[1]
            local content = choice and choice.delta.content
            if type(content) == 'string' then parts[#parts + 1] = content end
          end
        end
        assert_letters(e.model, table.concat(parts))
      else
        assert_letters(e.model, text_of(e.response))
      end
      if i > 1 then assert.is_true(list[i - 1].response.t_done <= e.response.t_head) end
    end
  end)

  case('a stream arrives piece by piece and complete', function()
    local srv = server.start { config = config() }
    local c = srv:connect()
    c:request('POST', '/v1/chat/completions', { body = chat('beta', 500, { stream = true }) })
    local r = c:head(60)
    assert.equal(200, r.status)
    assert.is_truthy(r:get 'content-type':find('text/event-stream', 1, true))
    local text, first, last, n = {}, nil, nil, 0
    for ev in c:events(r, 30) do
      if ev.data then
        first, last, n = first or ev.at, ev, n + 1
        local choice = ev.data ~= '[DONE]' and json.decode(ev.data).choices[1]
        if choice and type(choice.delta.content) == 'string' then text[#text + 1] = choice.delta.content end
      end
    end
    assert.is_true(r.done)
    assert.equal('[DONE]', last.data)
    assert_letters('beta', table.concat(text))
    assert.is_true(n > 400)
    assert.is_true(last.at - first > 0.01) -- not all at the end
  end)

  case('other inference paths, aliases and embeddings work', function()
    local srv = server.start { config = config() }
    local r = srv:post('/v1/completions', { model = 'tiny-gamma', prompt = 'x', max_tokens = 9 }, { timeout = 60 })
    assert.equal(200, r.status)
    assert_letters('gamma', r:json().choices[1].text)
    r = srv:post('/v1/embeddings', { model = 'embed', input = 'some words' }, { timeout = 60 })
    assert.equal(200, r.status)
    assert.equal(64, #r:json().data[1].embedding)
    local other = srv:post('/v1/embeddings', { model = 'embed', input = 'words' }):json()
    assert.are_not.same(r:json().data[1].embedding, other.data[1].embedding)
    r = srv:post('/v1/messages', { model = 'alpha', max_tokens = 7,
      messages = { { role = 'user', content = 'hi' } } }, { timeout = 60 })
    assert.equal(200, r.status)
    assert_letters('alpha', r:json().content[1].text)
    local ids = {}
    for _, m in ipairs(srv:get('/v1/models'):json().data) do ids[#ids + 1] = m.id end
    table.sort(ids)
    assert.equal('alpha beta embed gamma', table.concat(ids, ' '))
  end)

  case('a client that leaves in the middle of a stream frees the slot', function()
    -- llama-server (b11669) hangs when SIGTERM comes before it has noticed that its client is gone, and then the swap
    -- lasts as long as unloadTimeout says; luaswap leaves it a moment. A machine that stands still for longer than
    -- that moment is possible, but not again and again.
    local srv = server.start { config = config { alpha = '    unloadTimeout: 6\n' } }
    assert_letters('beta', text_of(srv:chat('beta', { max_tokens = 3 }, { timeout = 60 })))
    local hung = 0
    for i = 1, 8 do
      local c = srv:connect()
      c:request('POST', '/v1/chat/completions', { body = chat('alpha', 3500, { stream = true }) })
      local r = c:head(60)
      for _ = 1, i % 4 do assert.is_truthy(c:event(r, 30)) end
      if i % 2 == 0 then c:rst() else c:close() end
      local t0 = net.now()
      assert_letters('beta', text_of(srv:chat('beta', { max_tokens = 3 }, { timeout = 60 })))
      if net.now() - t0 > 5 then hung = hung + 1 end
    end
    assert(hung <= 2, hung .. ' of 8 swaps lasted as long as the grace')
    wait.till(function() return #srv:models(PROCESS) == 1 end, 5, 'one process to be left')
  end)

  case('an idle model is unloaded after its ttl and comes back when asked for', function()
    local srv = server.start { config = config { alpha = '    ttl: 1\n' } }
    assert_letters('alpha', text_of(srv:chat('alpha', { max_tokens = 3 }, { timeout = 60 })))
    local t0 = net.now()
    assert.equal(1, #srv:models(PROCESS))
    wait.till(function() return #srv:models(PROCESS) == 0 end, 10, 'the idle model to end')
    assert.is_true(net.now() - t0 > 0.8)
    assert_letters('alpha', text_of(srv:chat('alpha', { max_tokens = 3 }, { timeout = 60 })))
  end)

  case('kill -9 of a model under load cuts that answer only; the queue goes on', function()
    local srv = server.start { config = config() }
    local c = srv:connect()
    c:request('POST', '/v1/chat/completions', { body = chat('alpha', 4000, { stream = true }) })
    local r = c:head(60)
    assert.is_truthy(c:event(r, 30))
    local queued = {}
    for i, m in ipairs { 'alpha', 'beta', 'alpha' } do
      local q = srv:connect()
      q:request('POST', '/v1/chat/completions', { body = chat(m, 8) })
      queued[i] = { model = m, conn = q }
    end
    local victims = srv:models(PROCESS)
    assert.equal(1, #victims)
    net.kill(victims[1].pid, 'KILL')
    c:finish(r, 30)
    assert(r.cut, 'the killed stream looks complete')
    for _, q in ipairs(queued) do assert_letters(q.model, text_of(q.conn:response(60))) end
    local running = srv:get('/running'):json()
    assert.is_truthy(running)
  end)

  case('unload ends the process, SIGTERM ends everything', function()
    local srv = server.start { config = config() }
    srv:chat('gamma', { max_tokens = 3 }, { timeout = 60 })
    assert.equal(1, #srv:models(PROCESS))
    assert.equal(200, srv:get('/unload').status)
    wait.till(function() return #srv:models(PROCESS) == 0 end, 10, 'the unloaded model to end')
    srv:chat('gamma', { max_tokens = 3 }, { timeout = 60 })
    srv:stop() -- demands exit code 0 and no process left
  end)

  case('kill -9 of luaswap leaves no llama-server behind', function()
    local srv = server.start { config = config() }
    srv:chat('alpha', { max_tokens = 3 }, { timeout = 60 })
    assert.equal(1, #srv:models(PROCESS))
    srv:kill9()
    srv:all_gone(2)
    srv:destroy()
  end)
end)
