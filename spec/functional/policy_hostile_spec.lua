-- policy_hostile_spec.lua: the hostile policies of spec/policy/hostile in the running program: requests are served as if
-- they were not there, the loop is never held up for long, and the program lives.
local http = require 'spec.support.http_raw'
local server = require 'spec.support.server'
local shell = require 'spec.shell'
local wait = require 'spec.support.wait'

local names = {}
for path in io.popen('ls ' .. shell.root .. '/spec/policy/hostile/*.lua'):lines() do
  names[#names + 1] = path:match '([%w_]+)%.lua$'
end

-- Those that may refuse requests without breaking a rule.
local may_refuse = { quarantine_all = true, actions_thrash = true }

-- The program measures its turns itself, in CPU time, so a busy machine does not count. The sanitizers make everything
-- several times slower.
local function sanitized()
  local f = assert(io.open(server.bin(), 'rb'))
  local text = f:read 'a'
  f:close()
  return text:find('__asan_init', 1, true) ~= nil
end
local limit_ms = 100 * (sanitized() and 6 or 1) * wait.slow

describe('a hostile policy at work', function()
  after_each(server.stop_all)

  it('is one of at least forty', function() assert.is_true(#names >= 40) end)

  for i, name in ipairs(names) do
    local use = i % 2 == 0 and 'serial' or 'fifo'
    it(name .. ' under ' .. use, function()
      local srv = server.start { env = { LUASWAP_LOOP_STATS = '1' }, config = ([[
routing: { scheduler: { use: %s, settings: { serial: { reorder: true } } } }
policies:
  - file: %s/spec/policy/hostile/%s.lua
    limits: { hold_limit: 1, stop_hook_s: 1, memory_mb: 16 }
]]):format(use, shell.root, name) .. server.config('', { { 'a', '--silent' }, { 'b', '--silent' } }) }
      local conns = {}
      for k = 1, 8 do
        local c = http.connect(srv.port)
        c:request('POST', '/v1/chat/completions', { body = { model = k % 3 == 0 and 'b' or 'a' } })
        conns[k] = c
      end
      for k, c in ipairs(conns) do
        local r = c:response(30)
        c:close()
        if not (may_refuse[name] and (r.status == 503 or r.status == 429)) then assert.equal(200, r.status, k .. ' ' .. r.body) end
      end
      assert.equal(200, srv:get('/health').status)
      local all = srv:get('/api/policy'):json()
      assert(all.loop.longest_turn_ms < limit_ms, ('a turn took %.1f ms'):format(all.loop.longest_turn_ms))
      assert.equal('hostile', all.policies[1].name)
      srv:stop() -- an orderly end, nothing of a sanitizer, no process left
    end)
  end
end)
