-- reload_load_spec.lua: reloads one after the other while clients ask: half of the models stay as they are, the
-- others get a new command each time, one comes and goes. LUASWAP_RELOADS=200 is what issue 5 asks for.
local client_loop = require 'spec.support.client_loop'
local net = require 'spec.net'
local reload = require 'spec.support.reload'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local dice = math.random
local reloads = tonumber(os.getenv 'LUASWAP_RELOADS') or 20

local function zombies(pid)
  local n = 0
  for child in (server.read_file(('/proc/%d/task/%d/children'):format(pid, pid)) or ''):gmatch '%d+' do
    local stat = server.read_file(('/proc/%s/stat'):format(child))
    if stat and stat:match '%) (%u)' == 'Z' then n = n + 1 end
  end
  return n
end

-- Models m1 to m5, some of them, on ports behind `base`, sometimes each on another one than usual.
local function random_text(base, version)
  local names, ports, out = {}, {}, {}
  for i = 1, 5 do
    if dice(10) <= 7 then names[#names + 1] = 'm' .. i end
    table.insert(ports, dice(#ports + 1), base + i)
  end
  if #names == 0 then names[1] = 'm1' end
  out[1] = ('logLevel: warn\nreload: { drain: 20 }\nrouting: { scheduler: { use: %s } }'):format(
    dice(3) == 1 and 'serial' or 'fifo')
  if out[1]:find 'fifo' then
    out[2] = ('groups: { all: { swap: false, exclusive: false, members: [%s] } }'):format(table.concat(names, ', '))
  end
  out[#out + 1] = 'models:'
  local moves = dice(2) == 1
  for i, name in ipairs(names) do
    local port = moves and ports[i] or base + tonumber(name:sub(2))
    local cmd = server.fake_cmd(('--silent --term-delay-ms 200 --model %s --respond %s'):format(name, dice(2) == 1 and 'x' or version))
    out[#out + 1] = ('  %s:\n    cmd: %s\n    proxy: http://127.0.0.1:%d\n    ttl: %d'):format(name,
      (cmd:gsub('${PORT}', port)), port, dice(3) == 1 and 1 or 0)
  end
  return table.concat(out, '\n') .. '\n'
end

describe('under load', function()
  after_each(server.stop_all)

  it(('%d reloads: no request fails, unchanged models keep their process'):format(reloads), function()
    local stay, change, models = { 'a', 'c', 'e' }, { 'b', 'd', 'f' }, {}
    for _, m in ipairs(stay) do models[m] = '--respond ' .. m end
    for _, m in ipairs(change) do models[m] = '--respond ' .. m .. '0' end
    local r = reload.start { scheduler = 'fifo', models = models }
    r.top = 'logLevel: warn' -- thousands of requests follow
    local function count() return r.srv:get '/debug/state':json().reloads end
    local function apply()
      local before = count()
      r:write()
      r:hup()
      wait.till(function() return count() > before end, 20, 'a reload')
    end
    apply()
    local pids = {}
    for _, m in ipairs(stay) do pids[m] = select(3, r:ask(m)) end

    local changed, total = 0, { stay = 0, change = 0 }
    local function some(n)
      local loops = {}
      for _, m in ipairs(stay) do loops[#loops + 1] = client_loop.start(r.srv.port, m) end
      for _, m in ipairs(change) do loops[#loops + 1] = client_loop.start(r.srv.port, m) end
      for _ = 1, n do
        changed = changed + 1
        for _, m in ipairs(change) do r.models[m] = ('--respond %s%d'):format(m, changed) end
        -- in front of the others, so that indexes and default ports would move
        r.models['a' .. changed % 3] = changed % 2 == 0 and '' or nil
        apply()
        -- some reloads come while the one before still drains or starts, some find everything at rest
        if changed % 3 == 0 then assert.equal(change[1] .. changed, select(2, r:ask(change[1]))) end
      end
      for _, l in ipairs(loops) do
        local sum = l:stop()
        assert.equal(0, sum.failed, l.model .. ': ' .. tostring(sum.first_failure))
        assert.is_true(sum.ok > 0, l.model)
        if pids[l.model] then
          total.stay = total.stay + sum.ok
          assert.same({ pids[l.model] }, sum.pids, l.model)
        else
          total.change = total.change + sum.ok
        end
      end
      for _, m in ipairs(change) do -- the last configuration is the one in force
        assert.equal(m .. changed, select(2, r:ask(m)))
      end
      wait.till(function() return #r.srv:models() == #stay + #change end, 20, 'the old processes to end')
      wait.till(function() return zombies(r.srv.pid) == 0 end, 5, 'no zombie')
      for _, m in ipairs(stay) do assert.equal(pids[m], select(3, r:ask(m))) end
      return net.fds(r.srv.pid)
    end
    local before = some(math.max(5, reloads // 10))
    local rss = net.rss_kb(r.srv.pid)
    local after = some(reloads)
    assert.is_true(after <= before + 4, ('descriptors: %d, later %d'):format(before, after))
    if os.getenv 'LUASWAP_RELOADS' then
      print(('\n%d reloads: %d answers of unchanged models, %d of changed ones; descriptors %d -> %d, RSS %d -> %d KB'):format(
        changed, total.stay, total.change, before, after, rss, net.rss_kb(r.srv.pid)))
    end
  end)

  it('serial: every request is answered over ' .. reloads .. ' reloads', function()
    local models = { a = '--respond a', b = '--respond b0' }
    local r = reload.start { models = models }
    r.top = 'logLevel: warn'
    local loops = {}
    for _, m in ipairs { 'a', 'b', 'a' } do loops[#loops + 1] = client_loop.start(r.srv.port, m) end
    for i = 1, reloads do
      models.b = '--respond b' .. i
      local before = r.srv:get '/debug/state':json().reloads
      r:write()
      r:hup()
      wait.till(function() return r.srv:get '/debug/state':json().reloads > before end, 20, 'a reload')
      if i % 4 == 0 then assert.equal('b' .. i, select(2, r:ask 'b')) end
    end
    for _, l in ipairs(loops) do
      local sum = l:stop()
      assert.equal(0, sum.failed, l.model .. ': ' .. tostring(sum.first_failure))
    end
    wait.till(function() return #r.srv:models() <= 1 end, 20, 'the old processes to end')
  end)

  -- Fixed ports that change places, models that come and go, the scheduler too. Two processes on one port would be
  -- seen as a start that failed (500) or as another model's answer.
  it('random configurations: nobody gets an error but 404 and 503, nobody another model', function()
    local seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()
    math.randomseed(seed)
    local r = reload.start { models = { first = '' }, top = '' }
    local base = r.port
    local loops = {}
    for i = 1, 5 do loops[i] = client_loop.start(r.srv.port, 'm' .. i, '404 503') end
    for i = 1, reloads do
      local before = r.srv:get '/debug/state':json().reloads
      r:write(random_text(base, 'v' .. i))
      r:hup()
      wait.till(function() return r.srv:get '/debug/state':json().reloads > before end, 20, 'a reload')
      if dice(3) == 1 then net.nap(dice() * 0.3) end
    end
    for _, l in ipairs(loops) do
      local sum = l:stop()
      assert.equal(0, sum.failed, ('%s: %s, LUASWAP_SEED=%d'):format(l.model, sum.first_failure, seed))
      assert.is_true(not sum.wrong, ('%s: %s, LUASWAP_SEED=%d'):format(l.model, sum.wrong, seed))
    end
    wait.till(function()
      local state = r.srv:get '/debug/state'
      return not state.body:find('"reload":', 1, true), state.body
    end, 30, 'the last reload to end')
  end)

  it('crashes, unloads and reloads at once: everybody gets an answer', function()
    local seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()
    math.randomseed(seed)
    local r = reload.start { models = { first = '' } }
    local base, loops = r.port, {}
    for i = 1, 5 do loops[i] = client_loop.start(r.srv.port, 'm' .. i, '404 500 502 503') end
    for i = 1, reloads do
      r:write(random_text(base, 'v' .. i))
      r:hup()
      net.nap(dice() * 0.2)
      if dice(4) == 1 then r.srv:get('/unload', { timeout = 60 }) end
      for _, p in ipairs(r.srv:models()) do
        if dice(4) == 1 then net.kill(p.pid, 'KILL') end
      end
    end
    for _, l in ipairs(loops) do
      local sum = l:stop()
      assert.is_nil(sum.hung, ('%s: %s, LUASWAP_SEED=%d'):format(l.model, sum.first_failure, seed))
      assert.is_true(not sum.wrong, ('%s: %s, LUASWAP_SEED=%d'):format(l.model, sum.wrong, seed))
    end
    r:write(random_text(base, 'last'):gsub('members: %[.-%]', 'members: [m1]'):gsub('models:\n.*$', '') ..
      ('startPort: %d\nmodels:\n'):format(base + 20) .. server.model('m1', '--silent --respond last'))
    r:hup()
    wait.till(function() return select(2, r:ask 'm1') == 'last' end, 30, 'the last configuration')
    wait.till(function() return #r.srv:models() == 1 end, 30, 'one process')
  end)
end)
