-- reload_heap_spec.lua: what reloads leave behind: nothing. Counted in allocated bytes (heap_bytes of /debug/state),
-- which unlike RSS do not depend on what the allocator keeps.
local http = require 'spec.support.http_raw'
local reload = require 'spec.support.reload'
local server = require 'spec.support.server'
local wait = require 'spec.support.wait'

local slack = 48 * 1024 -- buffers that happen to be in use when we ask

describe('reloads', function()
  after_each(server.stop_all)

  -- n of them, one by one: edit(r, i) changes something, between(r, i) happens while it is in force.
  local function many(r, n, edit, between)
    local done = r.srv:state().reloads
    for i = 1, n do
      edit(r, i)
      r:write()
      r:hup()
      wait.till(function() return r.srv:state().reloads == done + i end, 10, 'a reload')
      between(r, i)
    end
  end

  -- The least of a few looks, at rest.
  local function heap(r)
    local least = math.huge
    for _ = 1, 5 do
      local s = r.srv:state()
      least = math.min(least, s.heap_bytes)
    end
    assert.is_true(least > 0)
    return least
  end

  local function flat(r, n, edit, between)
    many(r, n // 2, edit, between) -- rings and caches fill
    local before = heap(r)
    many(r, n, edit, between)
    local after = heap(r)
    assert.is_true(after - before < slack, ('%d bytes before, %d after %d reloads'):format(before, after, n))
  end

  local nothing = function() end

  it('that change nothing leave nothing behind', function()
    local r = reload.start { models = { a = '', b = '', c = '' } }
    assert.equal(200, (r:ask 'a'))
    flat(r, 200, nothing, nothing)
  end)

  it('that change every key but the commands leave nothing behind, with requests in between', function()
    local r = reload.start { scheduler = 'fifo', models = { a = { args = '' }, b = { args = '' } } }
    assert.equal(200, (r:ask 'a'))
    flat(r, 120, function(_, i)
      r.models.a.ttl = i % 2 == 0 and 60 or 0
      r.models.a.description = ('"%s"'):format(('x'):rep(i % 7 * 100))
      r.top = i % 3 == 0
        and 'selectors: { w: { strategy: warm, targets: [a, b] } }\nprofiles: { p: { pins: { x: a } } }'
        or 'peers: { far: { proxy: "http://127.0.0.1:9", models: [p] } }'
    end, function(_, i)
      if i % 4 == 0 then assert.equal(200, (r:ask 'a')) end
    end)
  end)

  it('that add and remove models, while answers of older configurations go on, leave nothing behind', function()
    local r = reload.start { scheduler = 'fifo', models = { a = '' } }
    local open
    flat(r, 60, function(_, i)
      r.models['n' .. (i - 2)] = nil
      r.models['n' .. i] = ''
    end, function(_, i)
      if open then open:close() end
      open = nil
      if i % 5 == 0 then
        open = http.connect(r.srv.port)
        open:request('POST', '/v1/chat/completions', { body = { model = 'a', stream = true, messages = {},
          fake = { endless = true, tps = 20 } } })
        assert.equal(200, open:head(20).status)
      end
    end)
  end)
end)
