-- New configurations while requests wait and are served: sched_reconfigure and SCHED_RECYCLE.
local play = require 'spec.unit.sched.play'

local function recycle(w, models, drain_ms, op)
  return w:post { kind = 'RECYCLE', models = models, op = op or 1, grace_ms = drain_ms or 30000 }
end

local function reload(w, conf)
  w.s:reconfigure(conf)
  return w:tick()
end

local function together()
  return play.new { kind = 'fifo', models = { { id = 'a', group_swap = false }, { id = 'b', group_swap = false } } }
end

describe('recycle: replacing the processes of changed models', function()
  it('an idle one is stopped at once and started again for the next request', function()
    local w = play.serial('a'):ready('a')
    recycle(w, { 'a' }):expect { 'stop a' }
    w:arrive('r', 'a'):expect { 'admit r' }
    w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
  end)

  it('one that serves is stopped after its last request, those in line keep their places', function()
    local w = play.serial('a', 'b'):ready('a'):arrive('r1', 'a'):arrive('r2', 'a'):arrive('r3', 'b')
    w:take()
    recycle(w, { 'a' }):expect {}
    w:done('r1'):expect { 'stop a' }
    assert.equal('r2 r3', w:line())
    w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
    w:up('a'):expect { 'grant r2' }
  end)

  it('after the drain time its requests are cut', function()
    local w = play.serial('a'):ready('a'):arrive('r1', 'a')
    recycle(w, { 'a' }, 2000)
    w:take()
    w:tick(1999):expect {}
    w:tick(2000):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1' }
    w:tick(7000):expect { 'abort r1' }
  end)

  it('the drain time of one that died meanwhile does not touch its next life', function()
    local w = play.serial('a'):ready('a'):arrive('r1', 'a')
    recycle(w, { 'a' }, 2000)
    w:crash('a'):done('r1'):arrive('r2', 'a'):up('a')
    w:take()
    w:tick(2000):expect {}
    assert.equal(1, w.s:inflight 'a')
  end)

  it('a load under way is undone and begun anew, who waited for it is served first', function()
    for _, kind in ipairs { 'serial', 'fifo' } do
      local w = play.new { kind = kind, models = { 'a' } }:arrive('r1', 'a'):arrive('r2', 'a')
      w:take()
      recycle(w, { 'a' }):expect { 'stop a' }
      assert.equal('r1 r2', w:line())
      w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
      w:up('a')
      assert.equal('grant r1', w:take()[1])
    end
  end)

  it('serial: nobody overtakes the first in line, and nobody is stopped for it before it may start', function()
    local w = play.serial('a', 'b'):ready('b')
    recycle(w, { 'a' }, nil, 7):expect { 'unloaded 7' }
    w:adopt('a', 'stopping')
    recycle(w, { 'a' }, nil, 8):expect {}
    w:arrive('r1', 'a'):arrive('r2', 'b'):expect { 'admit r1', 'admit r2' }
    w:crash('a'):expect { 'unloaded 8', 'swap a -b', 'stop b' }
  end)

  it('fifo: others go on', function()
    local w = together()
    w:ready('a'):ready('b'):arrive('ra', 'a')
    recycle(w, { 'a' })
    w:take()
    w:arrive('rb', 'b'):arrive('ra2', 'a'):expect { 'admit rb', 'grant rb', 'admit ra2' }
    w:done('ra'):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 1', 'swap a', 'start a' }
  end)

  it('two at once: the model starts again after the later one', function()
    local w = together()
    w:ready('a'):ready('b'):arrive('rb', 'b')
    recycle(w, { 'a' }, nil, 1)
    recycle(w, { 'a', 'b' }, nil, 2)
    w:arrive('ra', 'a'):take()
    w:down('a'):expect { 'unloaded 1' }
    w:done('rb'):expect { 'stop b' }
    w:down('b'):expect { 'unloaded 2', 'swap a', 'start a' }
  end)
end)

describe('reconfigure', function()
  it('limits, TTL and priorities of the new configuration hold from now on', function()
    local w = play.new { kind = 'fifo', models = { { id = 'a', limit = 1 } } }:ready('a'):arrive('r1', 'a')
    w:arrive('r2', 'a'):expect { 'admit r1', 'grant r1', 'reject r2 busy' }
    reload(w, { kind = 'fifo', models = { { id = 'a', limit = 2, ttl_ms = 100 } } })
    w:arrive('r3', 'a'):expect { 'admit r3', 'grant r3' }
    w:done('r1'):done('r3'):tick(100):expect { 'stop a' }
  end)

  it('a model may be added; a retired one takes no requests and its waiting ones are refused', function()
    local w = play.serial('a', 'b'):ready('a'):arrive('r1', 'a'):arrive('r2', 'b'):arrive('r3', 'a')
    w:take()
    reload(w, { kind = 'serial', models = { 'a', { id = 'b', retired = true }, 'c' } }):expect { 'reject r2 unloaded' }
    w:arrive('r4', 'b'):expect { 'reject r4 unknown_model' }
    w:arrive('r5', 'c'):expect { 'admit r5' }
    w:done('r1'):done('r3'):expect { 'grant r3', 'swap c -a', 'stop a' }
  end)

  it('from fifo to serial: what runs in parallel ends first, then one at a time in arrival order', function()
    local models = { { id = 'a', group_swap = false }, { id = 'b', group_swap = false, priority = 9 } }
    local w = play.new { kind = 'fifo', models = models }:ready('a'):arrive('a1', 'a'):arrive('a2', 'a')
    w:arrive('b1', 'b'):arrive('b2', 'b')
    w:take()
    reload(w, { kind = 'serial', models = models }):expect {}
    w:arrive('a3', 'a'):expect { 'admit a3' }
    assert.equal('b1 b2 a3', w:line())
    w:done('a1'):expect {}
    w:done('a2'):expect { 'swap b -a', 'stop a' }
    w:down('a'):up('b'):expect { 'grant b1' }
    w:done('b1'):expect { 'grant b2' }
  end)

  it('from serial to fifo: the line opens', function()
    local models = { { id = 'a', group_swap = false }, { id = 'b', group_swap = false, priority = 9 } }
    local w = play.new { kind = 'serial', models = models }:ready('a')
    w:arrive('a1', 'a'):arrive('a2', 'a'):arrive('b1', 'b')
    w:take()
    reload(w, { kind = 'fifo', models = models }):expect { 'swap b', 'start b', 'grant a2' }
    w:up('b'):expect { 'grant b1' }
  end)
end)
