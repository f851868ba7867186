-- recycle_spec.lua: SCHED_RECYCLE: processes that must be replaced because their configuration has changed.
local play = require 'spec.unit.sched.play'

local function each(name, fn)
  for _, kind in ipairs { 'serial', 'fifo' } do
    it(('%s (%s)'):format(name, kind), function() fn(kind) end)
  end
end

-- Two models that may run side by side.
local function pair()
  return play.new { kind = 'fifo', models = {
    { id = 'a', group_swap = false, group_exclusive = false }, { id = 'b', group_swap = false, group_exclusive = false } } }
end

-- Three that may not.
local function conf(kind, ...)
  local models = {}
  for i, id in ipairs { 'a', 'b', 'c' } do
    models[i] = { id = id, grace_ms = 10000 }
    for _, gone in ipairs { ... } do models[i].retired = models[i].retired or gone == id end
  end
  return { kind = kind, models = models }
end

describe('recycle', function()
  each('of what does not run ends at once', function(kind)
    local w = play.new(conf(kind))
    w:recycle({ 'a' }, 7):expect { 'unloaded 7' }
    w:arrive('r1', 'a'):expect { 'admit r1', 'swap a', 'start a' }
  end)

  each('stops an idle one at once and starts it again for who comes', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:recycle({ 'a' }):expect { 'stop a' }
    w:arrive('r1', 'a'):expect { 'admit r1' }
    w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
    w:up('a'):expect { 'grant r1' }
    w:done('r1'):expect {}
  end)

  each('lets a serving one finish, grants nothing meanwhile', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a' }, 1, 30000):expect {}
    w:arrive('r2', 'a'):expect { 'admit r2' }
    w:done('r1'):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
    w:up('a'):expect { 'grant r2' }
  end)

  each('cuts what has not ended in time', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a' }, 1, 30000):expect {}
    w:tick(29999):expect {}
    w:tick(30000):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1' }
    w:tick(36000):expect { 'abort r1' }
    w:done('r1'):expect {}
  end)

  each('a request that the stop cut is not tried again', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a' }, 1, 100):tick(100):expect { 'stop a' }
    w:retry('r1'):expect { 'reject r1 unloaded' }
    w:down('a'):expect { 'unloaded 1' }
  end)

  each('a request whose process crashed meanwhile is served by the new one', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a' }, 1, 30000):expect {}
    w:crash('a')
    w:retry('r1')
    w:expect { 'unloaded 1', 'swap a', 'start a' }
    w:up('a'):expect { 'grant r1' }
  end)

  each('undoes a load that is under way; who waits keeps the place', function(kind)
    local w = play.new(conf(kind))
    w:arrive('r1', 'a'):expect { 'admit r1', 'swap a', 'start a' }
    w:arrive('r2', 'a'):expect { 'admit r2' }
    w:recycle({ 'a' }):expect { 'stop a' }
    w:arrive('r3', 'a'):expect { 'admit r3' }
    w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
    w:up 'a'
    if kind == 'serial' then
      w:expect { 'grant r1' }
      w:done('r1'):expect { 'grant r2' }
      w:done('r2'):expect { 'grant r3' }
    else
      w:expect { 'grant r1', 'grant r2', 'grant r3' }
    end
  end)

  each('of one that stops already waits for that', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:unload({ 'a' }, 1):expect { 'stop a' }
    w:recycle({ 'a' }, 2):expect {}
    w:down('a'):expect { 'unloaded 1', 'unloaded 2' }
  end)

  each('of one that crashes before it is stopped', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:recycle({ 'a' }):expect { 'stop a' }
    w:crash('a'):expect { 'unloaded 1' }
    w:arrive('r1', 'a'):expect { 'admit r1', 'swap a', 'start a' }
  end)

  each('of one that refuses to die says so; it is started when it is gone after all', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:recycle({ 'a' }):expect { 'stop a' }
    w:stuck('a'):expect { 'unloaded 1 stuck' }
    w:down('a'):expect {}
    w:arrive('r1', 'a'):expect { 'admit r1', 'swap a', 'start a' }
  end)

  it('starts none before all of them are stopped', function()
    local w = pair():ready 'a':ready 'b'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a', 'b' }):expect { 'stop b' }
    w:arrive('r2', 'b'):down('b'):expect { 'admit r2' }
    w:done('r1'):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1', 'swap b', 'start b' }
  end)

  it('leaves others alone', function()
    local w = pair():ready 'a':ready 'b'
    w:arrive('r1', 'b'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a' }):expect { 'stop a' }
    w:arrive('r2', 'b'):expect { 'admit r2', 'grant r2' }
    w:down('a'):expect { 'unloaded 1' }
  end)

  it('freezes also one without a process: it is not started beside the one whose port it gets', function()
    local w = pair():ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a', 'b' }):expect {}
    w:arrive('r2', 'b'):expect { 'admit r2' }
    w:done('r1'):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1', 'swap b', 'start b' }
  end)

  it('two that overlap: the model is free when both are over', function()
    local w = pair():ready 'a':ready 'b'
    w:arrive('r1', 'b'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a' }, 1):expect { 'stop a' }
    w:recycle({ 'a', 'b' }, 2):expect {}
    w:arrive('r2', 'a'):expect { 'admit r2' }
    w:down('a'):expect { 'unloaded 1' }
    w:done('r1'):expect { 'stop b' }
    w:down('b'):expect { 'unloaded 2', 'swap a', 'start a' }
  end)

  each('a second one does not prolong the patience of the first', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a' }, 1, 1000)
    w:tick(900)
    w:recycle({ 'a' }, 2, 1000)
    w:tick(1000):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1', 'unloaded 2' }
  end)

  each('a removed model: its requests finish, who waits and who comes is refused', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    if kind == 'serial' then w:arrive('r2', 'a'):expect { 'admit r2' } end
    w.s:reconfigure(conf(kind, 'a'))
    w:recycle({ 'a' }, 1, 30000)
    w:expect(kind == 'serial' and { 'reject r2 unloaded' } or {})
    w:arrive('r3', 'a'):expect { 'reject r3 unknown_model' }
    w:done('r1'):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1' }
  end)

  each('a removed model that dies is not brought back for who it served', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w.s:reconfigure(conf(kind, 'a'))
    w:recycle({ 'a' }, 1, 30000):expect {}
    w:crash('a'):expect { 'unloaded 1' }
    w:retry('r1'):expect { 'reject r1 unloaded' }
  end)

  each('a preload that it undid is done again afterwards', function(kind)
    local w = play.new(conf(kind))
    w:preload('a'):expect { 'swap a', 'start a' }
    w:recycle({ 'a' }):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
    w:up('a'):expect {}
  end)

  it('a load that was no preload does not become one', function()
    local w = play.serial('a', 'b')
    w:arrive('r1', 'a'):expect { 'admit r1', 'swap a', 'start a' }
    w:preload('b'):expect {} -- waits for its chance
    w:recycle({ 'a' }):expect { 'stop a' }
    w:cancel('r1'):expect { 'swap b -a' }
    w:down('a'):expect { 'unloaded 1', 'start b' }
    w:up('b'):expect {}
    assert.equal('stopped', w.s:state 'a')
  end)

  each('shutdown while it goes on', function(kind)
    local w = play.new(conf(kind)):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:recycle({ 'a' }, 1, 30000):arrive('r2', 'a'):expect { 'admit r2' }
    w:drain():expect { 'reject r2 shutdown' }
    w:done('r1'):expect { 'stop a' }
    w:unload(nil, 2):expect {}
    w:down('a'):expect { 'unloaded 1', 'unloaded 2' }
  end)

  it('under serial nobody overtakes the one whose model is replaced', function()
    local w = play.serial('a', 'b'):ready 'a'
    w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
    w:arrive('r2', 'a'):arrive('r3', 'b'):expect { 'admit r2', 'admit r3' }
    w:recycle({ 'a' }):done('r1'):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
    w:up('a'):expect { 'grant r2' }
    assert.equal('r3', w:line())
  end)
end)

describe('preloads', function()
  it('are done in the order in which they were asked for', function()
    local w = play.serial('a', 'b', 'c')
    w:preload('c'):expect { 'swap c', 'start c' }
    w:preload('a'):preload('b'):expect {}
    w:up('c'):expect {} -- it has the place; nobody is stopped for the others
  end)
end)
