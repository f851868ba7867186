-- slow_readers_spec.lua: many clients that hardly read cost little memory each (limit of the issue: 64 KiB).
-- LUASWAP_SLOW_READERS sets how many (default 100; docs/testing.md has the figures for 500).
local http = require 'spec.support.http_raw'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local readers = tonumber(os.getenv 'LUASWAP_SLOW_READERS') or 100

local function resident(srv)
  return tonumber(server.read_file(('/proc/%d/status'):format(srv.pid)):match 'VmRSS:%s+(%d+)')
end

describe('slow readers', function()
  after_each(server.stop_all)

  for _, case in ipairs { { 'serial', 200 }, { 'serial', 1000 }, { 'fifo', 1000 } } do
    local scheduler, kib = case[1], case[2]
    it(('cost less than 64 KiB each under %s, with answers of %d KiB'):format(scheduler, kib), function()
      local srv = server.start { config = server.config(('routing: { scheduler: { use: %s } }'):format(scheduler),
        { { 'a', '--silent', { concurrencyLimit = 1000 } } }) }
      assert.equal(200, srv:chat('a').status)
      local before, list = resident(srv), {}
      for i = 1, readers do
        local c = http.connect(srv.port)
        c.sock:set_rcvbuf(4096)
        c:request('POST', '/v1/chat/completions', { body = { model = 'a', fake = { size = kib * 1024 } } })
        c.got, list[i] = 0, c
      end
      local function poke()
        local begun = 0
        for _, c in ipairs(list) do
          c.got = c.got + #(c.sock:recv(1, 0) or '')
          if c.got > 0 then begun = begun + 1 end
        end
        return begun
      end
      -- all of them have begun; under serial the model is done with all but the last one
      wait.till(function() return poke() == readers end, 20, 'all of them to be served')
      for _ = 1, 5 do poke() end
      local each = (resident(srv) - before) / readers
      if os.getenv 'LUASWAP_SLOW_READERS' then print(('%s, %d KiB: %.1f KiB each'):format(scheduler, kib, each)) end
      assert.is_true(each < 64, ('%.1f KiB each'):format(each))
      -- and one that begins to read gets on
      local n = 0
      while n < 64 * 1024 do n = n + #assert(list[readers].sock:recv(65536, 20)) end
      for _, x in ipairs(list) do x:rst() end
    end)
  end
end)
