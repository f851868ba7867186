-- examples_spec.lua: every configuration in examples/, and the example file itself, loads without error or warning; every
-- policy in examples/policies and in policies/ does at work what it is for.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local shell = require 'spec.shell'
local wait = require 'spec.support.wait'

local function check(path)
  local dir = net.tmpdir()
  local proc = assert(net.spawn { server.bin(), '-check-config', '-config', path, stdout = dir .. '/out', stderr = 'stdout' })
  local code = proc:wait(20)
  return code, server.read_file(dir .. '/out')
end

describe('the example', function()
  local list = { shell.root .. '/config.example.yaml' }
  for name in io.popen('ls ' .. shell.root .. '/examples/*.yaml'):lines() do list[#list + 1] = name end
  assert(#list >= 5)
  for _, path in ipairs(list) do
    it(path:match '[^/]*$' .. ' loads', function()
      local code, out = check(path)
      assert.equal(0, code, out)
      assert.matches(' 0 warnings', out, 1, true)
    end)
  end
end)

-- ---- policies at work

local together = [[
routing:
  scheduler: { use: fifo }
  router: { settings: { groups: { all: { swap: false, exclusive: false, members: [a, b, c] } } } }
]]
local one = 'routing: { scheduler: { use: fifo } }\n'

local function models(meta)
  local list = {}
  for i, name in ipairs { 'a', 'b', 'c' } do
    list[i] = { name, '--silent --respond ' .. name:upper(), { metadata = ('{ vram_mb: %d }'):format((meta or { 16000, 8000, 4000 })[i]) } }
  end
  return list
end

-- o: file, top, settings (YAML of one line), entry (further lines), more (top-level YAML), env
local function start(o)
  return server.start { env = o.env, config = ('%s%s\npolicies:\n  - file: %s/%s\n    settings: %s\n%s'):format(o.top or one, o.more or '',
    shell.root, o.file, o.settings or '{}', o.entry or '') .. server.config('', models(o.meta)) }
end

local function who(srv, model, opts)
  local r = srv:chat(model, nil, opts)
  return r.status == 200 and r:json().choices[1].message.content or r.status
end

local function healthy(srv)
  local p = srv:get('/api/policy'):json().policies[1]
  assert.equal('active', p.state)
  for hook, c in pairs(p.calls) do assert.equal(0, c.errors + c.invalid + c.budget + c.memory, hook) end
  return p
end

local function running(srv)
  local names = {}
  for _, m in ipairs(srv:get('/running'):json().running) do names[#names + 1] = m.model end
  table.sort(names)
  return table.concat(names, ' ')
end

-- A directory with an nvidia-smi that reports `used` of 24,000 MB, as written in the file `used` there.
local function fake_gpu(used)
  local dir = net.tmpdir()
  server.write_file(dir .. '/used', tostring(used))
  server.write_file(dir .. '/nvidia-smi', ([[#!/bin/sh
case "$*" in
*--query-gpu*) echo "0, GPU-1, Fake, 24000, $(cat %s/used), 0, 40" ;;
esac
]]):format(dir))
  os.execute(('chmod 755 %s/nvidia-smi'):format(dir))
  return dir, { PATH = dir .. ':' .. os.getenv 'PATH' }
end

-- Answers one request at the listener; returns what was asked.
local function answer(up, body, seconds)
  local conn = assert(up:accept(seconds or 20 * wait.slow))
  local text = ''
  repeat
    local piece = conn:recv(4096, 5)
    text = text .. (piece or '')
    local head, rest = text:match '^(.-)\r\n\r\n(.*)$'
    local len = tonumber(head and head:lower():match 'content%-length: *(%d+)' or 0)
  until not piece or (head and #rest >= len)
  conn:send(('HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n%s'):format(#body, body))
  conn:close()
  return text
end

describe('at work', function()
  after_each(server.stop_all)

  it('ab-test sends a share of the sessions to the other model, a session always to the same', function()
    local srv = start { file = 'examples/policies/ab-test.lua', settings = '{ a: a, b: b, share: 0.5 }', top = together }
    local seen = {}
    for i = 1, 12 do
      local headers = { headers = { ['X-Session-ID'] = 'talk ' .. i } }
      local first = who(srv, 'a', headers)
      seen[first] = true
      assert.equal(first, who(srv, 'a', headers))
    end
    assert.is_true(seen.A and seen.B)
    assert.equal('C', who(srv, 'c'))
    healthy(srv)
  end)

  it('session-affinity keeps a conversation where it was served', function()
    local srv = start { file = 'examples/policies/session-affinity.lua', settings = '{ same: { a: [a, b] } }', top = together }
    local mine = { headers = { ['X-Session-ID'] = 'mine' } }
    assert.equal('A', who(srv, 'a', mine))
    assert.equal('B', who(srv, 'b', mine))
    assert.equal('B', who(srv, 'a', mine))
    assert.equal('A', who(srv, 'a', { headers = { ['X-Session-ID'] = 'other' } }))
    healthy(srv)
  end)

  it('overflow-peer sends to a peer what would wait', function()
    local peer = server.start { config = server.config('', { { 'big', '--silent --respond FAR' } }) }
    local srv = start { file = 'examples/policies/overflow-peer.lua', settings = '{ peers: { a: far/big }, queue: 1 }', top = together,
      more = ('peers:\n  far: { proxy: "http://127.0.0.1:%d", models: [big] }\n'):format(peer.port) }
    assert.equal('A', who(srv, 'a'))
    local slow = http.connect(srv.port)
    slow:request('POST', '/v1/chat/completions', { body = { model = 'a', stream = true, fake = { endless = true, tps = 20 } } })
    slow:head(20)
    assert.equal('FAR', who(srv, 'a'))
    slow:close()
    wait.till(function() return who(srv, 'a') == 'A' end, 20, 'the local model to be free again')
    healthy(srv)
  end)

  it('co-residency stops the largest idle model, and only that', function()
    local _, env = fake_gpu(0)
    local srv = start { file = 'examples/policies/co-residency.lua', settings = '{ grace: 0 }', top = together, env = env }
    assert.equal('A', who(srv, 'a'))
    assert.equal('C', who(srv, 'c')) -- 16,000 and 4,000 fit beside the reserve
    assert.equal('a c', running(srv))
    assert.equal('B', who(srv, 'b'))
    wait.till(function() return running(srv) == 'b c', running(srv) end, 20, 'a to go')
    healthy(srv)
  end)

  it('do-not-disturb loads nothing while a guest has the GPU, and gives back what is idle', function()
    local dir, env = fake_gpu(0)
    local srv = start { file = 'examples/policies/do-not-disturb.lua', settings = '{ idle: 0, again: 1 }', env = env }
    assert.equal('B', who(srv, 'b'))
    server.write_file(dir .. '/used', '20000')
    wait.till(function() return running(srv) == '' end, 30, 'the idle model to go')
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
    wait.till(function() return (healthy(srv).calls.plan_swap or { hold = 0 }).hold > 0 end, 20, 'the policy to hold')
    assert.equal('', running(srv))
    server.write_file(dir .. '/used', '100')
    assert.equal('A', c:response(40):json().choices[1].message.content)
    c:close()
    healthy(srv)
  end)

  it('kv-keeper saves before a model is stopped and restores when it is back', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = start { file = 'examples/policies/kv-keeper.lua', settings = ('{ urls: { a: "http://127.0.0.1:%d" } }'):format(up:port()),
      entry = ('    http_allow: [ "http://127.0.0.1:%d/" ]\n'):format(up:port()) }
    assert.equal('A', who(srv, 'a'))
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
    local asked = answer(up, '{}')
    assert.matches('^POST /slots/0%?action=save ', asked)
    assert.matches('{"filename":"a-0.kv"}', asked, 1, true)
    assert.equal('B', c:response(20):json().choices[1].message.content)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a' } })
    assert.matches('^POST /slots/0%?action=restore ', answer(up, '{}'))
    assert.equal('A', c:response(20):json().choices[1].message.content)
    c:close()
    healthy(srv)
    -- nobody listens any more: the swap goes on without
    up:close()
    assert.equal('B', who(srv, 'b'))
    assert.equal('A', who(srv, 'a'))
    healthy(srv)
  end)

  it('quota-service refuses whom the service refuses, asks once, and lets go when it is away', function()
    local up = net.listen('127.0.0.1', 0)
    local srv = start { file = 'examples/policies/quota-service.lua', settings = ('{ url: "http://127.0.0.1:%d/check" }'):format(up:port()),
      entry = ('    http_allow: [ "http://127.0.0.1:%d/" ]\n'):format(up:port()), more = 'apiKeys: [ann, ben]\n' }
    local ann, ben = { headers = { Authorization = 'Bearer ann' } }, { headers = { Authorization = 'Bearer ben' } }
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a' }, headers = ann.headers })
    local asked = answer(up, '{"allow":false}')
    assert.matches('^GET /check%?key=', asked)
    assert.is_nil(asked:find('ann', 1, true), 'the key itself never leaves')
    local r = c:response(20)
    assert.equal(429, r.status)
    assert.equal('60', r:get 'retry-after')
    c:close()
    assert.equal(429, who(srv, 'a', ann)) -- from the cache
    up:close()
    assert.equal('A', who(srv, 'a', ben))
  end)

  for file, settings in pairs { residency = '{ min_stay: 0, max_wait: 0.2 }', aging = '{ base: { x: 1 } }', fair = '{}', greedydual = '{}',
    ['warm-route'] = '{ same: { a: [a, b] } }', gather = '{ k: 2, t: 0.1 }', ['office-hours'] = '{ warm: [a], open: 0, close: 24 }' } do
    it(file .. ' serves everybody', function()
      local srv = start { file = 'policies/' .. file .. '.lua', settings = settings }
      local list, names = {}, { 'a', 'b', 'a', 'c', 'b', 'a', 'c', 'a', 'b', 'c' }
      for i, name in ipairs(names) do
        list[i] = http.connect(srv.port)
        list[i]:request('POST', '/v1/chat/completions', { body = { model = name } })
      end
      for i, c in ipairs(list) do
        local r = c:response(60 * wait.slow)
        assert.equal(200, r.status, names[i] .. ' ' .. r.body)
        c:close()
      end
      healthy(srv)
    end)
  end
end)
