-- fifo_groups_spec.lua: which models live beside each other under the group and the matrix planner
-- (runtime.md 3.3, 3.4; A063 to A077), seen on real processes.
local server = require 'spec.support.server'
local traffic = require 'spec.support.traffic'
local wait = require 'spec.support.wait'

local function fine(list)
  for i, r in ipairs(list) do assert.equal(200, r.status, ('answer %d: %s'):format(i, r.body)) end
end

-- Asks the models one after the other.
local function ask(t, ...)
  for _, m in ipairs { ... } do
    local r = t.srv:chat(m)
    assert.equal(200, r.status, m .. ': ' .. r.body)
  end
end

-- Exactly these run, says luaswap and says the process table.
local function run(t, ...)
  local want = {}
  for _, m in ipairs { ... } do want[m] = 'ready' end
  assert.same(want, t:states())
  local names = {}
  for _, p in ipairs(t.srv:models()) do names[p.cmdline:match '%-%-model (%S+)'] = 'ready' end
  assert.same(want, names)
end

describe('groups', function()
  after_each(server.stop_all)

  it('with swap: the member that ran is stopped once, the new one runs (A063)', function()
    local t = traffic.start { models = { 'a', 'b', 'z' }, groups = { g = { swap = true, members = { 'a', 'b' } } } }
    ask(t, 'a', 'b')
    run(t, 'b')
    assert.same({ 'a', 'b' }, t:loads())
    assert.equal(1, #t:events('term', 'a'))
    assert.equal(1, #t:events('start', 'b'))
  end)

  it('without swap: the sibling keeps running (A064)', function()
    local t = traffic.start { models = { 'a', 'b' }, groups = { g = { swap = false, members = { 'a', 'b' } } } }
    ask(t, 'a', 'b', 'a')
    run(t, 'a', 'b')
    assert.same({ 'a', 'b' }, t:loads())
  end)

  it('that are exclusive stop each other (A065), all members of them', function()
    local t = traffic.start { models = { 'a', 'b', 'c', 'd' }, groups = { g = { swap = false, members = { 'a', 'b' } },
      h = { swap = false, members = { 'c', 'd' } } } }
    ask(t, 'a', 'b', 'c')
    run(t, 'c')
    ask(t, 'd', 'a')
    run(t, 'a')
  end)

  it('that are not exclusive load together, nothing is stopped (A066)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 600' }, { 'b', '--load-ms 600' } }, groups = {
      g = { exclusive = false, members = { 'a' } }, h = { exclusive = false, members = { 'b' } } } }
    local a, b = t:send('a', 'a1'), t:send('b', 'b1')
    wait.till(function()
      local s = t:states()
      return s.a == 'starting' and s.b == 'starting'
    end, 10, 'both to be starting')
    t:ok(a)
    t:ok(b)
    run(t, 'a', 'b')
    assert.is_true(math.max(t:at('up', 'a'), t:at('up', 'b')) < math.min(t:at('ready', 'a'), t:at('ready', 'b')))
    assert.equal(0, #t:events 'term')
  end)

  it('let the second of two members that are asked at once wait and then stop the first (A067)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 300' }, 'b' } }
    fine(t:all({ { 'a', 'a1' }, { 'b', 'b1' } }, 0))
    run(t, 'b')
    assert.same({ 'a', 'b' }, t:loads())
    assert.same({ 'a1', 'b1' }, t:ids())
    assert.is_true(t:at('up', 'b') >= t:at('term', 'a'))
  end)

  it('that are persistent stay when an exclusive one loads (A068)', function()
    local t = traffic.start { models = { 'p', 'q', 'a' }, groups = { keep = { persistent = true, exclusive = false,
      members = { 'p', 'q' } } } }
    ask(t, 'p', 'a')
    run(t, 'a', 'p')
    ask(t, 'q') -- within the group it swaps
    run(t, 'a', 'q')
  end)

  it('that are not exclusive leave a running exclusive one alone (A069)', function()
    local t = traffic.start { models = { 'a', 'b' }, groups = { g = { members = { 'a' } },
      h = { exclusive = false, members = { 'b' } } } }
    ask(t, 'a', 'b')
    run(t, 'a', 'b')
    ask(t, 'b')
    assert.same({ 'a', 'b' }, t:loads())
  end)

  it('serial swaps within the rule of one at a time whatever the groups say', function()
    local t = traffic.start { use = 'serial', models = { 'a', 'b' }, groups = { g = { swap = false, members = { 'a', 'b' } } } }
    ask(t, 'a', 'b')
    run(t, 'b')
  end)
end)

describe('the matrix', function()
  after_each(server.stop_all)

  it('evicts what is in no common set and keeps what is (A070)', function()
    local t = traffic.start { models = { 'a', 'b', 'c' }, matrix = 'sets:\n  one: a & b\n  two: c' }
    ask(t, 'a', 'b')
    run(t, 'a', 'b')
    ask(t, 'c')
    run(t, 'c')
    ask(t, 'a')
    run(t, 'a')
  end)

  it('loads both of a common set at once when both are cold (A070)', function()
    local t = traffic.start { models = { { 'a', '--load-ms 500' }, { 'b', '--load-ms 500' } }, matrix = 'sets:\n  one: a & b' }
    fine(t:all { { 'a', 'a1' }, { 'b', 'b1' } })
    assert.is_true(math.max(t:at('up', 'a'), t:at('up', 'b')) < math.min(t:at('ready', 'a'), t:at('ready', 'b')))
  end)

  it('lets an incompatible one wait until the busy one is idle, then evicts it (A070)', function()
    local t = traffic.start { models = { 'a', 'b' }, matrix = 'sets:\n  one: a\n  two: b' }
    local a = t:hold('a', 'a1')
    local b = t:send('b', 'b1')
    t:queued(1)
    assert.same({ 'a' }, t:loads())
    a:close()
    t:ok(b)
    run(t, 'b')
    assert.is_true(t:at('up', 'b') >= t:at('gone', 'a'))
  end)

  it('takes the set that is written first when two cost the same (A071), in the order of the file (A077)', function()
    for _, order in ipairs { { 'zed', 'alpha' }, { 'alpha', 'zed' } } do
      local sets = { zed = 'a & b', alpha = 'a & c' }
      local t = traffic.start { models = { 'a', 'b', 'c' }, matrix = ('sets:\n  %s: %s\n  %s: %s\n  both: b & c'):format(
        order[1], sets[order[1]], order[2], sets[order[2]]) }
      ask(t, 'b', 'c')
      run(t, 'b', 'c')
      ask(t, 'a')
      run(t, 'a', order[1] == 'zed' and 'b' or 'c')
      t.srv:stop()
    end
  end)

  it('weighs the costs: the dear one stays (A072)', function()
    local t = traffic.start { models = { 'a', 'b', 'c' },
      matrix = 'vars:\n  dear: b\nevict_costs:\n  dear: 10\n  c: 1\nsets:\n  ac: a & c\n  ab: a & dear\n  bc: b & c' }
    ask(t, 'b', 'c', 'a')
    run(t, 'a', 'b')
  end)

  it('runs a model of no set alone (A073)', function()
    local t = traffic.start { models = { 'a', 'b', 'd' }, matrix = 'sets:\n  ab: a & b' }
    ask(t, 'a', 'b')
    run(t, 'a', 'b')
    ask(t, 'd')
    run(t, 'd')
    ask(t, 'a')
    run(t, 'a')
  end)

  it('never evicts a model that is busy, though the set would allow it', function()
    local t = traffic.start { models = { 'a', 'b', 'c' }, matrix = 'sets:\n  ab: a & b\n  ac: a & c' }
    ask(t, 'a', 'b')
    local b = t:hold('b', 'b1')
    local c = t:send('c', 'c1')
    t:queued(1)
    assert.equal(200, t.srv:chat 'a'.status) -- a is ready and in nobody's way
    t:queued(1)
    b:close()
    t:ok(c)
    run(t, 'a', 'c')
  end)
end)
