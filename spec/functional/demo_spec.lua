-- demo_spec.lua: `luaswap demo` and the models it is made of.
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

describe('luaswap demo', function()
  after_each(server.stop_all)

  it('serves its models without a configuration and swaps between them', function()
    local srv = server.start { args = { 'demo', '-listen', '127.0.0.1:0' }, no_listen = true }
    local list = srv:get('/v1/models'):json().data
    assert.is_true(#list >= 3)
    local names = {}
    for _, m in ipairs(list) do names[m.id] = true end
    for _, name in ipairs { 'tiny-otter', 'red-panda' } do
      assert.is_true(names[name])
      local r = srv:chat(name, { max_tokens = 5 }, { timeout = 30 })
      assert.equal(200, r.status)
      assert.equal(5, r:json().usage.completion_tokens)
      local n = 0
      for _, proc in ipairs(srv:tree()) do n = n + (proc.cmdline:find 'demo%-model %-%-port' and 1 or 0) end
      assert.equal(1, n)
    end
  end)
end)

describe('a demo model', function()
  local procs = {}
  after_each(function()
    for _, p in ipairs(procs) do
      p:kill 'TERM'
      assert.equal(0, p:wait(10))
    end
    procs = {}
  end)

  local function start(args)
    local argv = { server.bin(), 'demo-model', '--port', '0', '--name', 'ada', stdout = 'pipe', stderr = 'stdout' }
    for word in (args or ''):gmatch '%S+' do argv[#argv + 1] = word end
    local p, said = net.spawn(argv), ''
    procs[#procs + 1] = p
    wait.till(function()
      said = said .. (p:read_stdout(0.1) or '')
      return said:find 'loading'
    end, 20, 'a demo model')
    -- the port is told when it is loaded; before, the table of sockets knows it
    local inode = {}
    for _, name in ipairs { 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } do
      local f = io.popen(('readlink /proc/%d/fd/%d'):format(p:pid(), name))
      local id = f:read 'a':match 'socket:%[(%d+)%]'
      f:close()
      if id then inode[id] = true end
    end
    for line in io.lines '/proc/net/tcp' do
      local hex, state, id = line:match '^%s*%d+: %x+:(%x+) %x+:%x+ (%x+) %x+:%x+ %x+:%x+ %x+%s+%d+%s+%d+ (%d+)'
      if state == '0A' and inode[id] then return tonumber(hex, 16), p end
    end
    error 'no port'
  end

  local function ask(port, path, body, opts)
    body.messages = body.messages or { { role = 'user', content = 'why is the sky so high?' } }
    return http.post(port, path, body, opts)
  end

  it('is not healthy and refuses to answer before it is loaded', function()
    local port = start '--load-time 0.5'
    local r = http.get(port, '/health')
    assert.equal(503, r.status)
    assert.equal('Loading model', r:json().error.message)
    assert.equal(503, ask(port, '/v1/chat/completions', {}).status)
    wait.till(function() return http.get(port, '/health').status == 200 end, 5, 'it to load')
    assert.equal(200, ask(port, '/v1/chat/completions', { max_tokens = 1 }).status)
  end)

  it('answers every API it has, whole', function()
    local port = start '--rate 0 --tokens 40'
    local chat = ask(port, '/v1/chat/completions', {}):json()
    assert.equal('chat.completion', chat.object)
    assert.equal('ada', chat.model)
    assert.equal('stop', chat.choices[1].finish_reason)
    assert.same({ prompt_tokens = 6, completion_tokens = 40, total_tokens = 46 }, chat.usage)
    local _, words = chat.choices[1].message.content:gsub('%S+', '')
    assert.equal(40, words)
    local text = ask(port, '/v1/completions', { prompt = 'x', max_tokens = 2 }):json()
    assert.equal('length', text.choices[1].finish_reason)
    local resp = ask(port, '/v1/responses', { input = 'hello there' }):json()
    assert.equal('completed', resp.status)
    assert.equal('output_text', resp.output[1].content[1].type)
    assert.equal(40, resp.usage.output_tokens)
    local msg = ask(port, '/v1/messages', { max_tokens = 3 }):json()
    assert.equal('max_tokens', msg.stop_reason)
    assert.same({ input_tokens = 6, output_tokens = 3 }, msg.usage)
    local emb = http.post(port, '/v1/embeddings', { input = { 'a', 'b', 'a' } }):json()
    assert.equal(3, #emb.data)
    assert.same(emb.data[1].embedding, emb.data[3].embedding)
    local sum = 0
    for _, v in ipairs(emb.data[2].embedding) do sum = sum + v * v end
    assert.is_true(math.abs(sum - 1) < 1e-3)
    local rank = http.post(port, '/v1/rerank', { query = 'red fox', documents = { 'no', 'a red fox' } }):json()
    assert.is_true(rank.results[2].relevance_score > rank.results[1].relevance_score)
    assert.is_true(http.post(port, '/completion', { prompt = 'x' }):json().stop)
    assert.equal('ada', http.get(port, '/v1/models'):json().data[1].id)
    assert.is_truthy(http.get(port, '/').body:find('<h1>ada</h1>', 1, true))
    assert.equal(404, http.get(port, '/nothing').status)
    assert.equal(400, http.post(port, '/v1/chat/completions', '{oops').status)
  end)

  it('streams a role, then words, then the counts and the end', function()
    local port = start '--rate 500 --tokens 12'
    local r = ask(port, '/v1/chat/completions', { stream = true, stream_options = { include_usage = true } })
    assert.equal('text/event-stream', r:get 'content-type')
    local ev, text = r:events(), {}
    assert.equal('[DONE]', ev[#ev].data)
    local first = json.decode(ev[1].data).choices[1].delta
    assert.equal('assistant', first.role)
    for i = 2, 13 do text[#text + 1] = json.decode(ev[i].data).choices[1].delta.content end
    local _, words = table.concat(text):gsub('%S+', '')
    assert.equal(12, words)
    assert.equal('stop', json.decode(ev[14].data).choices[1].finish_reason)
    assert.equal(12, json.decode(ev[15].data).usage.completion_tokens)
    local m = ask(port, '/v1/messages', { stream = true }):events()
    assert.equal('message_start', m[1].event)
    assert.equal('message_stop', m[#m].event)
    local o = ask(port, '/v1/responses', { stream = true, input = 'hi' }):events()
    assert.equal('response.created', o[1].event)
    assert.equal('response.completed', o[#o].event)
    for i, e in ipairs(o) do assert.equal(i - 1, json.decode(e.data).sequence_number) end
  end)

  it('keeps its pace', function()
    local port = start '--rate 50 --tokens 26'
    local t0 = net.now()
    assert.equal(200, ask(port, '/v1/chat/completions', { stream = true }).status)
    local took = net.now() - t0
    assert.is_true(took >= 0.49 and took < 0.49 + 1.5 * wait.slow, tostring(took))
  end)

  it('notices that its client has left', function()
    local port, p = start '--rate 20 --tokens 100000'
    local c = http.connect(port)
    c:request('POST', '/v1/chat/completions', { body = { stream = true, messages = {} } })
    local r = c:head(5)
    c:event(r, 5)
    c:close()
    local said = ''
    wait.till(function()
      said = said .. (p:read_stdout(0.1) or '')
      return said:find 'the client left after'
    end, 5, 'it to notice')
  end)

  it('refuses options it does not know', function()
    local p = net.spawn { server.bin(), 'demo-model', '--prot', '1', stdout = 'pipe', stderr = 'stdout' }
    assert.equal(2, p:wait(10))
    assert.is_truthy((p:read_stdout(1) or ''):find('what is --prot 1?', 1, true))
  end)
end)
