-- scheduler_api_spec.lua: what people can ask: who waits for what and why, what was decided, numbers for Prometheus,
-- and the policies: status, trace, dump, reload with rehearsal, resume, disable, shadow.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local function scheduler(srv, query) return srv:get('/api/scheduler' .. (query or '')):json() end

local function why(srv, id)
  local r = srv:get(('/api/requests/%s/why'):format(id))
  return r.status == 200 and r:json() or r.status
end

-- The state of the scheduler once `fn` says that it is what is meant.
local function when(srv, fn, what)
  return wait.till(function()
    local s = scheduler(srv)
    return fn(s) and s, require 'dkjson'.encode(s.queue)
  end, 20, what)
end

-- As anybody would check it.
local function sha256(file)
  local f = assert(io.popen('sha256sum ' .. file))
  local sum = f:read 'a':match '^%x+'
  f:close()
  return sum
end

local function waiting(n) return function(s) return #s.queue == n end end

describe('/api/scheduler', function()
  after_each(server.stop_all)

  it('shows the line under serial, and why each one waits', function()
    local t = traffic.start { use = 'serial', models = { 'a', 'b' } }
    local first = t:send('a', 'r1', { wait_ms = 60000 })
    t:was_served 'r1'
    local second = t:send('b', 'r2')
    when(t.srv, waiting(1))
    local third = t:send('a', 'r3')
    local s = when(t.srv, waiting(2), 'two to wait')
    assert.equal('serial', s.scheduler)
    assert.equal('builtin:serial', s.in_charge)
    assert.equal(2, s.waiting)
    assert.equal(1, s.inflight)
    assert.equal('a', s.serving[1].model)
    local q = s.queue
    assert.equal('b', q[1].model)
    assert.equal(1, q[1].position)
    assert.equal(2, q[2].position)
    assert.equal('turn', q[1].reason)
    assert.equal('a', q[1].blocked_by_model)
    assert.equal(s.serving[1].request, q[1].blocked_by_request)
    assert.matches('request %d+ on a is being served', q[1].text)
    local states = {}
    for _, m in ipairs(s.models) do states[m.id] = m.state end
    assert.same({ a = 'ready', b = 'stopped' }, states)
    -- the same asked for one of them
    local w = why(t.srv, q[2].request)
    assert.equal('waiting', w.state)
    assert.equal(2, w.now.position)
    assert.equal('turn', w.now.reason)
    assert.equal(1, w.at_arrival.ahead)
    assert.same({}, w.policy)
    assert.equal('serving', why(t.srv, s.serving[1].request).state)
    first:close()
    local r = t:ok(second)
    local id = r:get 'x-luaswap-request'
    assert.equal(tostring(q[1].request), id)
    t:ok(third)
    w = wait.till(function()
      local x = why(t.srv, id)
      return x.state == 'served' and x
    end)
    assert.equal(200, w.status)
    local reasons, sum = {}, 0
    for i, p in ipairs(w.parts) do
      reasons[i] = p.reason
      sum = sum + p.seconds
    end
    assert.equal('turn', reasons[1])
    assert.equal('loading', reasons[#reasons])
    assert.is_true(math.abs(sum - w.waited_s) < 0.002)
    assert.same({ 'a' }, w.swap.stopped)
    assert.equal(tonumber(id), w.swap.begun_for)
    assert.matches('^waited .* in the line: when it came, request %d+ on a is being served', w.text)
    assert.matches('until a had stopped', w.text, 1, true)
    assert.matches('while b was loaded', w.text, 1, true)
    -- and in the order of events
    local seen = {}
    for _, d in ipairs(scheduler(t.srv, '?n=1000').decisions) do
      if d.request == tonumber(id) then seen[#seen + 1] = d.what end
    end
    assert.same({ 'load', 'loaded', 'grant' }, seen)
    assert.equal(1, #scheduler(t.srv, '?n=1').decisions)
    assert.same({}, scheduler(t.srv).policy_decisions)
    assert.equal('cancelled', why(t.srv, s.serving[1].request).state)
  end)

  it('tells a full model, a busy one that must go, and a load for another under fifo', function()
    local t = traffic.start { models = { { 'a', '', { concurrencyLimit = 1 } }, { 'b', '--load-ms 60000' }, 'c' },
      groups = { g = { swap = false, exclusive = false, members = { 'a' } },
        h = { members = { 'b', 'c' }, exclusive = true } } }
    local busy = t:send('a', 'r1', { wait_ms = 60000 })
    t:was_served 'r1'
    local _second = t:send('b', 'r2')
    local s = when(t.srv, waiting(1))
    assert.equal('busy', s.queue[1].reason)
    assert.equal('a', s.queue[1].blocked_by_model)
    assert.matches('a must be stopped first and serves request %d+', s.queue[1].text)
    busy:close()
    s = when(t.srv, function(x) return x.queue[1] and x.queue[1].reason == 'loading' end, 'the load')
    assert.equal('b', s.swaps[1].target)
    assert.equal('starting', s.swaps[1].stage)
    assert.same({ 'a' }, s.swaps[1].stops)
    local _third = t:send('c', 'r3')
    s = when(t.srv, waiting(2))
    assert.equal('swap', s.queue[2].reason)
    assert.equal('b', s.queue[2].blocked_by_model)
    assert.equal(s.queue[1].request, s.queue[2].blocked_by_request)
    local parts = why(t.srv, s.queue[1].request).parts
    assert.equal('busy', parts[1].reason)
    assert.equal('loading', parts[#parts].reason)
    _second:close()
    _third:close()
  end)

  it('remembers refusals with their reason', function()
    local t = traffic.start { models = { { 'a', '', { concurrencyLimit = 1 } } } }
    local busy = t:send('a', 'r1', { wait_ms = 60000 })
    t:was_served 'r1'
    local r = t.srv:chat 'a'
    assert.equal(429, r.status)
    local w = wait.till(function()
      local x = why(t.srv, r:get 'x-luaswap-request')
      return x.state == 'refused' and x.status and x
    end)
    assert.equal(429, w.status)
    assert.matches('^refused: ', w.text)
    local d = scheduler(t.srv).decisions
    assert.equal('refuse', d[#d].what)
    busy:close()
  end)

  it('forgets, protects, and knows what it does not know', function()
    local srv = server.start { config = 'apiKeys: [ k ]\nrecording: { requests: 2 }\n' ..
      server.config('', { { 'a', '--silent' } }) }
    local head = { headers = { ['X-Api-Key'] = 'k' } }
    local ids = {}
    for i = 1, 3 do ids[i] = srv:chat('a', nil, head):get 'x-luaswap-request' end
    for _, path in ipairs { '/api/scheduler', '/api/requests/1/why', '/metrics', '/api/scheduler/trace' } do
      assert.equal(401, srv:get(path).status)
    end
    local function status(id) return srv:get(('/api/requests/%s/why'):format(id), head).status end
    wait.till(function() return status(ids[1]) == 404 end)
    assert.equal(200, status(ids[3]))
    for _, id in ipairs { '0', 'x', '-1', '99999999999999999999', '18446744073709551615' } do
      assert.equal(404, status(id))
    end
    assert.equal(404, srv:get('/api/requests/1', head).status)
    assert.is_nil(srv:get('/health'):get 'x-luaswap-request')
  end)
end)

-- Every sample under its name, and the order that the format demands: HELP, TYPE, then all samples of the name.
local function parse(text)
  local family, seen, values = nil, {}, {}
  for line in text:gmatch '[^\n]+' do
    local help = line:match '^# HELP ([%w_]+) .+$'
    local kind, of = line:match '^# TYPE ([%w_]+) (%l+)$'
    if help then
      assert.is_nil(seen[help], 'twice: ' .. help)
      seen[help], family = true, help
    elseif kind then
      assert.equal(family, kind)
      assert.is_truthy(of)
    else
      local name, labels, value = line:match '^([%w_]+)({.*}) (%S+)$'
      if not name then name, value = line:match '^([%w_]+) (%S+)$' end
      assert.is_truthy(name, line)
      local base = name == family and name or name:gsub('_sum$', ''):gsub('_count$', ''):gsub('_bucket$', '')
      assert.equal(family, base, line)
      values[name .. (labels or '')] = assert(tonumber(value), line)
    end
  end
  return values
end

describe('/metrics', function()
  after_each(server.stop_all)

  it('is Prometheus text: the machine as the reference names it, and ours', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent' }, { '"b\\"c"', '--silent' } }) }
    assert.equal(200, srv:chat('a').status)
    assert.equal(404, srv:chat('nobody').status)
    local r = wait.till(function()
      local x = srv:get '/metrics'
      return x.body:find('luaswap_requests_total{outcome="served"} 1', 1, true) and x
    end)
    assert.equal('text/plain; version=0.0.4; charset=utf-8', r:get 'content-type')
    local v = parse(r.body)
    for _, name in ipairs { 'llamaswap_cpu_util_percent{core="0"}', 'llamaswap_memory_total_bytes',
      'llamaswap_memory_used_bytes', 'llamaswap_memory_free_bytes', 'llamaswap_swap_total_bytes',
      'llamaswap_swap_used_bytes', 'llamaswap_load_average{interval="1m"}',
      'llamaswap_load_average{interval="15m"}' } do
      assert.is_truthy(v[name], name)
    end
    assert.equal(v.llamaswap_memory_total_bytes, v.llamaswap_memory_used_bytes + v.llamaswap_memory_free_bytes)
    assert.equal(1, v['luaswap_scheduler_info{in_charge="builtin:serial"}'])
    assert.equal(0, v.luaswap_scheduler_waiting)
    assert.equal(0, v.luaswap_scheduler_inflight)
    assert.equal(1, v['luaswap_model_state{model="a",state="ready"}'])
    assert.equal(1, v['luaswap_model_state{model="b\\"c",state="stopped"}'])
    assert.equal(1, v['luaswap_model_loads_total{model="a"}'])
    assert.equal(1, v['luaswap_responses_total{class="2xx"}'])
    assert.equal(1, v.luaswap_request_wait_seconds_count)
    assert.is_true(v['luaswap_model_load_seconds_total{model="a"}'] > 0)
  end)

  it('is 503 and a comment when the monitor is off', function()
    local srv = server.start { config = 'performance: { disabled: true }\n' ..
      server.config('', { { 'a', '--silent' } }) }
    local r = srv:get '/metrics'
    assert.equal(503, r.status)
    assert.matches('^# [^\n]+\n$', r.body)
  end)

  it('has the GPUs that policies watch, and a trace has what others use of them', function()
    local dir = net.tmpdir()
    server.write_file(dir .. '/nvidia-smi', [[#!/bin/sh
case "$1" in
--query-gpu=*) printf '0, GPU-1, Fake 9000, 24000, 9000, 3, 44\n' ;;
--query-compute-apps=*) printf 'GPU-1, %d, 6000\nGPU-1, 1, 1000\n' $PPID ;;
esac
]])
    os.execute(('chmod 755 %s/nvidia-smi'):format(dir))
    local file = server.write_file(dir .. '/p.lua',
      'return { api = 1, name = "p", requires = { "gpu" }, tick = function() end }')
    local srv = server.start { env = { PATH = dir .. ':' .. os.getenv 'PATH' },
      config = ('policies: [ { file: %s } ]\n'):format(file) .. server.config('', { { 'a', '--silent' } }) }
    local v = parse(srv:get('/metrics').body)
    local label = '{id="0",name="Fake 9000"}'
    assert.equal(24000 * 1048576, v['llamaswap_gpu_memory_total_bytes' .. label])
    assert.equal(9000 * 1048576, v['llamaswap_gpu_memory_used_bytes' .. label])
    assert.equal(3, v['llamaswap_gpu_util_percent' .. label])
    assert.equal(44, v['llamaswap_gpu_temperature_celsius' .. label])
    assert.equal(200, srv:chat('a').status)
    local text = wait.till(function()
      local t = srv:get('/api/scheduler/trace').body
      return t:find('"foreign_mb":3000', 1, true) and t
    end)
    assert.matches('"gpu":[{"name":"Fake 9000","total_mb":24000}]', text, 1, true)
  end)

  it('has what policies counted, how they fared and who decided', function()
    local file = server.write_file(net.tmpdir() .. '/p.lua', [[
return { api = 1, name = "counts",
  on_request = function(r)
    luaswap.metrics.counter("seen", 1, { model = r.model })
    luaswap.metrics.gauge("level", 2.5)
    luaswap.metrics.histogram("took", 0.25)
    if r.model == "b" then error("no") end
  end,
  pick_next = function(q) return q:first() end }]])
    local top = 'routing: { scheduler: { use: fifo } }\npolicies: [ { file: %s } ]\n'
    local srv = server.start { config = top:format(file) ..
      server.config('', { { 'a', '--silent' }, { 'b', '--silent' } }) }
    assert.equal(200, srv:chat('a').status)
    assert.equal(200, srv:chat('b').status)
    local v = parse(srv:get('/metrics').body)
    assert.equal(1, v['luaswap_policy_state{policy="counts",state="active"}'])
    assert.equal(1, v['luaswap_policy_strikes{policy="counts"}'])
    assert.equal(1, v['luaswap_policy_hook_calls_total{policy="counts",hook="on_request",outcome="error"}'])
    assert.equal(2, v['luaswap_policy_hook_seconds_count{policy="counts",hook="on_request"}'])
    assert.is_true(v['luaswap_policy_decisions_total{op="pick_next",source="policy"}'] >= 1)
    assert.equal(1, v['luaswap_policy_user_seen{policy="counts",model="a"}'])
    assert.equal(2.5, v['luaswap_policy_user_level{policy="counts"}'])
    assert.equal(2, v['luaswap_policy_user_took_count{policy="counts"}'])
    assert.equal(1, v['luaswap_scheduler_info{in_charge="policy:counts"}'])
    for _ = 1, 2 do assert.equal(200, srv:chat('b').status) end
    v = parse(srv:get('/metrics').body)
    assert.equal(1, v['luaswap_policy_state{policy="counts",state="ejected"}'])
    assert.equal(1, v['luaswap_policy_ejections_total{policy="counts",kind="error"}'])
  end)
end)

local function start(code, opts)
  opts = opts or {}
  local file = server.write_file(net.tmpdir() .. '/p.lua', code)
  local srv = server.start { config = ('%s\npolicies:\n  - file: %s\n%s'):format(
    opts.top or 'routing: { scheduler: { use: fifo } }', file, opts.entry or '') ..
    server.config('', { { 'a', '--silent --respond A' }, { 'b', '--silent --respond B' } }) }
  srv.policy_file = file
  return srv
end

local function post(srv, path) return http.exchange(srv.port, 'POST', '/api/policy/' .. path, { body = '' }) end

local good = [[
return { api = 1, name = "p", version = "%s",
  settings = { n = { type = "number", default = 3 } },
  dump = function() return { hello = "there" } end,
  route = function(r) if r.model == "x" then return { model = "%s" } end end,
  pick_next = function(q) return q:first() end }]]

describe('/api/policy', function()
  after_each(server.stop_all)

  it('tells who decides, what each policy is and did', function()
    local srv = start(good:format('1', 'a'), { entry = '    settings: { n: 7 }\n' })
    assert.equal(200, srv:chat('x').status)
    local st = srv:get('/api/policy'):json()
    assert.equal(1, st.api_level)
    assert.equal('policy:p', st.scheduler.in_charge)
    assert.equal('fifo', st.scheduler.configured)
    local p = st.policies[1]
    assert.equal('p', p.name)
    assert.equal('1', p.version)
    assert.equal(srv.policy_file, p.file)
    assert.equal('enforce', p.mode)
    assert.equal('active', p.state)
    assert.same({ n = 7 }, p.settings)
    assert.equal(1, p.calls.route.n)
    assert.equal(0, p.calls.route.errors)
    assert.is_true(p.calls.pick_next.n >= 1 and p.calls.pick_next.max_us > 0)
    assert.is_true(p.memory_kb > 0 and p.memory_kb < p.memory_limit_kb)
    assert.equal(0, p.overrides.starve)
    local trace = srv:get('/api/policy/trace?n=1'):json()
    assert.equal(1, #trace)
    assert.equal('p', trace[1].policy)
    local dump = srv:get('/api/policy/p/dump'):json()
    assert.equal('p', dump.policy)
    assert.same({ hello = 'there' }, dump.dump)
    assert.is_true(#dump.models == 2)
    -- the decisions that one request met
    local id = srv:chat('x'):get 'x-luaswap-request'
    assert.equal('p', scheduler(srv).policy_decisions[1].policy)
    local met = why(srv, id).policy
    assert.equal('p', met[1].policy)
    assert.equal(sha256(srv.policy_file), p.sha256)
    assert.equal(p.sha256, dump.sha256)
    assert.equal(404, srv:get('/api/policy/other/dump').status)
    assert.equal(404, srv:get('/api/policy/p/nothing').status)
    assert.equal(404, post(srv, 'other/reload').status)
    assert.equal(404, post(srv, 'p/explode').status)
  end)

  it('remembers whom a policy turned away, and why', function()
    for hook, model in pairs { route = 'x', on_request = 'a' } do
      local srv = start(([[
return { api = 1, name = 'p', %s = function(r) return luaswap.reject(429, 'not for ' .. r.asked, { retry_after = 7 }) end }
]]):format(hook))
      local r = srv:chat(model)
      assert.equal(429, r.status)
      assert.equal('7', r:get 'retry-after')
      local w = why(srv, r:get 'x-luaswap-request')
      assert.equal('refused', w.state)
      assert.equal(429, w.status)
      assert.equal('refused: by policy p: not for ' .. model, w.text)
      assert.equal(1, scheduler(srv).totals.refused)
      srv:stop()
    end
  end)

  it('reloads what passes the rehearsal, and refuses what does not: the old one stays', function()
    local srv = start(good:format('1', 'a'))
    assert.equal('A', srv:chat('x'):json().choices[1].message.content)
    server.write_file(srv.policy_file, good:format('2', 'b'))
    assert.equal(200, post(srv, 'p/reload').status)
    assert.equal('B', srv:chat('x'):json().choices[1].message.content)
    -- fine when it is loaded, bad as soon as it has to decide
    server.write_file(srv.policy_file,
      'return { api = 1, name = "p", version = "3", pick_next = function(q) return q.nothing.here end }')
    local r = post(srv, 'p/reload')
    assert.equal(409, r.status)
    assert.matches('rehearsal 1', r.body, 1, true)
    local p = srv:get('/api/policy'):json().policies[1]
    assert.equal('2', p.version)
    assert.equal('active', p.state)
    assert.equal('B', srv:chat('x'):json().choices[1].message.content)
    assert.matches('p: reload is refused, what was in force stays: .*rehearsal', srv:log())
    server.write_file(srv.policy_file,
      'return { api = 1, name = "p", version = "4", pick_next = function(q) while true do end end }')
    r = post(srv, 'p/reload')
    assert.equal(409, r.status)
    assert.matches('budget', r.body, 1, true)
    assert.equal('2', srv:get('/api/policy'):json().policies[1].version)
  end)

  it('rehearses on recorded traffic: what canned worlds do not show', function()
    local srv = start(good:format('1', 'a'))
    for _ = 1, 4 do assert.equal(200, srv:chat('b').status) end
    wait.till(function() return scheduler(srv).totals.served == 4 end)
    local bad = good:format('2', 'a'):gsub('pick_next = function%(q%)', [[%0
      if q[1].model == "b" and #luaswap.models() == 2 then error("not on my traffic") end]])
    server.write_file(srv.policy_file, bad)
    local r = post(srv, 'p/reload')
    assert.equal(409, r.status)
    assert.matches('on recorded traffic', r.body, 1, true)
    assert.matches('not on my traffic', r.body, 1, true)
    assert.equal('1', srv:get('/api/policy'):json().policies[1].version)
  end)

  it('refuses a whole new configuration for a policy that fails, and takes it when it does not', function()
    local srv = start(good:format('1', 'a'))
    local text = server.read_file(srv.config_path)
    server.write_file(srv.policy_file,
      'return { api = 1, name = "p", version = "2", on_serve_done = function(r) local x = nil + 1 end }')
    server.write_file(srv.config_path, text:gsub('\nmodels:\n', '\nglobalTTL: 77\nmodels:\n'))
    srv.proc:kill 'HUP'
    wait.till(function() return srv:log():find('everything stays as it was', 1, true) end, 20, 'the refusal')
    assert.matches('rehearsal', srv:log(), 1, true)
    assert.equal(0, srv:get('/debug/state'):json().reloads)
    assert.equal('1', srv:get('/api/policy'):json().policies[1].version)
    server.write_file(srv.policy_file, good:format('3', 'b'))
    for _ = 1, 3 do srv.proc:kill 'HUP' end -- more than one while the first is rehearsed
    wait.till(function() return srv:get('/debug/state'):json().reloads >= 1 end, 20, 'the reload')
    wait.till(function() return srv:get('/api/policy'):json().policies[1].version == '3' end, 20)
    assert.equal('B', srv:chat('x'):json().choices[1].message.content)
  end)

  it('does not rehearse again what runs already: its own faults are known', function()
    local srv = start 'return { api = 1, name = "p", version = "1", on_request = function(r) error("always") end }'
    assert.equal(200, srv:chat('a').status)
    srv.proc:kill 'HUP'
    wait.till(function() return srv:get('/debug/state'):json().reloads == 1 end, 20, 'the reload')
    assert.equal('active', srv:get('/api/policy'):json().policies[1].state)
    assert.equal(409, post(srv, 'p/reload').status) -- asked for by name it is
  end)

  it('is switched off and on again', function()
    local srv = start(good:format('1', 'a'))
    assert.equal(200, post(srv, 'p/disable').status)
    assert.equal('disabled', srv:get('/api/policy'):json().policies[1].state)
    assert.equal('builtin:fifo', scheduler(srv).in_charge)
    assert.equal(404, srv:chat('x').status)
    assert.equal(200, srv:chat('a').status)
    assert.equal(200, post(srv, 'p/resume').status)
    assert.equal('active', srv:get('/api/policy'):json().policies[1].state)
    assert.equal('A', srv:chat('x'):json().choices[1].message.content)
    -- one that was ejected comes back when somebody says so
    server.write_file(srv.policy_file, good:format('2', 'a'))
    assert.equal(200, post(srv, 'p/resume').status) -- it runs: nothing to do
    assert.equal('1', srv:get('/api/policy'):json().policies[1].version)
  end)

  for _, use in ipairs { 'fifo', 'serial' } do
  it('compares a shadow with what happened, and lets it change nothing, under ' .. use, function()
    local srv = start([[
return { api = 1, name = "shade",
  route = function(r) return { model = "b" } end,
  on_request = function(r) return luaswap.reject(503, "never") end,
  pick_next = function(q) return luaswap.hold(30) end,
  plan_swap = function(m) return { evict = {}, when = "idle" } end,
  on_serve_done = function(r) luaswap.unload(r.model) end,
}]], { entry = '    mode: shadow\n', top = ('routing: { scheduler: { use: %s } }'):format(use) })
    local c = srv:connect() -- b has to wait for a, so that there is something to decide
    c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { wait_ms = 60000 } } })
    when(srv, function(x) return #x.serving == 1 end, 'a to serve')
    local d = srv:connect()
    d:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
    when(srv, waiting(1), 'b to wait')
    c:close()
    assert.equal('B', d:response(20):json().choices[1].message.content)
    d:close()
    for _ = 1, 3 do assert.equal('A', srv:chat('a'):json().choices[1].message.content) end
    local st = srv:get('/api/policy'):json()
    assert.equal('builtin:' .. use, st.scheduler.in_charge)
    local p = st.policies[1]
    assert.equal('shadow', p.mode)
    assert.equal('active', p.state)
    assert.is_true(p.calls.on_serve_done.n >= 2)
    assert.is_true(p.shadow.agreement.pick_next.other >= 1)
    assert.is_true(p.shadow.agreement.on_request.other >= 4)
    assert.is_true(p.shadow.agreement.route.other >= 4)
    assert.is_true(#p.shadow.differences >= 1)
    assert.equal('ready', scheduler(srv).models[1].state)
    local v = parse(srv:get('/metrics').body)
    assert.is_true(v['luaswap_policy_shadow_disagree_total{policy="shade",op="pick_next"}'] >= 1)
  end)
  end

  it('says so when there are none', function()
    local srv = server.start { config = server.config('', { { 'a', '--silent' } }) }
    local st = srv:get('/api/policy'):json()
    assert.equal('builtin:serial', st.scheduler.in_charge)
    assert.same({}, st.policies)
    assert.same({}, srv:get('/api/policy/trace'):json())
    assert.equal(404, srv:get('/api/policy/p/dump').status)
    assert.equal(404, post(srv, 'p/reload').status)
  end)
end)
