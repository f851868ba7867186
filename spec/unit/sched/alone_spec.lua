-- alone_spec.lua: requests whose model died under them. One of them may be what it died of, so under fifo each is tried
-- again with nobody beside it: a request that kills its model every time fails alone, and takes nobody down twice.
local play = require 'spec.unit.sched.play'

local function fifo(limit)
  return play.new { kind = 'fifo', models = { { id = 'a', limit = limit or 100 }, 'b' } }:ready 'a'
end

-- n requests are served together and their model dies.
local function crashed(n, limit)
  local w = fifo(limit)
  for i = 1, n do w:arrive('r' .. i, 'a') end
  w:take()
  w:crash 'a'
  for i = 1, n do w:retry('r' .. i, true) end
  w:expect { 'swap a', 'start a' }
  return w
end

describe('after a crash under several requests', function()
  it('each is tried again by itself, in their order', function()
    local w = crashed(3)
    w:up('a'):expect { 'grant r1' }
    w:done('r1'):expect { 'grant r2' }
    w:done('r2'):expect { 'grant r3' }
    w:done('r3'):expect {}
  end)

  it('the one that kills its model fails, its neighbours do not', function()
    local w = crashed(3)
    w:up('a'):expect { 'grant r1' }
    w:done('r1'):expect { 'grant r2' }
    w:crash('a'):retry('r2', true):expect { 'reject r2 start', 'swap a', 'start a' }
    w:up('a'):expect { 'grant r3' }
    w:done('r3'):expect {}
  end)

  it('who arrives meanwhile waits, and then they run side by side again', function()
    local w = crashed(2)
    w:arrive('n1', 'a'):expect { 'admit n1' }
    w:up('a'):expect { 'grant r1' }
    w:arrive('n2', 'a'):expect { 'admit n2' }
    assert.is_true(w.s:will_wait 'a')
    w:done('r1'):expect { 'grant r2' }
    w:done('r2'):expect { 'grant n1', 'grant n2' }
    assert.is_false(w.s:will_wait 'a')
  end)

  it('one that could not be asked at all is innocent: it runs beside others', function()
    local w = fifo():arrive('r1', 'a'):arrive('r2', 'a')
    w:take()
    w:crash('a'):retry('r1'):retry('r2'):expect { 'swap a', 'start a' }
    w:up('a'):expect { 'grant r1', 'grant r2' }
    -- and has its other try left when it is really asked
    w:crash('a'):retry('r1', true):retry('r2', true):expect { 'swap a', 'start a' }
    w:up('a'):expect { 'grant r1' }
    w:done('r1'):expect { 'grant r2' }
    w:crash('a'):retry('r2', true):expect { 'reject r2 start' }
  end)

  it('higher priorities do not come in between', function()
    local w = crashed(2)
    w:arrive('n1', 'a', { priority = 9 }):take()
    w:up('a'):expect { 'grant r1' }
    w:done('r1'):expect { 'grant r2' }
    w:done('r2'):expect { 'grant n1' }
  end)

  it('one of them leaves', function()
    local w = crashed(3)
    w:cancel('r2'):up('a'):expect { 'grant r1' }
    w:cancel('r1'):expect {} -- still served
    w:done('r1'):expect { 'grant r3' }
  end)

  it('others that survived are waited for', function()
    -- the process closed one connection only; it lives
    local w = fifo():arrive('r1', 'a'):arrive('r2', 'a')
    w:take()
    w:retry('r1', true):expect {}
    w:arrive('n1', 'a'):expect { 'admit n1' }
    w:tick(2000):expect {}
    w:done('r2'):expect { 'grant r1' }
    w:done('r1'):expect { 'grant n1' }
  end)

  it('its own end, told late, does not hold up those of the next life', function()
    local w = crashed(2)
    w:up('a'):expect { 'grant r1' }
    w:crash('a') -- r1's connection has not been seen to break yet
    w:arrive('n1', 'a'):take()
    w:up('a'):expect {} -- r2 waits until r1 is out of the books
    w:retry('r1', true):expect { 'reject r1 start', 'grant r2' }
    w:done('r2'):expect { 'grant n1' }
  end)

  it('moved elsewhere it is one among others', function()
    local w = play.new { kind = 'fifo',
      models = { { id = 'a', group_swap = false }, { id = 'b', group_swap = false } } }
    w:ready('a'):ready('b'):arrive('o1', 'b'):arrive('r1', 'a'):arrive('r2', 'a'):take()
    w:retry('r1', true):expect {} -- r2 is served on
    w:move('r1', 'b'):expect { 'moved r1 b', 'grant r1' }
  end)

  it('the kind of scheduler changes', function()
    local w = crashed(2)
    w.s:reconfigure { kind = 'serial', models = { { id = 'a', limit = 100 }, 'b' } }
    w:tick():up('a'):take()
    w.s:reconfigure { kind = 'fifo', models = { { id = 'a', limit = 100 }, 'b' } }
    w:arrive('n1', 'a'):take()
    w:done('r1'):done('r2'):done('n1')
    assert.equal(0, w.s:waiting())
  end)

  it('nobody is sent to a process whose death has not been reported yet', function()
    for _, kind in ipairs { 'fifo', 'serial' } do
      local w = play.new { kind = kind, models = { 'a' } }:ready 'a'
      w:arrive('r1', 'a'):expect { 'admit r1', 'grant r1' }
      w:done('r1', true):arrive('r2', 'a'):expect { 'admit r2' }
      w:crash('a'):expect { 'swap a', 'start a' }
      w:up('a'):expect { 'grant r2' }
      w:done('r2', true):arrive('r3', 'a'):expect { 'admit r3' }
      w:tick(1000):expect { 'grant r3' } -- it lives: it has just closed a connection
    end
  end)

  it('under serial nothing is different: everybody is alone', function()
    local w = play.serial('a'):ready 'a'
    w:arrive('r1', 'a'):arrive('r2', 'a'):expect { 'admit r1', 'grant r1', 'admit r2' }
    w:crash('a'):retry('r1', true):expect { 'swap a', 'start a' }
    w:up('a'):expect { 'grant r1' }
    w:crash('a'):retry('r1', true):expect { 'reject r1 start', 'swap a', 'start a' }
    w:up('a'):expect { 'grant r2' }
  end)
end)
