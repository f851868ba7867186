-- reload_spec.lua: a new configuration takes over and nobody is lost.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local reload = require 'spec.support.reload'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

-- A stream of chat events that is under way: its connection, and the head of its answer.
local function stream(r, model, tokens, tps)
  local c = http.connect(r.srv.port)
  c:request('POST', '/v1/chat/completions', { body = { model = model, stream = true, messages = {},
    fake = { tokens = tokens, tps = tps } } })
  local head = c:head(20)
  assert.equal(200, head.status)
  return c, head
end

-- How many events of content a finished stream had.
local function count(c, head, seconds)
  c:finish(head, seconds or 20)
  assert.is_true(head.done, 'the stream was cut: ' .. tostring(head.cut))
  local n = 0
  for _, ev in ipairs(head:events()) do
    if ev.data ~= '[DONE]' and not ev.data:find '"usage"' then n = n + 1 end
  end
  assert.is_truthy(head.body:find('[DONE]', 1, true))
  return n
end

local function later(r, model, fake)
  local c = http.connect(r.srv.port)
  c:request('POST', '/v1/chat/completions', { body = { model = model, messages = {}, fake = fake } })
  return c
end

local function text_of(response) return response:json().choices[1].message.content end

describe('a reload', function()
  after_each(server.stop_all)

  it('A110: leaves unchanged models alone: pid, stream in flight, queue', function()
    local r = reload.start { scheduler = 'fifo', models = { a = '--respond one', b = '--respond old' } }
    local _, _, pid = r:ask 'a'
    r:ask 'b'
    local c, head = stream(r, 'a', 40, 60)
    r.models.b = '--respond new'
    r:reload()
    assert.is_truthy(r:said():find('1 unchanged, 0 changed in place, 1 to be restarted (b: cmd), 0 added, 0 removed', 1, true),
      r:said())
    local status, text, new_pid = r:ask 'a'
    assert.same({ 200, 'one', pid }, { status, text, new_pid })
    assert.equal(40, count(c, head))
    assert.equal('new', select(2, r:ask 'b'))
  end)

  it('restarts a changed model only when its stream has ended; who waits is served by the new one, in order', function()
    local r = reload.start { models = { a = '--respond old', b = '' } }
    local _, _, pid = r:ask 'a'
    local c, head = stream(r, 'a', 30, 60)
    local waiting = {}
    for i = 1, 5 do
      waiting[i] = later(r, i == 3 and 'b' or 'a', { respond = i == 3 and 'three' or nil })
      r.srv:queued(i)
    end
    r.models.a = '--respond new'
    r:reload()
    waiting[6] = later(r, 'a')
    assert.equal(30, count(c, head))
    local last = 0
    for i, w in ipairs(waiting) do
      local response = w:response(30)
      assert.equal(200, response.status)
      assert.equal(i == 3 and 'three' or 'new', text_of(response), 'request ' .. i)
      assert.is_true(response.t_head >= last, 'request ' .. i .. ' overtook')
      last = response.t_head
    end
    assert.are_not.equal(pid, select(3, r:ask 'a'))
  end)

  it('restarts with the new command also a model that is being loaded', function()
    local r = reload.start { models = { a = '--respond old --load-ms 700' } }
    local c = later(r, 'a')
    wait.till(function() return #r.srv:models() == 1 end, 10, 'the first process')
    r.models.a = '--respond new'
    r:reload()
    local response = c:response(20)
    assert.equal(200, response.status)
    assert.equal('new', text_of(response))
  end)

  it('cuts what does not end within reload.drain', function()
    local r = reload.start { top = 'reload: { drain: 1 }', models = { a = '--respond old' } }
    local c, head = stream(r, 'a', 1000, 20)
    r.models.a = '--respond new'
    local t0 = net.now()
    r:reload()
    assert.equal('new', select(2, r:ask 'a'))
    assert.is_true(net.now() - t0 > 0.8)
    c:finish(head, 10)
    assert.is_truthy(head.cut)
    c:close()
  end)

  it('a second change while the first still drains: the newest command is the one that starts', function()
    local r = reload.start { models = { a = '--respond 1' } }
    local c, head = stream(r, 'a', 40, 50)
    r.models.a = '--respond 2'
    r:reload()
    local waits = later(r, 'a')
    r.models.a = { args = '--respond 3', ttl = 100 }
    r:reload()
    r.models.a = { args = '--respond 3', ttl = 50 }
    r:reload()
    assert.is_truthy(r:said():find('1 changed in place (a: ttl)', 1, true), r:said())
    assert.equal(40, count(c, head))
    assert.equal('3', text_of(waits:response(20)))
    assert.equal(50, r.srv:get '/running':json().running[1].ttl)
  end)

  it('an idle changed model does not wait for a busy changed one', function()
    local r = reload.start { scheduler = 'fifo', models = { a = '--respond old', b = '--respond old' } }
    r:ask 'b'
    local c, head = stream(r, 'a', 60, 40)
    r.models.a, r.models.b = '--respond new', '--respond new'
    r:reload()
    assert.equal('new', select(2, r:ask 'b'))
    assert.is_nil(head.done)
    assert.equal(60, count(c, head))
    assert.equal('new', select(2, r:ask 'a'))
  end)

  it('uses the slots of models that are gone again', function()
    local r = reload.start { models = { a = '' } }
    r.models.z = ''
    for i = 1, 12 do
      r.models['m' .. i], r.models['m' .. i - 1] = '', nil
      r:reload()
      assert.equal(200, (r:ask('m' .. i)))
    end
    wait.till(function() return #r.srv:get '/debug/state':json().processes == 3 end, 10, 'three models')
    for _, p in ipairs(r.srv:get '/debug/state':json().processes) do
      assert.is_true(p.slot < 6, 'slot ' .. p.slot)
      assert.is_nil(p.reload)
    end
    assert.equal(200, (r:ask 'a'))
    assert.equal(200, (r:ask 'z'))
  end)

  it('a removed model takes nothing new, finishes what it serves, refuses who waits, and is gone', function()
    local r = reload.start { scheduler = 'fifo', models = { a = '', b = { concurrencyLimit = 1 } } }
    r:ask 'b'
    local c, head = stream(r, 'b', 40, 60)
    local one = r.models.b
    r.models.b = nil
    r:reload()
    assert.is_truthy(r:said():find('1 removed (b)', 1, true), r:said())
    assert.equal(404, (r:ask 'b'))
    assert.equal(404, r.srv:get '/upstream/b/test'.status)
    assert.is_nil(r.srv:get '/v1/models'.body:find('"b"', 1, true))
    assert.equal(40, count(c, head))
    wait.till(function() return #r.srv:models() == 0 end, 10, 'the end of its process')
    r.models.b = one
    r:reload()
    assert.equal(200, (r:ask 'b'))
  end)

  it('refuses with 503 who waits for a removed model', function()
    local r = reload.start { models = { a = '', b = '' } }
    local first = stream(r, 'a', 100000, 50) -- until it is closed
    local waits = later(r, 'b')
    r.srv:queued(1)
    r.models.b = nil
    r:reload()
    assert.equal(503, waits:response(10).status)
    first:close()
    assert.equal(200, (r:ask 'a'))
  end)

  it('a model that comes back while its former life still drains is served by a new process afterwards', function()
    local r = reload.start { scheduler = 'fifo', models = { a = '--respond old', b = '' } }
    local c, head = stream(r, 'a', 40, 40)
    r.models.a = nil
    r:reload()
    r.models.a = '--respond new'
    r:reload()
    local waits = later(r, 'a')
    assert.equal(40, count(c, head))
    local response = waits:response(20)
    assert.equal(200, response.status)
    assert.equal('new', text_of(response))
    assert.equal(1, #r.srv:models())
  end)

  it('serves an added model, and one added in front restarts nobody', function()
    local r = reload.start { scheduler = 'fifo', models = { m = '--respond m', n = '--respond n' } }
    local _, _, pid_m = r:ask 'm'
    local _, _, pid_n = r:ask 'n'
    r.models.a = '--respond a'
    r:reload()
    assert.equal('a', select(2, r:ask 'a'))
    assert.equal(pid_m, select(3, r:ask 'm'))
    assert.equal(pid_n, select(3, r:ask 'n'))
    local ports = {}
    for _, p in ipairs(r.srv:models()) do
      local port = p.cmdline:match '%-%-port%s(%d+)'
      assert.is_nil(ports[port])
      ports[port] = true
    end
  end)

  it('never starts a process on a port that another one still holds', function()
    local r = reload.start { models = { first = '' } }
    local base = r.port + 10 -- of the range that is this server's own
    local function fixed(name, port, more)
      return ('  %s:\n    cmd: %s\n    proxy: http://127.0.0.1:%d\n'):format(name,
        (server.fake_cmd(('--silent --model %s --respond %s %s'):format(name, name, more or '')):gsub('${PORT}', port)), port)
    end
    local function both(x, y, px, py)
      return 'routing: { scheduler: { use: fifo } }\ngroups: { all: { swap: false, exclusive: false, members: [' .. x .. ', ' ..
        y .. '] } }\nmodels:\n' .. fixed(x, px) .. fixed(y, py)
    end
    local function apply(text)
      local n = r:taken()
      r:write(text)
      r:hup()
      r:await(n + 1)
    end
    apply(both('x', 'y', base, base + 1))
    assert.equal('x', select(2, r:ask 'x'))
    assert.equal('y', select(2, r:ask 'y'))
    local c, head = stream(r, 'x', 40, 50)
    -- their ports change places while x still serves: y must wait for x although y itself is idle
    apply(both('x', 'y', base + 1, base))
    local y, x = later(r, 'y'), later(r, 'x')
    assert.equal(40, count(c, head))
    assert.equal('y', text_of(y:response(20)))
    assert.equal('x', text_of(x:response(20)))
    -- another name takes the port of one that is removed and still serves
    c, head = stream(r, 'y', 40, 50)
    apply(both('x', 'z', base + 1, base))
    local z = later(r, 'z')
    assert.equal(40, count(c, head))
    assert.equal('z', text_of(z:response(20)))
    assert.equal(2, #r.srv:models())
  end)

  it('a file with errors changes nothing and says where', function()
    local r = reload.start { models = { a = '--respond one' } }
    local _, _, pid = r:ask 'a'
    local c, head = stream(r, 'a', 20, 40)
    r:write(r:text() .. '  bad: { cmd: "x", ttl: soon }\n')
    r:hup()
    r:await_refused(1)
    assert.is_truthy(r.srv:log():find 'config%.yaml:%d+:%d+: error: [^\n]*ttl', r.srv:log())
    assert.equal(20, count(c, head))
    assert.equal(pid, select(3, r:ask 'a'))
    r:write '{{{'
    r:hup()
    r:await_refused(2)
    os.remove(r.srv.config_path)
    r:hup()
    r:await_refused(3)
    assert.equal(pid, select(3, r:ask 'a'))
    r.models.a = '--respond two'
    r:reload()
    assert.equal('two', select(2, r:ask 'a'))
  end)

  it('settings that need no new process take effect on the running one', function()
    local r = reload.start { models = { a = '--respond one' } }
    local _, _, pid = r:ask 'a'
    r.models.a = { args = '--respond one', aliases = { 'other' }, ttl = 1, useModelName = 'renamed', healthCheckTimeout = 77 }
    r:reload()
    assert.is_truthy(r:said():find('1 changed in place (a', 1, true), r:said())
    local response = r.srv:chat('other', { fake = { echo = true } })
    assert.equal(200, response.status)
    local seen = response:json()
    assert.equal(pid, seen.pid)
    assert.is_truthy(seen.body:find('"renamed"', 1, true))
    wait.till(function() return #r.srv:models() == 0 end, 10, 'the new ttl to unload it')
  end)

  it('API keys, log level, peers and the profile are those of the new file', function()
    local r = reload.start { models = { a = '' }, top = 'profiles: { p: { pins: { x: a } } }' }
    assert.equal(200, http.exchange(r.srv.port, 'PUT', '/api/profiles/active', { body = { name = 'p' } }).status)
    assert.equal('p', r.srv:get '/api/profiles':json().active)
    assert.equal(200, (r:ask 'x'))
    r.top = 'profiles: { p: { pins: { x: a } } }\napiKeys: [ secret ]\nlogLevel: debug'
    r:reload()
    assert.equal(401, (r:ask 'a'))
    local key = { headers = { Authorization = 'Bearer secret' } }
    assert.equal(200, (r:ask('a', nil, key)))
    assert.is_truthy(r.srv:get('/api/profiles', key).body:find('"active":null', 1, true))
    assert.equal(404, (r:ask('x', nil, key)))
    assert.equal(200, r.srv:get('/unload', key).status)
    assert.is_truthy(r.srv:log():find('[DEBUG] proc a', 1, true))
    r.top = 'logLevel: info'
    r:reload()
    assert.equal(200, (r:ask 'a'))
  end)

  it('a removed peer finishes what it answers and takes nothing new', function()
    local far = server.start { config = server.config('', { { 'p', '--silent' } }) }
    local r = reload.start { models = { a = '' },
      top = ('peers: { far: { proxy: "http://127.0.0.1:%d", models: [p] } }'):format(far.port) }
    local c, head = stream(r, 'p', 40, 50)
    r.top = ''
    r:reload()
    assert.equal(404, (r:ask 'p'))
    assert.equal(40, count(c, head))
  end)

  it('takes policies over, and refuses all of it when one does not load', function()
    local dir = net.tmpdir()
    local function policy(to)
      server.write_file(dir .. '/p.lua', ('return { api = 1, name = "p", route = function(req) ' ..
        'if req.model == "any" then return { model = "%s" } end end }'):format(to))
    end
    local r = reload.start { models = { a = '--respond A', b = '--respond B' } }
    local plain = r.top
    assert.equal(404, (r:ask 'any'))
    r.top = 'policies: [ { file: ' .. dir .. '/p.lua } ]'
    policy 'a'
    r:reload()
    assert.equal('A', select(2, r:ask 'any'))
    policy 'b'
    r:reload()
    assert.equal('B', select(2, r:ask 'any'))
    server.write_file(dir .. '/p.lua', 'return { api = 1, name = ')
    r.models.c = '--respond C'
    r:write()
    r:hup()
    r:await_refused(1)
    assert.is_truthy(r.srv:log():find('p%.lua:1'), r.srv:log():sub(-600))
    assert.equal('B', select(2, r:ask 'any'))
    assert.equal(404, (r:ask 'c'))
    policy 'c'
    r:reload()
    assert.equal('C', select(2, r:ask 'any'))
    r.top = plain
    r:reload()
    assert.equal(404, (r:ask 'any'))
    assert.equal('C', select(2, r:ask 'c'))
  end)

  it('names the keys that only the next start applies', function()
    local r = reload.start { models = { a = '' } }
    r.top = 'logToStdout: both'
    r:reload()
    wait.till(function() return r.srv:log():find('logToStdout has changed, but takes effect at the next start only', 1, true) end)
  end)

  it('from serial to fifo and back under way', function()
    local r = reload.start { models = { a = '', b = '' } }
    local c, head = stream(r, 'a', 30, 40)
    local waits = later(r, 'b')
    r.scheduler = 'fifo'
    r:reload()
    assert.equal(200, waits:response(20).status) -- no longer held up by a
    assert.equal(30, count(c, head))
    r.scheduler = 'serial'
    r:reload()
    assert.equal(200, (r:ask 'a'))
    assert.equal(200, (r:ask 'b'))
    assert.equal(1, #r.srv:models())
  end)

  it('SIGHUP many times in a row: the last file counts', function()
    local r = reload.start { models = { a = '--respond 0' } }
    r:ask 'a'
    for i = 1, 20 do
      r.models.a = '--respond n' .. i
      r:write(nil, 'rename')
      r:hup()
    end
    wait.till(function() return select(2, r:ask 'a') == 'n20' end, 20, 'the last file')
    wait.till(function() return #r.srv:models() == 1 end, 10, 'one process')
  end)

  it('a body that was on its way goes to the model of that name, a removed one is 404', function()
    local r = reload.start { models = { a = '--respond a', b = '--respond b', c = '--respond c' } }
    local open = {}
    for _, model in ipairs { 'b', 'c' } do
      local body = ('{"model":"%s","messages":[]}'):format(model)
      local c = http.connect(r.srv.port)
      c:send(('POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s')
        :format(#body, body:sub(1, 5)))
      local u = http.connect(r.srv.port)
      u:send(('POST /upstream/%s/test HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab'):format(model))
      open[model] = { c, body:sub(6), u }
    end
    wait.till(function()
      local state = r.srv:get '/debug/state':json().requests
      return state.body and #state.body == 4
    end, 10, 'four bodies under way')
    r.models.b, r.models.a0 = nil, '--respond a0' -- other indexes for everybody
    r:reload()
    for model, status in pairs { b = 404, c = 200 } do
      local c, rest, u = table.unpack(open[model])
      c:send(rest)
      local response = c:response(20)
      assert.equal(status, response.status)
      if status == 200 then assert.equal('c', text_of(response)) end
      u:send 'cd'
      assert.equal(status, u:response(20).status)
    end
  end)

  it('ends the log stream of a removed model', function()
    local r = reload.start { models = { a = '', b = '' } }
    local c = http.connect(r.srv.port)
    c:request('GET', '/logs/stream/b')
    local head = c:head(10)
    r.models.b = nil
    r:reload()
    c:finish(head, 10)
    assert.is_true(head.done)
  end)

  it('preloads at the start and again afterwards', function()
    local r = reload.start { models = { a = '', b = '' }, top = 'hooks: { on_startup: { preload: [ b ] } }' }
    wait.till(function() return r.srv:get '/running'.body:find('"model":"b","state":"ready"', 1, true) end, 20, 'b')
    assert.equal(200, r.srv:get '/unload'.status)
    r:reload()
    wait.till(function() return r.srv:get '/running'.body:find('"model":"b","state":"ready"', 1, true) end, 20, 'b again')
  end)

  it('loads the first of several models to preload when only one fits', function()
    local r = reload.start { models = { a = '', b = '', c = '' }, top = 'hooks: { on_startup: { preload: [ c, a, b ] } }' }
    wait.till(function() return r.srv:get '/running'.body:find('"model":"c","state":"ready"', 1, true) end, 20, 'c')
    assert.equal(1, #r.srv:models())
  end)

  it('a stop while a reload drains ends everything', function()
    local r = reload.start { scheduler = 'fifo', models = { a = '--respond old', b = '', c = '' } }
    r:ask 'b'
    local c, head = stream(r, 'a', 25, 50)
    r.models.a, r.models.b, r.models.d = '--respond new', nil, ''
    r:reload()
    local waits = later(r, 'a')
    r.srv:queued(1)
    r.srv.proc:kill 'TERM'
    assert.equal(503, waits:response(10).status)
    assert.equal(25, count(c, head))
    assert.equal(0, r.srv.proc:wait(30))
    r.srv:all_gone(2)
  end)

  it('kill -9 while a reload drains leaves nothing', function()
    local r = reload.start { scheduler = 'fifo', models = { a = '', b = '' } }
    r:ask 'b'
    local c = stream(r, 'a', 1000, 20)
    r.models.a, r.models.b = '--respond new', nil
    r:reload()
    r.srv:kill9()
    c:close()
    wait.till(function() return #r.srv:tree() == 0 end, 5, 'every process to end')
    r.srv:destroy()
  end)
end)

describe('-watch-config', function()
  after_each(server.stop_all)

  it('picks up an edit, and a file that took the name', function()
    local r = reload.start({ models = { a = '--respond one' } }, { args = { '-watch-config' } })
    r.models.a = '--respond two'
    r:write()
    r:await(1)
    assert.equal('two', select(2, r:ask 'a'))
    r.models.a = '--respond three'
    r:write(nil, 'rename')
    r:await(2)
    assert.equal('three', select(2, r:ask 'a'))
  end)

  it('notices an edit that came between the first reading and the watching', function()
    local r = reload.start({ models = { a = '--respond one' } }, { args = { '-watch-config' } })
    wait.never(function() return r:taken() > 0 end, 0.2, 'a reload by itself')
    r.srv:stop()
    for _ = 1, 10 do
      local dir = net.tmpdir()
      r.models.a = '--respond one'
      server.write_file(dir .. '/config.yaml', r:text())
      r.models.a = '--respond two'
      local srv = server.start { args = { '-config', dir .. '/config.yaml', '-watch-config' }, no_wait = true }
      net.nap(math.random() * 0.1)
      server.write_file(dir .. '/config.yaml', r:text())
      wait.till(function() return srv:log():find 'listening on' end, 20, 'luaswap to listen')
      srv.port = tonumber(srv:log():match 'listening on http://[^%s:]+:(%d+)')
      wait.till(function()
        return srv:chat 'a':json().choices[1].message.content == 'two'
      end, 10, 'the edit')
      srv:stop()
    end
  end)

  it('follows a symbolic link that is pointed elsewhere (as Kubernetes does)', function()
    local r = reload.start({ models = { a = '--respond one' } })
    local text_one = r:text()
    r.models.a = '--respond two'
    local text_two = r:text()
    r.srv:stop()
    local dir = net.tmpdir()
    os.execute(('mkdir %s/v1 %s/v2 && ln -s v1 %s/data && ln -s data/config.yaml %s/config.yaml'):format(dir, dir, dir, dir))
    server.write_file(dir .. '/v1/config.yaml', text_one)
    server.write_file(dir .. '/v2/config.yaml', text_two)
    local srv = server.start { args = { '--config=' .. dir .. '/config.yaml', '--watch-config=true' } }
    assert.equal('one', srv:chat 'a':json().choices[1].message.content)
    os.execute(('ln -s v2 %s/new && mv -T %s/new %s/data'):format(dir, dir, dir))
    wait.till(function() return srv:log():find('reloaded; models', 1, true) end, 10, 'the reload')
    assert.equal('two', srv:chat 'a':json().choices[1].message.content)
  end)

  it('watches a folder: files that come, change and go', function()
    local r = reload.start({ models = { a = '--respond a' } })
    local base = r:text()
    r.srv:stop()
    local dir = net.tmpdir()
    server.write_file(dir .. '/1.yaml', base)
    local srv = server.start { args = { '-config-dir', dir, '-watch-config' } }
    server.write_file(dir .. '/2.yaml', 'models:\n' .. server.model('b', '--silent --respond b'))
    wait.till(function() return srv:chat 'b'.status == 200 end, 10, 'b')
    server.write_file(dir .. '/2.yaml', 'models:\n' .. server.model('b', '--silent --respond bb'))
    wait.till(function() return srv:chat 'b':json().choices[1].message.content == 'bb' end, 10, 'the new b')
    os.remove(dir .. '/2.yaml')
    wait.till(function() return srv:chat 'b'.status == 404 end, 10, 'the end of b')
    assert.equal(200, srv:chat 'a'.status)
  end)

  it('watches the files of policies: an edit, a broken one and its repair, one that was added by a reload', function()
    local dir = net.tmpdir()
    local function policy(name, to, text)
      server.write_file(dir .. '/' .. name, text or ('return { api = 1, name = "p", route = function(req) ' ..
        'if req.model == "%s" then return { model = "%s" } end end }'):format(name, to))
    end
    local r
    local function goes(name, to)
      wait.till(function()
        local status, text = r:ask(name)
        return text == to, ('%s %s'):format(status, text)
      end, 10, name .. ' to go to ' .. to)
    end
    policy('one.lua', 'a')
    r = reload.start({ models = { a = '--respond A', b = '--respond B' },
      top = 'policies: [ { file: ' .. dir .. '/one.lua } ]' }, { args = { '-watch-config' } })
    goes('one.lua', 'A')
    policy('one.lua', 'b')
    goes('one.lua', 'B')
    policy('one.lua', nil, 'return { api = 1, name = ')
    r:await_refused(1)
    assert.equal('B', select(2, r:ask 'one.lua'))
    policy('one.lua', 'a')
    goes('one.lua', 'A')
    -- a configuration that names a policy that does not load: its repair is enough
    policy('two.lua', nil, 'return {')
    r.top = ('policies: [ { file: %s/one.lua }, { file: %s/two.lua } ]'):format(dir, dir)
    r:write()
    r:await_refused(2)
    policy('two.lua', nil, 'return { api = 1, name = "q", route = function(req) ' ..
      'if req.model == "two.lua" then return { model = "b" } end end }')
    goes('two.lua', 'B')
    -- one that is gone from the configuration is of no interest any more
    r.top = ('policies: [ { file: %s/two.lua } ]'):format(dir)
    local taken = r:taken()
    r:write()
    r:await(taken + 1)
    policy('one.lua', 'b')
    policy('two.lua', nil, 'return { api = 1, name = "q", route = function(req) ' ..
      'if req.model == "two.lua" then return { model = "a" } end end }')
    goes('two.lua', 'A')
    assert.equal(404, (r:ask 'one.lua'))
  end)

  it('tells of a bad edit once and takes the next good one', function()
    local r = reload.start({ models = { a = '--respond one' } }, { args = { '-watch-config' } })
    r:ask 'a'
    r:write 'models: [ not a map'
    r:await_refused(1)
    assert.equal('one', select(2, r:ask 'a'))
    r.models.a = '--respond two'
    r:write()
    r:await(1)
    assert.equal('two', select(2, r:ask 'a'))
  end)
end)
