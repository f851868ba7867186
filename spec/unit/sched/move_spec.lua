-- move_spec.lua: SCHED_MOVE: a request in the line that a `warm` selector would now send elsewhere.
local play = require 'spec.unit.sched.play'

local function beside(...)
  local models = {}
  for i, id in ipairs { ... } do models[i] = { id = id, group_swap = false, group_exclusive = false } end
  return play.new { kind = 'fifo', models = models }
end

describe('a request that moves to another model', function()
  it('keeps its place in the line, and nobody is told anything new', function()
    local w = play.serial('a', 'b', 'c'):ready 'c'
    w:arrive('r1', 'c', { positions = true }):expect { 'admit r1', 'grant r1' }
    for _, r in ipairs { { 'r2', 'a' }, { 'r3', 'b' }, { 'r4', 'a' } } do w:arrive(r[1], r[2], { positions = true }) end
    w:take()
    w:told { 'r2:1', 'r3:2', 'r4:3' }
    w:move('r3', 'a'):expect { 'moved r3 a' }:told {}
    assert.equal('r2 r3 r4', w:line())
    w:done('r1'):down('c'):up('a'):expect { 'swap a -c', 'stop c', 'start a', 'grant r2' }
    w:done('r2'):done('r3'):done('r4'):expect { 'grant r3', 'grant r4' }
  end)

  it('spares a load under serial: what would have been three swaps is one', function()
    local w = play.serial('a', 'b'):ready 'b'
    w:arrive('r1', 'b'):arrive('r2', 'a'):arrive('r3', 'b'):take()
    w:move('r2', 'b'):expect { 'moved r2 b' }
    w:done('r1'):done('r2'):done('r3'):expect { 'grant r2', 'grant r3' }
  end)

  it('is granted at once when its new model is ready (fifo)', function()
    local w = play.fifo('a', 'b'):ready 'b'
    w:arrive('r1', 'b'):arrive('r2', 'a'):expect { 'admit r1', 'grant r1', 'admit r2' }
    w:move('r2', 'b'):expect { 'moved r2 b', 'grant r2' }
  end)

  it('joins a load that is under way (fifo)', function()
    local w = play.fifo('a', 'b', 'c')
    w:arrive('r1', 'a'):arrive('r2', 'b'):expect { 'admit r1', 'swap a', 'start a', 'admit r2' }
    w:move('r2', 'a'):expect { 'moved r2 a' }
    w:up('a'):expect { 'grant r1', 'grant r2' }
  end)

  it('stays when its load has been begun, when it is served, and when it is gone', function()
    local w = beside('a', 'b'):ready 'b'
    w:arrive('r1', 'a'):expect { 'admit r1', 'swap a', 'start a' }
    w:move('r1', 'b'):expect {}
    w:up('a'):expect { 'grant r1' }
    w:move('r1', 'b'):expect {}
    w:done('r1'):move('r1', 'b'):expect {}
  end)

  it('stays when the other model is full, goes away, is being replaced, removed or unknown', function()
    local models = { 'a', { id = 'b', limit = 1 }, 'c' }
    local w = play.new { kind = 'fifo', models = models }:ready 'b'
    w:arrive('r1', 'b'):arrive('r2', 'a'):expect { 'admit r1', 'grant r1', 'admit r2' }
    w:move('r2', 'b'):expect {}
    w:move('r2', 'nobody'):expect {}
    w:recycle({ 'b' }, 1, 9000):move('r2', 'b'):expect {}
    w.s:reconfigure { kind = 'fifo', models = { 'a', { id = 'b', limit = 9, retired = true }, 'c' } }
    w:move('r2', 'b'):expect {}
    w:done('r1'):expect { 'stop b', 'swap a -b' }
    w:down('b'):expect { 'unloaded 1', 'start a' }
  end)

  it('stays when the other model is about to be stopped for a third one', function()
    local w = play.new { kind = 'fifo', max_wait_ms = 1000, models = { 'a', 'b', 'c' } }:ready 'b'
    w:arrive('r1', 'b'):arrive('r2', 'c'):arrive('r3', 'a'):take()
    w:tick(1000):expect { 'swap c -b' } -- b drains
    w:move('r3', 'b'):expect {}
    w:done('r1'):expect { 'stop b' }
  end)

  it('gives up what was kept free for it (maxWait)', function()
    local w = play.new { kind = 'fifo', max_wait_ms = 1000, models = {
      { id = 'a', group = 1 }, { id = 'b', group = 1 }, { id = 'c', group = 2, group_exclusive = false,
      group_swap = false } } }:ready 'b'
    w:arrive('r1', 'b'):arrive('r2', 'a'):take()
    w:tick(1000):take()
    w:move('r2', 'c'):take()
    w:done('r1'):take()
    w:arrive('r4', 'b'):take()
    local broken = w.s:check()
    assert.is_nil(broken)
  end)

  it('counts against the limit of its new model', function()
    local w = play.new { kind = 'serial', models = { 'a', { id = 'b', limit = 1 }, 'c' } }
    w:arrive('r1', 'c'):arrive('r2', 'a'):take()
    w:move('r2', 'b'):expect { 'moved r2 b' }
    w:arrive('r3', 'b'):expect { 'reject r3 busy' }
    w:cancel('r2'):arrive('r4', 'b'):expect { 'admit r4' }
  end)

  it('there and back again', function()
    local w = play.serial('a', 'b', 'c')
    w:arrive('r1', 'c'):arrive('r2', 'a'):take()
    w:move('r2', 'b'):move('r2', 'a'):move('r2', 'a'):expect { 'moved r2 b', 'moved r2 a' }
    w:up('c'):done('r1'):down('c'):up('a'):expect { 'grant r1', 'swap a -c', 'stop c', 'start a', 'grant r2' }
  end)
end)
