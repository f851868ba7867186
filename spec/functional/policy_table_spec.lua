-- policy_table_spec.lua: every hook of a policy in the running program, with everything that it may do: nothing, no
-- opinion, an answer, a hold, an error, rubbish, too long, too much memory; under serial and fifo. Whatever it does, the
-- requests are served, and /api/policy says what happened. One server per scheduler; the policy is replaced under it.
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local smi = [[#!/bin/sh
case "$1" in
--query-gpu=*) echo "0, GPU-1, Fake Card, 1000, 10, 5, 40" ;;
esac
]]

-- How each hook is written, what it may answer (`hold`: that is an answer, too), what brings it about:
-- plain: requests for a loaded model; swap: for another one; and so on (drive below).
local hooks = {
  { 'route', 'D', 'plain', value = 'return { model = r.model, tags = { seen = "yes" } }' },
  { 'on_request', 'D', 'plain', value = 'return { priority = 1, class = "x" }' },
  { 'score', 'D', 'line', value = 'return r.age' },
  { 'pick_next', 'D', 'plain', value = 'return r:first()', hold = true },
  { 'plan_swap', 'D', 'swap', value = 'return luaswap.builtin.plan_swap(r)', hold = true },
  { 'evict_cost', 'D', 'swap', value = 'return -r.idle', only = 'fifo' },
  { 'idle_ttl', 'D', 'plain', value = 'return 100' },
  { 'rewrite', 'D', 'plain', value = 'return { user = "u" }', rubbish = 'return { f = error }' },
  { 'on_failure', 'D', 'failure', value = 'return { retry = true, model = "a" }' },
  { 'after_ready', 'Y', 'swap' },
  { 'before_stop', 'Y', 'swap' },
  { 'on_start', 'N', 'plain', loads = true },
  { 'on_stop', 'N', 'plain', last = true },
  { 'on_serve_start', 'N', 'plain' },
  { 'on_serve_done', 'N', 'plain' },
  { 'on_cancel', 'N', 'cancel' },
  { 'on_swap_start', 'N', 'swap' },
  { 'on_swap_done', 'N', 'swap' },
  { 'on_model', 'N', 'swap' },
  { 'on_unload', 'N', 'unload' },
  { 'tick', 'N', 'tick' },
  { 'dump', 'N', 'dump', value = 'return { a = 1 }' },
}

-- body, and which counter of `calls` shows it; `out`: it is ejected for the first one.
local doings = {
  { 'nil', 'return nil' },
  { 'value' },
  { 'hold', 'local S = luaswap.state S.n = (S.n or 0) + 1 if S.n % 4 > 0 then return luaswap.hold(0.02, "later") end' },
  { 'raises', 'error("boom")', 'errors' },
  { 'rubbish', 'return setmetatable({ evict = 7, model = {}, retry = 1, delay = "x", priority = {} }, { __index = error })', 'invalid' },
  { 'too long', 'while true do end', 'budget' },
  { 'too much memory', 'local x, y = ("x"):rep(900000), ("y"):rep(900000)', 'memory', out = true },
}

local function policy(hook, body)
  -- Well-behaved in the rehearsal, where the machine has no memory: what is wanted is what happens at work.
  return ('return { api = 1, name = "p", requires = { "body" }, tick_interval = 0.1, %s = function(r, b, c) ' ..
    'if luaswap.host().mem_free_mb > 0 then %s end end }'):format(hook, body)
end

for _, use in ipairs { 'serial', 'fifo' } do
  describe('under ' .. use, function()
    local srv, file
    local path = os.getenv 'PATH'

    lazy_setup(function()
      local dir = net.tmpdir()
      server.write_file(dir .. '/nvidia-smi', smi)
      os.execute(('chmod 755 %s/nvidia-smi'):format(dir))
      file = server.write_file(dir .. '/p.lua', policy('dump', ''))
      srv = server.start { env = { PATH = dir .. ':' .. path }, config = ([[
routing:
  scheduler:
    use: %s
    settings: { serial: { reorder: true } }
  router: { settings: { groups: { both: { swap: false, exclusive: false, members: [a, b, dies] } } } }
policies:
  - file: %s
    limits: { memory_mb: 1, instructions: 2000000, stop_hook_s: 2 }
]]):format(use, file) .. server.config('', {
        { 'a', '--silent --respond A', { metadata = '{ vram_mb: 600 }' } }, { 'b', '--silent --respond B', { metadata = '{ vram_mb: 600 }' } },
        { 'dies', '--silent --crash-on-request', { metadata = '{ vram_mb: 600 }' } } }) }
    end)
    lazy_teardown(function() srv:stop() end)

    local function who(model, extra)
      local r = srv:chat(model, extra)
      return r.status == 200 and r:json().choices[1].message.content or r.status
    end
    local function status() return srv:get('/api/policy'):json().policies[1] end

    local function put(text)
      server.write_file(file, text)
      return http.exchange(srv.port, 'POST', '/api/policy/p/reload', { body = '' })
    end

    local drive = {}
    function drive.plain() for _ = 1, 3 do assert.equal('A', who 'a') end end
    function drive.swap()
      assert.equal('A', who 'a')
      assert.equal('B', who 'b')
    end
    function drive.cancel() -- b waits until a is done
      local first, second = http.connect(srv.port), http.connect(srv.port)
      first:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { stream = true, endless = true } } })
      wait.till(function() return srv:get('/api/scheduler'):json().serving[1] end, 10, 'the first to be served')
      second:request('POST', '/v1/chat/completions', { body = { model = 'b' } })
      wait.till(function() return srv:get('/api/scheduler'):json().queue[1] end, 10, 'the second to wait')
      second:close()
      wait.till(function() local c = status() return c.state == 'ejected' or c.calls.on_cancel and c.calls.on_cancel.n > 0 end, 10, 'on_cancel')
      first:close()
      wait.till(function() return not srv:get('/api/scheduler'):json().serving[1] end, 10, 'the first to end')
    end
    function drive.failure(doing)
      local got = who 'dies'
      if doing == 'value' then assert.equal('A', got) else assert.is_true(got == 502 or got == 500, tostring(got)) end
    end
    function drive.unload()
      assert.equal('A', who 'a')
      assert.equal(200, srv:get('/unload', { timeout = 20 }).status)
    end
    function drive.tick() wait.till(function() local c = status() return c.state == 'ejected' or c.calls.tick and c.calls.tick.n > 0 end, 10, 'a tick') end
    function drive.dump() assert.equal(200, srv:get('/api/policy/p/dump').status) end
    function drive.line()
      local c = {}
      for i = 1, 4 do
        c[i] = http.connect(srv.port)
        c[i]:request('POST', '/v1/chat/completions', { body = { model = i % 2 == 0 and 'a' or 'b', fake = { wait_ms = 20 } } })
      end
      for i = 1, 4 do
        assert.equal(200, c[i]:response(20).status)
        c[i]:close()
      end
    end

    for _, h in ipairs(hooks) do
      local hook, kind = h[1], h[2]
      for _, d in ipairs(doings) do
        local doing, body, counter = d[1], h[d[1]] or d[2], d[3]
        if doing == 'hold' then body = d[2] end
        if body and not (h.only and h.only ~= use) then
          it(('%s: %s'):format(hook, doing), function()
            local r = put(policy(hook, body))
            if h.loads and (counter and counter ~= 'invalid' or doing == 'hold') then -- it would be ejected at once: the old one stays
              assert.equal(409, r.status, r.body)
              assert.equal('A', who 'a')
              return
            end
            assert.equal(200, r.status, r.body)
            drive[h[3]](doing)
            local st = status()
            local c = st.calls[hook]
            if h.last then
              assert.equal('active', st.state)
              assert.equal(200, put(policy('dump', '')).status) -- now it is called
              assert.equal('A', who 'a')
              return
            end
            assert.is_truthy(c, 'never called')
            assert.is_true(c.n > 0)
            local wrong = counter
            if doing == 'hold' and kind == 'D' and not h.hold then wrong = 'invalid' end
            if doing == 'hold' and kind == 'N' then wrong = 'errors' end -- notes may not even call it
            if doing == 'rubbish' and kind ~= 'D' then wrong = nil end
            if wrong then
              assert.is_true(c[wrong] > 0, ('%s of %s'):format(wrong, srv:get('/api/policy').body))
            else
              assert.equal(0, c.errors + c.budget + c.memory + c.invalid, srv:get('/api/policy').body)
              assert.equal('active', st.state)
            end
            if d.out and hook ~= 'dump' then assert.equal('ejected', st.state) end
          end)
        end
      end
    end
  end)
end
