-- fifo with the group and matrix planners: acceptance cases A033 to A076 as far as they are the scheduler's
-- (A034 metadata, A062 loader, A077 loader), and the repairs D-F1, D-F3.
local play = require 'spec.unit.sched.play'

-- Models of one swapping, exclusive group each: they push each other out.
local function apart(...)
  local models = {}
  for i, id in ipairs { ... } do models[i] = { id = id } end
  return models
end

-- Models that live together.
local function together(...)
  local models = {}
  for i, id in ipairs { ... } do models[i] = { id = id, group_swap = false } end
  return models
end

local function fifo(models, more)
  local conf = { kind = 'fifo', models = models }
  for k, v in pairs(more or {}) do conf[k] = v end
  return play.new(conf)
end

describe('fifo', function()
  it('A033: ready model, nothing to evict -> served at once', function()
    fifo(apart 'a'):ready('a'):arrive('r', 'a'):expect { 'admit r', 'grant r' }
  end)

  it('A035: unknown model -> refused at admission', function()
    fifo(apart 'a'):arrive('r', 'nobody'):expect { 'reject r unknown_model' }
  end)

  it('A036: cold model -> one swap, served only after it', function()
    fifo(apart 'a'):arrive('r', 'a'):expect { 'admit r', 'swap a', 'start a' }:up('a'):expect { 'grant r' }
  end)

  it('A037: three requests for one cold model -> one swap, all served', function()
    local w = fifo(apart 'a'):arrive('r1', 'a'):arrive('r2', 'a'):arrive('r3', 'a')
    w:expect { 'admit r1', 'swap a', 'start a', 'admit r2', 'admit r3' }
    assert.equal(3, w.s:waiting())
    w:up('a'):expect { 'grant r1', 'grant r2', 'grant r3' }
  end)

  it('A038: swap failure with two waiters -> both errored', function()
    local w = fifo(apart 'a'):arrive('r1', 'a'):arrive('r2', 'a')
    w:take()
    w:failed('a'):expect { 'reject r1 start', 'reject r2 start' }
  end)

  it('A039: b evicts a; a loading -> b waits until a is idle', function()
    local w = fifo(apart('a', 'b')):arrive('ra', 'a'):arrive('rb', 'b')
    w:expect { 'admit ra', 'swap a', 'start a', 'admit rb' }
    w:up('a'):expect { 'grant ra' }
    w:done('ra'):expect { 'swap b -a', 'stop a' }
    w:down('a'):up('b'):expect { 'start b', 'grant rb' }
  end)

  it('A040: models that need no eviction load at once', function()
    local w = fifo(together('a', 'b')):arrive('ra', 'a'):arrive('rb', 'b')
    w:expect { 'admit ra', 'swap a', 'start a', 'admit rb', 'swap b', 'start b' }
  end)

  it('A041: two that evict the same model -> the second waits for the first swap', function()
    local models = { { id = 'x', group = 1, group_exclusive = false }, { id = 'a', group = 2 }, { id = 'b',
      group = 3 } }
    local w = fifo(models):ready('x'):arrive('ra', 'a'):arrive('rb', 'b')
    w:expect { 'admit ra', 'swap a -x', 'stop x', 'admit rb' }
    w:down('x'):up('a'):expect { 'start a', 'grant ra' }
    w:done('ra'):expect { 'swap b -a', 'stop a' }
  end)

  it('A042: a evicts b and c, both queued -> they start together after it', function()
    local models = { { id = 'a', group = 1 }, { id = 'b', group = 2, group_exclusive = false, group_swap = false },
      { id = 'c', group = 2, group_exclusive = false, group_swap = false } }
    local w = fifo(models):ready('b'):ready('c'):arrive('ra', 'a'):arrive('rb', 'b'):arrive('rc', 'c')
    w:expect { 'admit ra', 'swap a -b,c', 'stop b', 'stop c', 'admit rb', 'admit rc' }
    w:down('b'):down('c'):expect { 'start a' }
    w:up('a'):expect { 'grant ra', 'swap b', 'start b', 'swap c', 'start c' }
  end)

  it('A043: a b c a b c -> one swap per model, two served each', function()
    local w = fifo(apart('a', 'b', 'c'))
    for _, r in ipairs { 'a1', 'b1', 'c1', 'a2', 'b2', 'c2' } do w:arrive(r, r:sub(1, 1)) end
    w:take()
    w:up('a'):expect { 'grant a1', 'grant a2' }
    w:done('a1'):expect {}
    w:done('a2'):expect { 'swap b -a', 'stop a' }
    w:down('a'):up('b'):expect { 'start b', 'grant b1', 'grant b2' }
    w:done('b1'):done('b2'):expect { 'swap c -b', 'stop b' }
    w:down('b'):up('c'):expect { 'start c', 'grant c1', 'grant c2' }
  end)

  it('A044: a serves two, b evicts a -> b starts after both are done', function()
    local w = fifo(apart('a', 'b')):ready('a'):arrive('a1', 'a'):arrive('a2', 'a'):arrive('b1', 'b')
    w:expect { 'admit a1', 'grant a1', 'admit a2', 'grant a2', 'admit b1' }
    w:done('a1'):expect {}
    w:done('a2'):expect { 'swap b -a', 'stop a' }
  end)

  it('A045: the caller is gone at the grant -> its end frees the model', function()
    local w = fifo(apart('a', 'b')):arrive('ra', 'a')
    w:up('a'):cancel('ra'):arrive('rb', 'b')
    w:take()
    w:done('ra'):expect { 'swap b -a', 'stop a' }
  end)

  it('A046: shutdown with two swaps of two waiters and one queued -> five errors', function()
    local models = { { id = 'a', group_swap = false }, { id = 'b', group_swap = false }, { id = 'c', group = 2 } }
    local w = fifo(models)
    for _, r in ipairs { 'a1', 'a2', 'b1', 'b2', 'c1' } do w:arrive(r, r:sub(1, 1)) end
    w:take()
    w:drain()
    local rejected = 0
    for _, l in ipairs(w:take()) do rejected = rejected + (l:match 'shutdown' and 1 or 0) end
    assert.equal(5, rejected)
    assert.equal(0, w.s:waiting())
  end)

  it('A047: unload of a loading model with two waiters -> two errors, one stop', function()
    local w = fifo(apart 'a'):arrive('r1', 'a'):arrive('r2', 'a')
    w:take()
    w:unload({ 'a' }, 1, 700):expect { 'reject r1 unloaded', 'reject r2 unloaded', 'stop a' }
    assert.equal(700, w.grace)
    w:down('a'):expect { 'unloaded 1' }
  end)

  it('A048: unload of a queued model -> its request errored, the running swap untouched', function()
    local w = fifo(apart('a', 'b')):arrive('ra', 'a'):arrive('rb', 'b')
    w:take()
    w:unload({ 'b' }, 2):expect { 'reject rb unloaded', 'unloaded 2' }
    w:up('a'):expect { 'grant ra' }
    w:done('ra'):expect {}
  end)

  it('A049: priorities A10 B5 C5 D1, arrivals B D C A -> line A B C D', function()
    local w = fifo { { id = 'x' }, { id = 'a', priority = 10 }, { id = 'b', priority = 5 }, { id = 'c', priority = 5 },
      { id = 'd', priority = 1 } }
    w:arrive('X', 'x')
    for _, m in ipairs { 'b', 'd', 'c', 'a' } do w:arrive(m:upper(), m) end
    assert.equal('A B C D', w:line())
    w:arrive('hurry', 'd', { priority = 11 })
    assert.equal('hurry A B C D', w:line())
  end)

  it('A050: cancel of a queued request -> no load for it', function()
    local w = fifo(apart('a', 'b')):arrive('ra', 'a'):arrive('rb', 'b'):cancel('rb'):up('a'):done('ra')
    w:expect { 'admit ra', 'swap a', 'start a', 'admit rb', 'grant ra' }
  end)

  it('A051: cancel of one of two waiters -> the other is served, also when it was the first', function()
    local w = fifo(apart 'a'):arrive('r1', 'a'):arrive('r2', 'a'):cancel('r1')
    w:take()
    w:up('a'):expect { 'grant r2' }
  end)

  it('A052: cancel of something granted -> nothing until its end', function()
    local w = fifo(apart 'a'):ready('a'):arrive('r', 'a'):cancel('r')
    w:expect { 'admit r', 'grant r' }
    assert.equal(1, w.s:inflight 'a')
  end)

  it('A053: limit 1 -> the second is refused, after the first the next is accepted', function()
    local w = fifo { { id = 'a', limit = 1 } }:ready('a'):arrive('r1', 'a'):arrive('r2', 'a')
    w:expect { 'admit r1', 'grant r1', 'reject r2 busy' }
    w:done('r1'):arrive('r3', 'a'):expect { 'admit r3', 'grant r3' }
  end)

  it('A054: no limit configured -> ten accepted, the eleventh refused', function()
    local w = fifo(apart 'a'):ready('a')
    for i = 1, 10 do w:arrive('r' .. i, 'a'):expect { 'admit r' .. i, 'grant r' .. i } end
    w:arrive('r11', 'a'):expect { 'reject r11 busy' }
  end)

  it('A055, A056: limit 2 counts those that wait for the load', function()
    local w = fifo { { id = 'a', limit = 2 } }:arrive('r1', 'a'):arrive('r2', 'a'):arrive('r3', 'a')
    w:expect { 'admit r1', 'swap a', 'start a', 'admit r2', 'reject r3 busy' }
    w:up('a'):expect { 'grant r1', 'grant r2' }
  end)

  it('A057: limit 2 counts those in line', function()
    local w = fifo { { id = 'a' }, { id = 'b', limit = 2 } }:ready('a'):arrive('ra', 'a')
    w:arrive('b1', 'b'):arrive('b2', 'b'):arrive('b3', 'b')
    w:expect { 'admit ra', 'grant ra', 'admit b1', 'admit b2', 'reject b3 busy' }
    w:done('ra'):down('a'):up('b'):expect { 'swap b -a', 'stop a', 'start b', 'grant b1', 'grant b2' }
  end)

  it('A058: limit 1, the queued one leaves -> the next is accepted', function()
    local w = fifo { { id = 'a' }, { id = 'b', limit = 1 } }:ready('a'):arrive('ra', 'a'):arrive('b1', 'b'):cancel('b1')
    w:take()
    w:arrive('b2', 'b'):expect { 'admit b2' }
  end)

  it('A059: one that left before it was seen leaves nothing; an end without a grant gives nothing back', function()
    local w = fifo({ { id = 'a', limit = 1 } }):ready('a')
    w.ids.r1 = 77 -- a number that nobody was given
    w:cancel('r1'):done('r1'):retry('r1'):expect {}
    w:arrive('r2', 'a'):expect { 'admit r2', 'grant r2' }
    w:done('r1'):arrive('r3', 'a'):expect { 'reject r3 busy' } -- r2 still holds the one place
    w:done('r2'):done('r2'):arrive('r4', 'a'):expect { 'admit r4', 'grant r4' }
    w:arrive('r5', 'a'):expect { 'reject r5 busy' }
  end)

  it('A111: at the end of the program a process has ten seconds, whatever its unloadTimeout', function()
    local w = fifo(together('a', { id = 'b', group_swap = false })):ready('a')
    w.s:reconfigure { kind = 'fifo', models = { { id = 'a', grace_ms = 1000, group_swap = false },
      { id = 'b', grace_ms = 30000, group_swap = false } } }
    w:arrive('rb', 'b'):take()
    w:drain(10000):expect { 'reject rb shutdown', 'stop b' }
    assert.equal(30000, w.grace)
    w:unload(nil, 5):expect { 'stop a' }
    assert.equal(10000, w.grace)
  end)

  it('A060 D-F1: maxWait ends the starvation by steady traffic', function()
    local w = fifo(apart('a', 'b'), { max_wait_ms = 5000 }):ready('a')
    w:arrive('a1', 'a')
    w.now = 100
    w:arrive('b1', 'b')
    for i = 2, 6 do -- always one in flight
      w.now = i * 800
      w:arrive('a' .. i, 'a'):done('a' .. i - 1)
    end
    w:take()
    assert.equal(5100, w.wake)
    w:tick(5100):expect { 'swap b -a' } -- drains a
    w.now = 5200
    w:arrive('a7', 'a'):expect { 'admit a7' }
    w:done('a6'):expect { 'stop a' }
    w:down('a'):up('b'):expect { 'start b', 'grant b1' }
    w:done('b1'):expect { 'swap a -b', 'stop b' }
  end)

  it('D-F1: one that waited too long keeps its way free behind a foreign swap', function()
    -- b needs a and c gone. While d loads beside a, b cannot start; then nothing may get in its way again.
    local models = { { id = 'a', group = 1, group_exclusive = false }, { id = 'b', group = 2 },
      { id = 'c', group = 3, group_exclusive = false } }
    local w = fifo(models, { max_wait_ms = 1000 }):ready('a'):arrive('a1', 'a'):arrive('b1', 'b')
    w.now = 900
    w:arrive('c1', 'c')
    w:expect { 'admit a1', 'grant a1', 'admit b1', 'admit c1', 'swap c', 'start c' }
    w:tick(1000):expect {} -- c is being loaded: b has to wait for that
    w:arrive('a2', 'a'):expect { 'admit a2' } -- but a gets no new work
    w:done('a1'):expect {}
    w:up('c'):expect { 'grant c1', 'swap b -a,c' }
    w:arrive('c2', 'c'):expect { 'admit c2' }
    w:done('c1'):expect { 'stop a', 'stop c' }
  end)

  it('D-F3: a late result of an unloaded swap is not taken for the new one', function()
    local w = fifo(apart 'a'):arrive('r1', 'a')
    local first = w.s:order 'a'
    w:unload({ 'a' }):arrive('r2', 'a')
    w:take()
    w:up('a', first):expect {}
    w:down('a'):expect { 'unloaded 1', 'start a' }
    w:post { kind = 'MODEL_FAILED', model = 'a', swap = first }:expect {}
    w:up('a'):expect { 'grant r2' }
  end)

  it('orphanLoad: keep goes on with a load that nobody wants, abort stops it', function()
    local w = fifo(apart 'a'):arrive('r', 'a'):cancel('r')
    w:expect { 'admit r', 'swap a', 'start a' }
    w = fifo(apart 'a', { orphan = 'abort' }):arrive('r', 'a'):cancel('r')
    w:expect { 'admit r', 'swap a', 'start a', 'stop a' }
  end)

  it('D-R4: a victim that refuses to die fails the swap, the target never runs beside it', function()
    local w = fifo(apart('a', 'b')):ready('a'):arrive('b1', 'b'):arrive('b2', 'b')
    w:take()
    w:stuck('a'):expect { 'reject b1 stuck', 'reject b2 stuck' }
    w:arrive('b3', 'b'):expect { 'admit b3', 'swap b -a', 'stop a' }
    w:down('a'):up('b'):expect { 'start b', 'grant b3' }
  end)

  it('A108 D-R5: an unload that takes long does not hold up a ready model', function()
    local w = fifo(together('a', 'b')):ready('a'):ready('b'):unload({ 'a' })
    w:expect { 'stop a' }
    w:arrive('rb', 'b'):expect { 'admit rb', 'grant rb' }
    w:arrive('ra', 'a'):expect { 'admit ra', 'swap a' }
    w:down('a'):expect { 'unloaded 1', 'start a' }
  end)

  it('A096: an unload of all stops the ones with the smallest grace first', function()
    local w = fifo { { id = 'a', grace_ms = 45000, group_swap = false }, { id = 'b', grace_ms = 25000,
      group_swap = false },
      { id = 'c', grace_ms = 10000, group_swap = false }, { id = 'd', grace_ms = 25000, group_swap = false } }
    for _, m in ipairs { 'a', 'b', 'c', 'd' } do w:ready(m) end
    w:unload(nil, 4):expect { 'stop c', 'stop b', 'stop d', 'stop a' }
    w:down('a'):down('b'):down('c'):expect {}
    w:down('d'):expect { 'unloaded 4' }
  end)

  it('a crashed model is started again by the next request; a retry takes its old place', function()
    local w = fifo(apart('a', 'b')):ready('a'):arrive('r1', 'a'):arrive('r2', 'b')
    w:take()
    w:crash('a'):retry('r1'):expect { 'swap a', 'start a' }
    w:up('a'):expect { 'grant r1' }
  end)

  it('a retry beside others that are being served waits for the exit, not longer than a second', function()
    local w = fifo(apart 'a'):ready('a'):arrive('r1', 'a'):arrive('r2', 'a')
    w:take()
    w:retry('r1'):expect {}
    assert.equal('r1', w:line())
    w:crash('a'):expect { 'swap a', 'start a' }
    w:done('r2'):up('a'):expect { 'grant r1' }

    w = fifo(apart 'a'):ready('a'):arrive('r1', 'a'):arrive('r2', 'a'):retry('r1')
    w:take()
    w:tick(999):expect {}
    w:tick(1000):expect { 'grant r1' }
  end)

  it('TTL: the idle model goes, the one that is being made ready or is wanted does not', function()
    local w = fifo { { id = 'a', ttl_ms = 100, group_swap = false }, { id = 'b', ttl_ms = 100, group_swap = false } }
    w:ready('a'):arrive('rb', 'b')
    w:take()
    w:tick(100):expect { 'stop a' }
    w.now = 150
    w:up('b'):expect { 'grant rb' }
    w:tick(400):expect {}
    w:done('rb'):tick(499):expect {}
    w:tick(500):expect { 'stop b' }
  end)

  it('pinned models are neither victims nor subject to their TTL', function()
    local w = fifo { { id = 'a', pinned = true, ttl_ms = 10 }, 'b' }:ready('a'):arrive('r', 'b')
    w:expect { 'admit r', 'swap b', 'start b' }
    w:tick(1000):expect {}
  end)

  it('will_wait says what an arrival would meet', function()
    local w = fifo(apart('a', 'b')):ready('a')
    assert.is_false(w.s:will_wait 'a')
    assert.is_true(w.s:will_wait 'b')
    w:arrive('r', 'a')
    assert.is_false(w.s:will_wait 'a')
    w:done('r'):arrive('rb', 'b')
    assert.is_true(w.s:will_wait 'a')
  end)
end)

describe('groups', function()
  it('A063: same group, swap on -> the previous member is stopped', function()
    fifo(apart('a', 'b')):ready('a'):arrive('r', 'b'):expect { 'admit r', 'swap b -a', 'stop a' }
  end)

  it('A064: swap off -> the sibling stays', function()
    fifo(together('a', 'b')):ready('a'):arrive('r', 'b'):expect { 'admit r', 'swap b', 'start b' }
  end)

  it('A065: two exclusive groups -> loading one stops the other', function()
    fifo { { id = 'a', group = 1 }, { id = 'b', group = 2 } }:ready('a'):arrive('r', 'b')
      :expect { 'admit r', 'swap b -a', 'stop a' }
  end)

  it('A066: two non-exclusive groups -> both load at once, nothing stops', function()
    local w = fifo { { id = 'a', group = 1, group_exclusive = false }, { id = 'b', group = 2,
      group_exclusive = false } }
    w:arrive('ra', 'a'):arrive('rb', 'b')
    w:expect { 'admit ra', 'swap a', 'start a', 'admit rb', 'swap b', 'start b' }
  end)

  it('A067: same group, the second arrives before the first is up -> it waits, then stops the first', function()
    local w = fifo(apart('a', 'b')):arrive('ra', 'a'):arrive('rb', 'b'):up('a'):done('ra')
    w:expect { 'admit ra', 'swap a', 'start a', 'admit rb', 'grant ra', 'swap b -a', 'stop a' }
  end)

  it('A068: a persistent group is left alone by an exclusive one', function()
    fifo { { id = 'p', group = 1, group_persistent = true }, { id = 'a', group = 2 } }:ready('p'):arrive('r', 'a')
      :expect { 'admit r', 'swap a', 'start a' }
  end)

  it('A069: a non-exclusive target leaves a running exclusive group alone', function()
    fifo { { id = 'a', group = 1, group_exclusive = false }, { id = 'b', group = 2 } }:ready('b'):arrive('r', 'a')
      :expect { 'admit r', 'swap a', 'start a' }
  end)
end)

describe('matrix router', function()
  local function with(models, sets, costs)
    return play.new { kind = 'fifo', models = models, matrix = { models = models, sets = sets, costs = costs } }
  end

  it('A070: single-model sets evict each other, a shared set does not, loads run in parallel', function()
    with({ 'a', 'b' }, { { 's', 'a' }, { 't', 'b' } }):ready('a'):arrive('r', 'b')
      :expect { 'admit r', 'swap b -a', 'stop a' }
    with({ 'a', 'b' }, { { 's', 'a & b' } }):ready('a'):arrive('r', 'b'):expect { 'admit r', 'swap b', 'start b' }
    with({ 'a', 'b' }, { { 's', 'a & b' } }):arrive('r1', 'a'):arrive('r2', 'b')
      :expect { 'admit r1', 'swap a', 'start a', 'admit r2', 'swap b', 'start b' }
    with({ 'a', 'b' }, { { 's', 'a | b' } }):arrive('r1', 'a'):arrive('r2', 'b'):up('a'):done('r1')
      :expect { 'admit r1', 'swap a', 'start a', 'admit r2', 'grant r1', 'swap b -a', 'stop a' }
  end)

  it('A071: equal cost in two sets -> the earlier one wins', function()
    with({ 'a', 'b', 'c' }, { { 'z', 'a & b' }, { 'y', 'a & c' } }):ready('b'):ready('c'):arrive('r', 'a')
      :expect { 'admit r', 'swap a -c', 'stop c' }
  end)

  it('A072: the cheaper eviction wins', function()
    with({ 'a', 'b', 'c' }, { { 's', 'a & c' }, { 't', 'a & b' } }, { b = 10 }):ready('b'):ready('c'):arrive('r', 'a')
      :expect { 'admit r', 'swap a -c', 'stop c' }
  end)

  it('A073: target in no set -> everything running is evicted', function()
    with({ 'a', 'b', 'z' }, { { 's', 'a & b' } }):ready('a'):ready('b'):arrive('r', 'z')
      :expect { 'admit r', 'swap z -a,b', 'stop a', 'stop b' }
  end)
end)
