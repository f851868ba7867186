-- hooks_spec.lua: each hook absent, nil, value, hold, raising, rubbish, too long, too much memory; with fifo and serial.
local kit = require 'spec.policy.kit'

-- A right answer of each hook, and a hold where that is one.
local hooks = {
  route = { value = 'function(r) return { model = r.model, tags = { x = 1 } } end' },
  on_request = { value = 'function() return { priority = 3, class = "c", deadline = 10 } end' },
  score = { value = 'function(r) return r.age end' },
  pick_next = { value = 'function(q) return q:first() end', hold = 'function(q) if q.inflight > 0 then return luaswap.hold(1) end return q:first() end' },
  plan_swap = { value = 'function(m) return luaswap.builtin.plan_swap(m) end',
    hold = 'function(m, q) if q:best("age", m.id).age < 1 then return luaswap.hold(0.5) end end' },
  evict_cost = { value = 'function(m, t) return m.idle end' },
  idle_ttl = { value = 'function(m) return 30 end' },
  on_start = {}, on_serve_start = {}, on_serve_done = {}, on_cancel = {}, on_swap_start = {}, on_swap_done = {}, on_model = {},
  on_unload = {}, tick = {}, after_ready = {}, before_stop = {},
}
local bad = {
  raises = 'function() error("no") end', loops = 'function() while true do end end',
  fills = 'function() local t = {} for i = 1, 1e9 do t[i] = { i } end end',
}
local decides = { route = true, on_request = true, score = true, pick_next = true, plan_swap = true, evict_cost = true, idle_ttl = true }

local function run(scheduler, member)
  local w = assert(kit.world({ { text = kit.text(member), instructions = 30000, memory_mb = 1 } }, { scheduler = scheduler, reorder = true }))
  kit.load(w, 20)
  w:request { at = 3.3, model = 'b', serve_s = 9, cancel_s = 0.1, id = 99 }
  w:unload("a", 900)
  w:run()
  local r = w:result()
  assert.equal(21, r.served + r.cancelled)
  return w, r
end

describe('every hook', function()
  after_each(kit.clean)

  for _, scheduler in ipairs { 'fifo', 'serial' } do
    for name, kind in pairs(hooks) do
      it(('%s beside %s'):format(name, scheduler), function()
        local w, r = run(scheduler, ('%s = %s'):format(name, kind.value or 'function() end'))
        assert.equal(0, r.errors + r.invalid + r.ejections, w:text 'messages')
        w, r = run(scheduler, ('%s = function() return nil end'):format(name))
        assert.equal(0, r.errors + r.invalid, w:text 'messages')
        if kind.hold then
          w, r = run(scheduler, ('%s = %s'):format(name, kind.hold))
          assert.equal(0, r.errors + r.invalid + r.ejections, w:text 'messages')
        end
        local base = run(scheduler, 'version = "1"')
        for how, code in pairs(bad) do
          w, r = run(scheduler, ('%s = %s'):format(name, code))
          local calls = kit.status(w, 1).calls[name]
          if calls.n > 0 then
            assert(r.errors + r.budget + r.memory > 0, how .. ' of ' .. name .. ' went unnoticed')
            if calls.n >= 3 then assert.equal(1, r.ejections) end
          end
          if decides[name] and name ~= 'score' and name ~= 'pick_next' and name ~= 'plan_swap' and scheduler == 'serial' then
            -- in the end the built-in decided all, as if nobody had been there
            assert.equal(base:result().loads, r.loads)
          end
        end
        if decides[name] then
          w, r = run(scheduler, ('%s = function() return "rubbish" end'):format(name))
          if kit.status(w, 1).calls[name].n > 0 then assert(r.invalid > 0, name) end
        end
      end)
    end
  end
end)

describe('notes', function()
  after_each(kit.clean)

  it('come in pairs, with the fields that they promise', function()
    local w = assert(kit.world { kit.text([[
      on_request = function(r) S.req = (S.req or 0) + 1 r.ctx.seen = true assert(r.priority == 0 and r.age == 0) end,
      on_serve_start = function(r) assert(r.ctx.seen) r.ctx.at = luaswap.now() end,
      on_serve_done = function(r)
        S.done = (S.done or 0) + 1
        assert(r.status == 200 and r.serve_s >= 0 and r.tokens_out == r.id and r.tokens_exact)
        assert(math.abs(r.serve_s - (luaswap.now() - r.ctx.at)) < 1e-6)
      end,
      on_cancel = function(r) S.cancel = (S.cancel or 0) + 1 assert(r.cause) end,
      on_swap_start = function(sw) S.sw = (S.sw or 0) + 1 assert(type(sw.evict) == 'table' and luaswap.model(sw.target) and sw.ok == nil) end,
      on_swap_done = function(sw) S.swd = (S.swd or 0) + 1 assert(type(sw.ok) == 'boolean' and sw.elapsed >= 0) end,
      on_unload = function(m, by) S.by = by end,
      on_model = function(m, new, old) assert(new ~= old and m.state == new) end,
      dump = function() return S end,
    ]], 'local S = luaswap.state') })
    kit.load(w, 30)
    w:request { at = 1.1, model = 'b', cancel_s = 0.2, id = 77 }
    w:unload(nil, 300)
    w:run()
    local r = w:result()
    assert.equal(0, r.errors, w:text 'messages')
    local s = kit.decode(w:text('dump', 't')).dump
    assert.equal(s.req, s.done + s.cancel)
    assert.equal(31, s.req)
    assert.equal(s.sw, s.swd)
    assert.equal('admin', s.by)
  end)
end)

describe('views', function()
  after_each(kit.clean)

  it('die with the hook', function()
    local w = assert(kit.world { kit.text([[
      on_serve_start = function(r) keep = keep or r end,
      on_serve_done = function(r)
        local ok, err = pcall(function() return keep.model end)
        if keep ~= r then assert(not ok and err:find('used after', 1, true), err) luaswap.log.info('dead') end
      end]], 'local keep') })
    kit.load(w, 6)
    w:run()
    assert.equal(0, w:result().errors, w:text 'messages')
    assert.is_truthy(w:text('messages'):find 'dead')
  end)

  it('are read-only, print themselves and list their fields', function()
    local w = assert(kit.world { kit.text [[
      pick_next = function(q)
        local r = q:first()
        assert(not pcall(function() r.priority = 1 end))
        assert(tostring(r):find('^req#%d+ %a %d'), tostring(r))
        assert(tostring(luaswap.model(r.model)):find '^model')
        local n = 0
        for k, v in pairs(r) do n = n + 1 end
        assert(n >= 10)
        assert(r.nobody == nil and getmetatable(r) == nil)
        luaswap.log.info('fine')
      end]] })
    kit.load(w, 4)
    w:run()
    assert.equal(0, w:result().errors, w:text 'messages')
    assert.is_truthy(w:text('messages'):find 'fine')
  end)

  it('of the queue filter as they say', function()
    local w = assert(kit.world({ kit.text [[
      tick = function()
        local q = luaswap.queue()
        if #q < 5 then return end
        local n = 0
        for r in q:each() do n = n + 1 assert(q[n].id == r.id) end
        assert(n == #q and q:count() == n and q:count(function() return true end) == n)
        assert(q:count('a') + q:count('b') + q:count('c') == n)
        assert(q:count('nobody') == 0 and q:first('nobody') == nil and q[0] == nil and q[n + 1] == nil)
        assert(q:count('ready') + q:count('cold') <= n)
        local oldest = q:best('age')
        for r in q:each() do assert(r.age <= oldest.age) end
        assert(q:best(function(r) return -r.age end).age <= oldest.age)
        assert(q:best(function() return nil end) == nil)
        assert(#q:models() >= 1 and luaswap.model(q:models()[1]))
        luaswap.log.info('checked')
      end]] }, { models = { { id = 'a', load_s = 20 }, { id = 'b', load_s = 20 }, { id = 'c', load_s = 20 } } }))
    kit.load(w, 20)
    w:run()
    assert.equal(0, w:result().errors, w:text 'messages')
    assert.is_truthy(w:text('messages'):find 'checked')
  end)
end)

describe('answers', function()
  after_each(kit.clean)

  it('of on_request refuse, and change the priority', function()
    local w = assert(kit.world({ kit.text [[on_request = function(r)
      if r.key == 'k1' then return luaswap.reject(429, 'no', { retry_after = 3, code = 'x' }) end
      return { priority = r.id }
    end]] }))
    kit.load(w, 20)
    w:run()
    assert.equal(10, w:result().rejected)
    assert.equal(10, w:result().served)
  end)

  it('of route send it elsewhere, with ctx and tags going on', function()
    local w = assert(kit.world({ kit.text [[route = function(r) r.ctx.from = r.model return { model = 'b', tags = { from = r.model } } end,
      on_request = function(r) assert(r.model == 'b' and r.ctx.from == r.asked, tostring(r.ctx.from)) end]] }))
    kit.load(w, 9)
    w:run()
    assert.equal(9, w:result().served)
    assert.equal(0, w:result().errors, w:text 'messages')
    assert.equal(1, w:result().loads)
  end)

  it('of plan_swap refuse and drain', function()
    local w = assert(kit.world({ kit.text [[plan_swap = function(m) if m.id == 'c' then return luaswap.reject(503, 'not c') end
      local p = luaswap.builtin.plan_swap(m) p.when = 'drain' return p end]] }))
    kit.load(w, 30)
    w:run()
    assert.equal(10, w:result().rejected)
    assert.equal(20, w:result().served)
    assert.equal(0, w:result().invalid)
  end)

  it('of idle_ttl end an idle model', function()
    local w = assert(kit.world { kit.text [[idle_ttl = function() return 7 end]] })
    w:request { at = 0, model = 'a', serve_s = 1 }
    w:run()
    assert.equal('stopped', w:state 'a')
  end)

  it('actions happen after the hook, and not at all when it raises', function()
    local w = assert(kit.world { kit.text [[tick = function() if luaswap.now() < 2 then luaswap.preload('b') end luaswap.preload('c') error('x') end]] })
    w:run(5)
    assert.equal('stopped', w:state 'c')
    w = assert(kit.world { kit.text [[tick = function(now)
      if now < 2 then luaswap.preload('b') elseif now > 20 then luaswap.unload('b') end end]] })
    w:run(10)
    assert.equal('ready', w:state 'b')
    w:run(40)
    assert.equal('stopped', w:state 'b')
  end)

  it('cancel sheds a queued request, quarantine keeps a model out', function()
    local w = assert(kit.world { kit.text [[on_request = function(r) if r.id == 5 then luaswap.quarantine('c', 1000) end end,
      tick = function() for r in luaswap.queue():each() do if r.age > 4 then luaswap.cancel(r.id, luaswap.reject(503, 'too long')) end end end]] })
    kit.load(w, 30)
    w:run()
    local r = w:result()
    assert(r.rejected > 0)
    assert.equal(30, r.served + r.rejected)
    assert.equal(0, r.errors, w:text 'messages')
  end)
end)

describe('the hooks around a swap and around a failure', function()
  after_each(kit.clean)

  it('say which model, why, and in which order', function()
    local w = assert(kit.world({ kit.text([[
      after_ready = function(m) S[#S + 1] = "up " .. m.id end,
      before_stop = function(m, why) S[#S + 1] = "stop " .. m.id .. " " .. why end,
      tick = function(now) if now >= 60 and now < 61 then luaswap.log.info("%s", table.concat(S, ", ")) end end]], 'local S = {}') },
      { scheduler = 'serial' }))
    w:request { at = 0, model = 'a', serve_s = 1 }
    w:request { at = 1, model = 'b', serve_s = 1 }
    w:unload('b', 40)
    w:run(70)
    assert.matches('up a, stop a swap, up b, stop b admin', w:text 'messages', 1, true)
  end)

  it('on_failure hears of a load that failed; what it answers is not followed here', function()
    local w = assert(kit.world({ kit.text [[
      on_failure = function(r, err) luaswap.log.info("failed %d %s", r.id, err) return { retry = true, model = "b" } end]] },
      { models = { { id = 'a', load_s = 5, limit = 100, fail = 1000 }, { id = 'b', load_s = 5, limit = 100 } } }))
    w:request { at = 0, model = 'a', serve_s = 1, id = 7 }
    w:run()
    assert.equal(1, kit.status(w, 1).calls.on_failure.n)
    assert.matches('failed 7 ', w:text 'messages', 1, true)
    assert.equal(1, w:result().rejected)
  end)
end)
