-- record_spec.lua: what the running server remembers of its traffic, as a trace in memory and in files, and that a
-- replay of it in the simulator agrees with what happened.
local http = require 'spec.support.http_raw'
local json = require 'spec.support.json'
local net = require 'spec.net'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local function lines(text, kind)
  local list = {}
  for line in text:gmatch '[^\n]+' do
    local v = json.decode(line)
    if not kind or v.kind == kind then list[#list + 1] = v end
  end
  return list
end

local function luaswap(...)
  local out, err = net.tmpdir() .. '/out', net.tmpdir() .. '/err'
  local argv = { server.bin(), ... }
  argv.stdout, argv.stderr = out, err
  local p = assert(net.spawn(argv))
  local code = p:wait(60 * wait.slow)
  return code, server.read_file(out), server.read_file(err)
end

local function trace(srv, query) return srv:get('/api/scheduler/trace' .. (query or '')).body end

-- All of the requests have ended, also in the books.
local function remembered(srv, n)
  return wait.till(function()
    local text = trace(srv)
    local have = #lines(text, 'req')
    return have == n and text, have
  end, 10, ('%d records'):format(n))
end

describe('recorded traffic', function()
  after_each(server.stop_all)

  it('holds times and models, but no texts, keys, sessions or made-up paths', function()
    local srv = server.start { config = 'apiKeys: [ geheim-1, geheim-2 ]\nlogLevel: debug\n' .. server.config('', {
      { 'a', '--silent', { ttl = 600 } }, { 'b', '--silent' } }) }
    local function ask(model, key, session, path)
      local messages = { { role = 'user', content = 'prompt-text' } }
      return srv:post(path or '/v1/chat/completions', { model = model, messages = messages },
        { headers = { Authorization = 'Bearer ' .. key, ['X-Session-ID'] = session } })
    end
    assert.equal(200, ask('a', 'geheim-1', 'sitzung-1').status)
    assert.equal(200, ask('b', 'geheim-2', 'sitzung-2').status)
    assert.equal(200, ask('b', 'geheim-1', 'sitzung-1', '/upstream/b/v1/chat/completions?geheimer=weg').status)
    local head = { headers = { ['X-Api-Key'] = 'geheim-1' } }
    local text = wait.till(function()
      local t = srv:get('/api/scheduler/trace', head).body
      return #lines(t, 'req') == 3 and t
    end)
    for _, word in ipairs { 'geheim', 'sitzung', 'prompt', 'weg', '127.0.0.1' } do
      assert.is_nil(text:find(word, 1, true), word .. ' in ' .. text)
    end
    assert.equal(401, srv:get('/api/scheduler/trace').status)
    local world = lines(text, 'world')[1]
    assert.equal('serial', world.scheduler)
    assert.matches('^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[+-]%d%d:%d%d$', world.start)
    local models = lines(text, 'model')
    assert.equal('a', models[1].id)
    assert.equal(600, models[1].ttl_s)
    local r = lines(text, 'req')
    assert.equal('a', r[1].model)
    assert.equal('/v1/chat/completions', r[1].path)
    assert.equal('other', r[3].path)
    assert.equal('chat', r[1].class)
    assert.equal(0, r[1].t)
    assert.equal(200, r[2].status)
    assert.is_true(r[2].wait_s > 0 and r[2].serve_s >= 0 and r[2].t >= r[1].t)
    -- one number for each key, the same for the same one
    assert.equal(r[1].key, r[3].key)
    assert.are_not.equal(r[1].key, r[2].key)
    assert.matches('^k%d+$', r[1].key)
    assert.equal(r[1].session, r[3].session)
    local loads = {}
    for _, m in ipairs(lines(text, 'measure')) do if m.load_s then loads[#loads + 1] = m.model end end
    assert.same({ 'a', 'b' }, loads)
  end)

  it('is bounded, can be switched off, and its size changes with a reload', function()
    local models = server.config('', { { 'a', '--silent' } })
    local srv = server.start { config = 'recording: { requests: 3 }\n' .. models }
    for _ = 1, 5 do assert.equal(200, srv:chat 'a'.status) end
    local r = lines(remembered(srv, 3), 'req')
    assert.equal(5, r[3].id - r[1].id + 3)
    assert.equal(1, #lines(trace(srv, '?max=1'), 'req'))
    local function change(text)
      local before = srv:get('/debug/state'):json().reloads
      server.write_file(srv.config_path, text .. server.read_file(srv.config_path):gsub('^recording:[^\n]*\n', ''))
      srv.proc:kill 'HUP'
      wait.till(function() return srv:get('/debug/state'):json().reloads > before end, 10, 'the reload')
    end
    change 'recording: { requests: 2 }\n'
    assert.equal(2, #lines(trace(srv), 'req'))
    -- one is under way (its client does not read yet) while the memory goes away
    local c = http.connect(srv.port)
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { size = 33554432 } } })
    wait.till(function() return srv:get('/debug/state'):json().scheduler.inflight > 0 end, 10, 'its turn')
    change 'recording: { requests: 0 }\n'
    assert.equal(33554432, #c:response(30).body)
    c:close()
    assert.equal(404, srv:get('/api/scheduler/trace').status)
    assert.equal(200, srv:chat 'a'.status)
    change 'recording: { requests: 10 }\n'
    assert.equal(200, srv:chat 'a'.status)
    remembered(srv, 1)
  end)

  it('says who left, who was refused and what happened to models', function()
    local srv = server.start { config = 'hooks: { on_startup: { preload: [ b ] } }\n' .. server.config('', {
      { 'a', '--silent', { concurrencyLimit = 1 } }, { 'b', '--silent' } }) }
    wait.till(function() return srv:get('/running').body:find('"ready"', 1, true) end, 20)
    local c = srv:connect()
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { wait_ms = 60000 } } })
    wait.till(function() return #(srv:get('/api/scheduler'):json().serving) == 1 end, 20, 'it to be served')
    assert.equal(429, srv:chat 'a'.status)
    c:close()
    local text = remembered(srv, 2)
    srv:post('/api/models/unload', '')
    local r = lines(text, 'req')
    assert.equal(429, r[1].status)
    assert.is_nil(r[1].serve_s)
    assert.is_true(r[2].cancel_t >= 0)
    local facts = lines(trace(srv), 'fact')
    assert.equal('', facts[#facts].unload)
    -- and the simulator takes it
    local path = server.write_file(net.tmpdir() .. '/t.jsonl', trace(srv))
    local code, out, err = luaswap('simulate', path, '--json')
    assert.equal(0, code, err)
    assert.equal(2, json.decode(out:match '^[^\n]+').requests)
  end)

  it('goes to files that begin anew at a size, each with its world', function()
    local dir = net.tmpdir()
    local path = dir .. '/t.jsonl'
    server.write_file(path, 'of an earlier life\n')
    local srv = server.start { config = ('recording: { file: %s, fileSize: 64KiB, files: 2 }\n'):format(path) ..
      server.config('', { { 'a', '--silent' } }) }
    local entries = {}
    for i = 1, 900 do entries[i] = { port = srv.port, path = '/v1/chat/completions', body = { model = 'a' } } end
    http.all(entries, 60 * wait.slow, { stagger = 0 })
    for _, e in ipairs(entries) do assert.equal(200, e.response and e.response.status) end
    srv:stop()
    local n, seen = 0, {}
    for _, name in ipairs { path .. '.2', path .. '.1', path } do
      local text = server.read_file(name) or ''
      if text ~= 'of an earlier life\n' and text ~= '' then
        assert.equal('world', json.decode(text:match '^[^\n]+').kind)
        for _, r in ipairs(lines(text, 'req')) do
          n = n + 1
          assert.is_nil(seen[r.id])
          seen[r.id] = true
          assert.is_true(r.t >= 0)
        end
        local code, _, err = luaswap('simulate', name, '--json')
        assert.equal(0, code, err)
      end
    end
    assert.is_true(#server.read_file(path .. '.1') >= 64 * 1024)
    assert.is_true(n >= 300 and n <= 900, n) -- the oldest may be gone
    assert.is_nil(server.read_file(path .. '.3'))
  end)

  it('goes on when its file cannot be written', function()
    local srv = server.start { config = 'recording: { file: /nonexistent/t.jsonl }\n' ..
      server.config('', { { 'a', '--silent' } }) }
    assert.equal(200, srv:chat 'a'.status)
    wait.till(function() return srv:log():find('/nonexistent/t.jsonl: .* is not recorded') end, 10, 'the complaint')
    assert.equal(200, srv:chat 'a'.status)
  end)

  it('is fetched by luaswap trace record', function()
    local srv = server.start { config = 'apiKeys: [ k ]\n' .. server.config('', { { 'a', '--silent' } }) }
    local h = { headers = { ['X-Api-Key'] = 'k' } }
    assert.equal(200, srv:chat('a', nil, h).status)
    wait.till(function() return #lines(srv:get('/api/scheduler/trace', h).body, 'req') == 1 end)
    local code, out = luaswap('trace', 'record', '--server', srv.url, '--key', 'k')
    assert.equal(0, code)
    assert.equal('a', lines(out, 'req')[1].model)
    local err
    code, out, err = luaswap('trace', 'record', '--server', srv.url, '--key', 'wrong')
    assert.equal(2, code)
    assert.equal('', out)
    assert.matches('401', err)
    assert.equal(1, (luaswap('trace', 'record', '--seconds', 'x')))
    srv:stop()
    assert.equal(2, (luaswap('trace', 'record', '--server', srv.url)))
  end)
end)

describe('a replay in the simulator', function()
  after_each(server.stop_all)

  -- Requests at seeded times over four models; the same list whatever the scheduler is.
  local function list(n, seed, stay)
    local state, model, out = seed, 1, {}
    local function draw(k)
      state = (state * 1103515245 + 12345) % 2147483648
      return state // 65536 % k
    end
    for i = 1, n do
      if draw(100) >= stay then model = 1 + draw(4) end
      out[i] = { ({ 'a', 'b', 'c', 'd' })[model], 'r' .. i, { wait_ms = 1 + draw(12) } }
    end
    return out
  end

  local function compare(use, n, stay, stagger, extra)
    local o = { use = use, models = {}, top = 'metricsMaxInMemory: 10\n' }
    for i, id in ipairs { 'a', 'b', 'c', 'd' } do
      o.models[i] = { id, ('--load-ms %d'):format(10 * i), { concurrencyLimit = 1000, unloadTimeout = 5 } }
    end
    for k, v in pairs(extra or {}) do o[k] = v end
    local t = traffic.start(o)
    for i, r in ipairs(t:all(list(n, 7, stay), stagger)) do assert.equal(200, r.status, i) end
    local text = remembered(t.srv, n)
    local live = t.srv:get('/api/scheduler'):json().totals.loads
    assert.equal(live, #t:loads())
    local code, out, err = luaswap('simulate', server.write_file(net.tmpdir() .. '/t.jsonl', text), '--json')
    assert.equal(0, code, err)
    local run = json.decode(out:match '^[^\n]+')
    assert.equal(n, run.served)
    local allowed = math.max(1, math.floor(0.05 * live))
    assert.is_true(math.abs(run.loads - live) <= allowed,
      ('%s: %d loads live, %d in the replay'):format(use, live, run.loads))
    if os.getenv 'LUASWAP_SPEC_TELL' then print(use, live, run.loads) end
    return live, run.loads
  end

  it('agrees on the loads under serial', function()
    local live, replayed = compare('serial', 150, 70, 0.01)
    assert.is_true(live >= 20, live)
    assert.equal(live, replayed) -- strict order: nothing that time could change
  end)

  it('agrees on the loads under fifo', function()
    local live = compare('fifo', 300, 50, 0.02)
    assert.is_true(live >= 10, live)
  end)

  it('agrees under fifo with groups whose members run together', function()
    compare('fifo', 200, 50, 0.02, {
      groups = { x = { swap = false, members = { 'a', 'b' } }, y = { members = { 'c', 'd' } } } })
  end)

  it('agrees under fifo with a matrix', function()
    compare('fifo', 200, 50, 0.02, {
      matrix = 'vars: { p: a, q: b }\nsets: { s: "p & q", u: "c | d" }\nevict_costs: { a: 3 }\n' })
  end)
end)
