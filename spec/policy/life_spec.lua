-- life_spec.lua: loading, settings, several policies, strikes and ejection, coming back, reload with state, shadow.
local kit = require 'spec.policy.kit'

local function refused(text, with, options)
  local _, err = kit.world({ type(text) == 'string' and { text = text } or text }, options)
  assert(err, 'loaded')
  assert(err:find(with, 1, true), err)
end

describe('a policy file', function()
  after_each(kit.clean)

  it('says what it is', function()
    refused('return 7', 'must return a table')
    refused('return {}', 'api is missing')
    refused('return { api = 99, name = "x" }', 'newer release')
    refused('return { api = 0, name = "x" }', 'oldest level')
    refused('return { api = 1 }', 'name is missing')
    refused('return { api = 1, name = "No Good" }', 'name must be')
    refused('return { api = 1, name = "x", pick_next = 7 }', 'a function expected')
    refused('return { api = 1, name = "x", requires = { "wings" } }', 'wings')
    refused('return { api = 1, name = "x", requires = { "gpu" } }', 'gpu')
    refused('return { api = 1, name = "x", rewrite = function() end }', 'body')
    refused('return { api = 1, name = "x", tick_interval = 0 }', 'tick_interval')
    refused('return {', 'expected')
    refused({ file = '/nowhere/x.lua' }, 'cannot read')
    assert(kit.world { { text = 'return { api = 1, name = "x", requires = { "gpu", "body" } }' } } == nil)
    assert(kit.world({ { text = 'return { api = 1, name = "x", requires = { "gpu", "body" } }' } }, { gpu_mb = 100 }))
  end)

  it('with an unknown member is loaded with a hint', function()
    local w = assert(kit.world { { text = 'return { api = 1, name = "x", on_sevre_done = function() end }' } })
    assert.is_truthy(w:text('messages'):find('did you mean on_serve_done?', 1, true))
  end)

  it('gets settings that its schema allows', function()
    local schema = [[return { api = 1, name = "x", settings = { num = { type = 'number', default = 5, min = 1, max = 10 },
      i = { type = 'integer', default = 1 }, s = { type = 'string', default = 'a', enum = { 'a', 'b' } }, l = { type = 'list', default = {} },
      m = { type = 'map' } }, on_start = function() local C = luaswap.config
        luaswap.log.info('num=%s i=%s s=%s l=%d m=%s', C.num, C.i, C.s, #C.l, C.m and C.m.x) assert(not pcall(function() C.num = 1 end))
        assert(not pcall(function() C.l[1] = 1 end)) for k in pairs(C) do assert(k) end end }]]
    local w = assert(kit.world { { text = schema, settings = { num = 7, l = { 'p', 'q' }, m = { x = 3 } } } })
    assert.is_truthy(w:text('messages'):find('num=7 i=1 s=a l=2 m=3', 1, true), w:text 'messages')
    assert.equal(7, kit.status(w, 1).settings.num)
    refused({ text = schema, settings = { num = 11 } }, 'more than')
    refused({ text = schema, settings = { num = 'x' } }, 'number expected')
    refused({ text = schema, settings = { i = 1.5 } }, 'integer expected')
    refused({ text = schema, settings = { s = 'c' } }, 'not one of')
    refused({ text = schema, settings = { l = { a = 1 } } }, 'list expected')
    refused({ text = schema, settings = { nun = 1 } }, 'did you mean num?')
    refused('local x = luaswap.config.n return { api = 1, name = "x" }', 'is filled when')
  end)
end)

describe('several policies', function()
  after_each(kit.clean)

  it('share the ops; two claims on one are an error that names both', function()
    local a = 'return { api = 1, name = "a", pick_next = function(q) return q:first() end }'
    local b = 'return { api = 1, name = "b", evict_cost = function() return 1 end, on_serve_done = function() luaswap.metrics.counter("n") end }'
    local w = assert(kit.world { a, b })
    kit.load(w, 9)
    w:run()
    assert.equal(9, w:result().served)
    local _, err = kit.world { a, 'return { api = 1, name = "c", pick_next = function() end }' }
    assert.is_truthy(err:find('pick_next', 1, true) and select(2, err:gsub('policy%.lua', '')) == 2, err)
    _, err = kit.world { a, a }
    assert.is_truthy(err:find 'same name')
  end)

  it('answer at the door in their order', function()
    local w = assert(kit.world { 'return { api = 1, name = "a", on_request = function() return { priority = 1 } end }',
      'return { api = 1, name = "b", on_request = function(r) assert(r.priority == 1) return luaswap.reject(429) end }' })
    kit.load(w, 3)
    w:run()
    assert.equal(3, w:result().rejected)
    assert.equal(0, w:result().errors, w:text 'messages')
  end)
end)

describe('ejection', function()
  after_each(kit.clean)

  it('comes with the third strike in a minute, says so and leaves a dump', function()
    local w = assert(kit.world { { text = kit.text 'pick_next = function() error("oh") end, dump = function() return { n = 1 } end' } })
    kit.load(w, 10)
    w:run()
    local s = kit.status(w, 1)
    assert.equal('ejected', s.state)
    assert.equal('error', s.eject.kind)
    assert.equal(3, s.calls.pick_next.errors)
    assert.equal(10, w:result().served)
    assert.equal('builtin:fifo', kit.status(w).scheduler.in_charge)
    local d = kit.decode(w:text('dump', 't'))
    assert.equal('error', d.kind)
    assert.equal(1, d.dump.n)
    assert.is_truthy(d.message:find 'oh')
    assert.is_truthy(w:text('messages'):find 'ejected')
    assert.is_truthy(w:text('metrics'):find('luaswap_policy_ejections_total{policy="t",kind="error"} 1', 1, true))
  end)

  it('of a policy that holds an idle machine is a stall', function()
    local w = assert(kit.world { { text = kit.text 'pick_next = function() return luaswap.hold(3) end', hold_limit = 10 } })
    w:request { at = 0, model = 'a' }
    w:run()
    assert.equal('stall', kit.status(w, 1).eject.kind)
    assert.equal(1, w:result().served)
  end)

  it('for memory is immediate', function()
    local w = assert(kit.world { { text = kit.text 'on_serve_start = function() local t = {} for i = 1, 1e9 do t[i] = {} end end', memory_mb = 1, instructions = 1e9 } })
    kit.load(w, 5)
    w:run()
    assert.equal('memory', kit.status(w, 1).eject.kind)
  end)

  it('with retry comes back fresh: 30 s, 2 min, 10 min, then no more', function()
    local w = assert(kit.world { { text = kit.text 'on_serve_start = function() error("x") end', on_eject = 'retry' } })
    for i = 1, 300 do w:request { at = i * 5, model = 'a', serve_s = 0.1 } end
    w:run()
    local s = kit.status(w, 1)
    assert.equal(4, s.eject.count)
    assert.equal('ejected', s.state)
    assert.equal(300, w:result().served)
  end)

  it('can be ended and begun by hand', function()
    local w = assert(kit.world { kit.text 'pick_next = function(q) return q:first() end' })
    assert(w:change('disable', 't'))
    assert.equal('disabled', kit.status(w, 1).state)
    kit.load(w, 5)
    w:run()
    assert.equal(0, w:result().by_policy)
    assert(w:change('resume', 't'))
    assert.equal('active', kit.status(w, 1).state)
    local _, err = w:change('reload', 'nobody')
    assert.is_truthy(err)
  end)

  it('of a required policy closes the door', function()
    local w = assert(kit.world { { text = kit.text 'on_request = function() error("x") end', required = true } })
    kit.load(w, 6)
    w:run()
    assert.equal(6, w:result().rejected)
    w = assert(kit.world { { text = kit.text 'route = function() error("x") end', required = true } })
    kit.load(w, 6)
    w:run()
    assert.equal(6, w:result().rejected)
  end)
end)

describe('reload', function()
  after_each(kit.clean)

  it('carries the state over, cycles too, and refuses what cannot be carried', function()
    local path = kit.file [[local S = luaswap.state
      return { api = 1, name = 't', version = '1', on_start = function(i) S.n = (S.n or 0) + 1 S.t = S.t or { a = { 1, 2.5, true, 'x\0y' } }
        S.self = S S.again = S.t luaswap.log.info('%s %d', i.reason, S.n) end, dump = function() return { n = S.n } end }]]
    local w = assert(kit.world { { file = path } })
    assert(w:change('reload', 't'))
    assert(w:change('reload', 't'))
    assert.is_truthy(w:text('messages'):find('reload 3', 1, true), w:text 'messages')
    kit.write(path, [[local S = luaswap.state return { api = 1, name = 't', version = '2',
      migrate = function(old, v) assert(v == '1' and old.self == old and old.again == old.t and old.t.a[4] == 'x\0y') return { n = old.n * 10 } end,
      on_start = function() luaswap.log.info('now %d', S.n) end }]])
    assert(w:change('reload', 't'))
    assert.is_truthy(w:text('messages'):find('now 30', 1, true), w:text 'messages')
    -- broken files leave the old one where it is
    kit.write(path, 'return {')
    local ok, err = w:change('reload', 't')
    assert(not ok and err)
    kit.write(path, [[return { api = 1, name = 't', on_start = function() error('no start') end }]])
    ok, err = w:change('reload', 't')
    assert(not ok and err:find 'no start', err)
    assert.equal('2', kit.status(w, 1).version)
    assert.equal('active', kit.status(w, 1).state)
  end)

  it('names what cannot be kept', function()
    local path = kit.file [[return { api = 1, name = 't', on_start = function() luaswap.state.cache = { k = { fn = function() end } } end }]]
    local w = assert(kit.world { { file = path } })
    local ok, err = w:change('reload', 't')
    assert(not ok and err:find('state.cache.k.fn', 1, true), err)
  end)

  it('a hundred times under load loses nothing', function()
    local path = kit.file(kit.text 'pick_next = function(q) return q:first("ready") or q:first() end, on_serve_done = function() luaswap.state.n = (luaswap.state.n or 0) + 1 end, dump = function() return { n = luaswap.state.n } end')
    local w = assert(kit.world { { file = path } })
    kit.load(w, 200)
    for i = 1, 100 do
      w:run(i * 1.5)
      assert(w:change('reload', 't'))
    end
    w:run()
    assert.equal(200, w:result().served)
    assert.equal(200, kit.decode(w:text('dump', 't')).dump.n)
  end)

  it('keeps the state in a file', function()
    local path = kit.file(kit.text 'on_start = function() luaswap.state.n = (luaswap.state.n or 0) + 1 luaswap.log.info("n %d", luaswap.state.n) end, tick = function() end')
    local state = path:gsub('policy.lua', 'state')
    local w = assert(kit.world { { file = path, state_file = state } })
    w:run(70)
    w:free()
    w = assert(kit.world { { file = path, state_file = state } })
    assert.is_truthy(w:text('messages'):find 'n 2')
    kit.write(state, 'rubbish')
    w = assert(kit.world { { file = path, state_file = state } })
    assert.is_truthy(w:text('messages'):find 'n 1')
  end)
end)

describe('shadow mode', function()
  after_each(kit.clean)

  it('asks, compares and changes nothing', function()
    local text = kit.text 'pick_next = function(q) return q[2] or q:first() end, plan_swap = function() return { evict = {} } end, tick = function() luaswap.preload("c") end'
    local w = assert(kit.world { { text = text, mode = 'shadow' } })
    kit.load(w, 30)
    w:run()
    local b = assert(kit.world {})
    kit.load(b, 30)
    b:run()
    assert.equal(b:result().loads, w:result().loads)
    assert.equal(30, w:result().served)
    local s = kit.status(w, 1)
    assert.is_table(s.shadow.agreement)
    assert.equal('builtin:fifo', kit.status(w).scheduler.in_charge)
  end)

  -- Three models of which two fit. Apart: one request after the other; else a line forms.
  local function ran(members, apart)
    local o = { gpu_mb = 24000, models = {} }
    for _, id in ipairs { 'a', 'b', 'c' } do
      o.models[#o.models + 1] = { id = id, load_s = 5, limit = 1, vram_mb = 10000, ttl_s = 300, group_swap = not apart, group_exclusive = not apart }
    end
    local w = assert(kit.world(members and { { text = kit.text(members), mode = 'shadow' } } or {}, o))
    if apart then
      for i = 0, 20 do w:request { at = i * 20, model = ('abc'):sub(i % 3 + 1, i % 3 + 1), serve_s = 1 } end
    else
      kit.load(w, 60)
    end
    w:run()
    return w:result(), members and kit.status(w, 1)
  end

  for op, case in pairs {
    score = { same = 'function() return 0 end', other = 'function(r) return r.id end' },
    evict_cost = { same = 'function(m) return -m.idle end', other = 'function(m) return m.idle end' },
    idle_ttl = { same = 'function() return 300 end', other = 'function() return 31 end' },
  } do
    it('compares ' .. op .. ' too', function()
      local apart = op ~= 'score'
      local plain = ran(nil, apart)
      for kind, body in pairs(case) do
        local result, s = ran(op .. ' = ' .. body, apart)
        assert.equal(plain.loads, result.loads)
        assert.same(plain.wait_s, result.wait_s)
        assert.equal('active', s.state)
        local n = assert(s.shadow.agreement[op], 'never compared')
        if kind == 'same' then assert.equal(0, n.other, s.shadow.differences[1]) end
        assert.is_true(n[kind] > 0, kind)
        if kind == 'other' then assert.matches(op, s.shadow.differences[1], 1, true) end
      end
    end)
  end
end)

describe('the library', function()
  after_each(kit.clean)

  local function runs(code, options)
    local w = assert(kit.world({ kit.text('on_start = function() ' .. code .. ' luaswap.log.info("passed") end') }, options))
    assert(w:text('messages'):find 'passed', w:text 'messages')
  end

  it('reads and writes JSON', function()
    runs [[local J = luaswap.json
      for _, s in ipairs { '{"a":[1,2.5,true,null,"x\\u00e4\\n"]}', '[]', '"\\ud83d\\ude00"', '-0.5e3', '{}' } do assert(J.decode(s) ~= nil, s) end
      for _, s in ipairs { '', '{', '[1,]', '{"a"}', 'nul', '01', '1.', '"\\x"', '"', '[1] 2', '\xff', '"\1"', ('['):rep(100) } do
        local v, err = J.decode(s) assert(v == nil and err, s) end
      assert(J.decode('null') == J.null and J.encode(J.null) == 'null')
      local t = J.decode('{"a":[1,{"b":"c"}]}') assert(t.a[2].b == 'c' and J.encode(t) == '{"a":[1,{"b":"c"}]}')
      assert(J.encode({ x = 1.5, y = 'q"' }) == '{"x":1.5,"y":"q\\""}' and J.encode({}) == '{}')
      local c = {} c.c = c assert(not pcall(J.encode, c)) assert(not pcall(J.encode, print or function() end)) assert(not pcall(J.encode, 0/0))]]
  end)

  it('has the helpers in Lua', function()
    runs [[local keys = {} for k in luaswap.sorted_pairs { b = 1, a = 2, [3] = 1, [1] = 1 } do keys[#keys + 1] = tostring(k) end
      assert(table.concat(keys) == '13ab')
      local e = luaswap.ewma(0.5) assert(e:value() == nil) e:add(10) e:add(20) assert(e:value() == 15)
      local h = luaswap.heap() for _, x in ipairs { 5, 3, 9, 1, 7 } do h:push(x) end assert(#h == 5 and h:peek() == 1)
      local s = '' while #h > 0 do s = s .. h:pop() end assert(s == '13579' and h:pop() == nil)
      local d = luaswap.heap(function(a, b) return a > b end) d:push(1) d:push(2) assert(d:pop() == 2)
      local r = luaswap.ring(3) for i = 1, 5 do r:push(i) end assert(#r == 3 and r[1] == 3 and r[3] == 5 and r[4] == nil)
      local w = luaswap.window(10) w:add(5) w:add(6) assert(w:sum() == 11 and w:count() == 2)
      assert(luaswap.hash('a') == luaswap.hash('a') and luaswap.hash('a') ~= luaswap.hash('b'))]]
  end)

  it('knows its phases', function()
    local _, err = kit.world { 'luaswap.preload("a") return { api = 1, name = "x" }' }
    assert.is_truthy(err:find('not available here', 1, true) and err:find('decisions', 1, true), err)
    runs [[local ok, err = pcall(luaswap.http.get, 'http://x/') assert(not ok and err:find 'not available', err)]]
    runs [[assert(not pcall(luaswap.hold, 1))]]
    runs [[local ok, err = luaswap.preload('nobody') assert(ok == nil and err)]]
    runs [[local n = 0 for _ = 1, 40 do if luaswap.kick() then n = n + 1 end end assert(n == 32, n)]]
  end)

  it('logs at most fifty lines a second, measures, knows the time', function()
    local w = assert(kit.world({ kit.text 'on_start = function() for i = 1, 200 do luaswap.log.info("line %d", i) end end, tick = function() luaswap.metrics.gauge("g", 2, { a = "b" }) luaswap.metrics.histogram("h", 1) luaswap.metrics.counter("c") end' }))
    local _, n = w:text('messages'):gsub('\n', '')
    assert.equal(50, n)
    w:run(3)
    local m = w:text 'metrics'
    assert.is_truthy(m:find('luaswap_policy_user_g{policy="t",a="b"} 2', 1, true), m)
    assert.is_truthy(m:find('luaswap_policy_user_c{policy="t"} 3', 1, true), m)
    runs([[local t = luaswap.wall() assert(t.year == 1970 and t.hour == 9 and t.wday == 5 and t.unix == 32400 and t.yday == 1)]], { start_unix = 32400 })
  end)

  it('runs timers as tasks', function()
    local w = assert(kit.world { kit.text [[on_start = function()
      luaswap.timer.after(1, function() luaswap.log.info('once') end)
      local n = 0
      local h h = luaswap.timer.every(1, function() n = n + 1 luaswap.log.info('again %d', n) if n == 3 then h:stop() end end)
      for _ = 1, 100 do luaswap.timer.after(1000, function() end) end
      local t, err = luaswap.timer.after(1, function() end) assert(t == nil and err)
    end]] })
    w:run(10)
    local m = w:text 'messages'
    assert.is_truthy(m:find 'once')
    assert.is_truthy(m:find 'again 3' and not m:find 'again 4', m)
  end)

  it('describes itself', function()
    local policy = require 'spec.policy'
    assert.is_table(kit.decode(policy.api 'json').hooks)
    assert.is_truthy(policy.api('luacats'):find('---@class luaswap.Policy', 1, true))
    assert.is_truthy(policy.api('markdown'):find('`pick_next`', 1, true))
    -- what is shipped is what would be made now
    local f = assert(io.open(require 'spec.shell'.root .. '/lua/luaswap/meta.lua'))
    assert.equal(policy.api 'luacats', f:read 'a')
    f:close()
    assert.is_function(load(policy.api 'luacats'))
  end)

  it('has every function of api.def, and no other', function()
    local policy = require 'spec.policy'
    local names = {}
    for _, f in ipairs(kit.decode(policy.api 'json').functions) do names[f.name] = true end
    local list = {}
    for n in pairs(names) do list[#list + 1] = ('%q'):format(n) end
    table.sort(list)
    runs(([[for _, n in ipairs { %s } do local v = luaswap for part in n:gsub('^luaswap%%.', ''):gmatch('[^.]+') do v = v[part] end
      assert(type(v) == 'function', n) end]]):format(table.concat(list, ',')))
    local w = assert(kit.world { kit.text [[on_start = function() for k, v in pairs(luaswap) do
      if type(v) == 'function' then luaswap.log.info('has luaswap.%s', k) end end end]] })
    for n in w:text('messages'):gmatch 'has (%S+)' do assert(names[n], n .. ' is not in api.def') end
  end)
end)
