-- fifo_thousand_spec.lua: 1,000 requests over 5 models with limits against the real program (issue 5, 2). What its
-- scheduler saw is taken from /debug/sched and given to the second engine (spec/unit/sched/fifo_engine.lua): the same
-- grants and refusals, and not one swap more.
local engine = require 'spec.unit.sched.fifo_engine'
local http = require 'spec.support.http_raw'
local net = require 'spec.net'
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'

local names = { 'a', 'b', 'c', 'd', 'e' }
local limits = { a = 12, b = 20, d = 20, e = 4 } -- c: the implicit 10
local groups = { pair = { swap = false, exclusive = true, persistent = false, members = { 'd', 'e' } } }

-- ---- the scheduler's own record ----

-- Adds what is new in a dump to `lines`; dumps overlap.
local function stitch(lines, text)
  local new = {}
  for line in text:gmatch '[^\n]+' do
    if line:sub(1, 1) ~= '#' then new[#new + 1] = line end
  end
  local from = 0
  if #lines > 0 then
    for at = #new, 1, -1 do
      local same = true
      for k = 0, math.min(30, at, #lines) - 1 do
        if new[at - k] ~= lines[#lines - k] then same = false break end
      end
      if same then from = at break end
    end
    assert(from > 0, 'the record has a gap')
  end
  for i = from + 1, #new do lines[#lines + 1] = new[i] end
end

local function replay(lines)
  local models, by_ticket = {}, {}
  for _, m in ipairs(names) do models[m] = { limit = limits[m] } end
  local r = engine.new(models, groups)
  local ours, starts = {}, 0 -- effects of one event, ours and theirs, in the same words
  local event
  local function compare()
    if not event then return end
    local theirs = {}
    for _, fx in ipairs(r.fx) do
      if fx[1] == 'serve' then theirs[#theirs + 1] = 'GRANT ' .. fx[2]
      elseif fx[1] == 'reject' then theirs[#theirs + 1] = 'REJECT ' .. fx[2] end
    end
    assert.same(theirs, ours, event)
    r.fx, ours = {}, {}
  end
  for _, line in ipairs(lines) do
    local kind, rest = line:match '^%s*(%u[%u_]*)(.*)$'
    local ticket, model = rest:match 'ticket=(%d+)', names[(tonumber(rest:match 'model=(%d+)') or -1) + 1]
    if line:sub(1, 1) == ' ' then
      if kind == 'GRANT' or kind == 'REJECT' then ours[#ours + 1] = kind .. ' ' .. ticket end
      if kind == 'START' then starts = starts + 1 end
    else
      compare()
      event = line
      if kind == 'ARRIVE' then
        by_ticket[ticket] = { id = ticket, model = model }
        r:request(by_ticket[ticket])
      elseif kind == 'DONE' then r:serve_done(by_ticket[ticket])
      elseif kind == 'MODEL_UP' then r:swap_done(model)
      elseif kind == 'MODEL_DOWN' then r.st[model] = 'stopped' -- seen by whoever plans meanwhile
      elseif kind == 'MODEL_FAILED' or kind == 'CANCEL' then error('nothing fails here: ' .. line) end
    end
  end
  compare()
  return r, starts
end

-- ---- the traffic ----

describe('1,000 requests over 5 models under fifo with limits', function()
  after_each(server.stop_all)

  it('none is lost, none answered twice, no swap more than the reference', function()
    local seed = tonumber(os.getenv 'LUASWAP_SEED') or os.time()
    math.randomseed(seed)
    local models = {}
    for i, m in ipairs(names) do models[i] = { m, '--tokens 3', { concurrencyLimit = limits[m] or 0 } } end
    local t = traffic.start { models = models, groups = groups }
    local lines, open, issued, done, ended, hot = {}, {}, 0, 0, {}, 'a'
    local by, idle = {}, {}
    for i = 1, 16 do idle[i] = http.connect(t.srv.port) end
    while done < 1000 do
      while #idle > 0 and issued < 1000 do
        local c = table.remove(idle)
        issued = issued + 1
        if issued % 80 == 0 then hot = names[math.random(#names)] end
        c.id = ('r%d'):format(issued)
        c.model = math.random(10) == 1 and names[math.random(#names)] or hot
        local stream = math.random(5) == 1
        c:request('POST', '/v1/chat/completions', t:entry(c.model, c.id,
          { wait_ms = math.random(0, 8), respond = stream and c.id or nil }, { stream = stream }))
        c.answer = c:begin()
        open[#open + 1] = c
        by[c] = #open
      end
      for _, c in ipairs((net.poll(open, 5))) do
        if c:advance(c.answer) then
          local r = c.answer
          assert.is_nil(r.cut)
          assert.is_nil(ended[c.id])
          ended[c.id] = r.status
          if r.status == 200 then
            assert.equal(c.model, r:get 'x-fake-model')
            assert.is_truthy(r.body:find('"' .. c.id .. '"', 1, true), c.id)
          else
            assert.equal(429, r.status, r.body)
            assert.equal('1', r:get 'retry-after')
          end
          done = done + 1
          local at = by[c]
          open[at] = open[#open]
          by[open[at]], by[c] = at, nil
          open[#open] = nil
          idle[#idle + 1] = c
          if done % 60 == 0 then stitch(lines, t.srv:get '/debug/sched'.body) end
        end
      end
    end
    stitch(lines, t.srv:get '/debug/sched'.body)
    for _, c in ipairs(idle) do
      assert.same({ '', 'timeout' }, { c.buf, select(2, c.sock:recv(1, 0)) }) -- nothing more than asked for
      c:close()
    end
    t:at_rest()
    -- what the models got is what was answered with 200, each once
    local got, ok, refused = {}, 0, 0
    for _, id in ipairs(t:ids()) do got[id] = (got[id] or 0) + 1 end
    for id, status in pairs(ended) do
      if status == 200 then ok = ok + 1 else refused = refused + 1 end
      assert.equal(status == 200 and 1 or nil, got[id], id)
    end
    assert.equal(1000, ok + refused)
    assert.is_true(ok > 200 and refused > 0, ('seed %d: %d served, %d refused'):format(seed, ok, refused))
    local r, starts = replay(lines)
    assert.equal(starts, #t:loads())
    assert.is_true(starts > 10 and starts <= r.swaps, ('%d loads, the reference has %d'):format(starts, r.swaps))
  end)
end)
