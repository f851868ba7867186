-- serial: runtime.md 4.4 with the defects S-1 to S-18 repaired; acceptance cases A001 to A032 as far as they
-- are the scheduler's (A014 to A017 are the loader's, A031 the proxy's).
local play = require 'spec.unit.sched.play'

describe('serial, the fork\'s cases', function()
  it('A001: model ready and alone, one request -> no swap, served once', function()
    play.serial('a'):ready('a'):arrive('r', 'a'):expect { 'admit r', 'grant r' }:done('r'):expect {}
  end)

  it('A002: model stopped, one request -> one start, served after it', function()
    play.serial('a'):arrive('r', 'a'):expect { 'admit r', 'swap a', 'start a' }:up('a')
      :expect { 'grant r' }:done('r'):expect {}
  end)

  it('A003: unknown model -> refused, no swap', function()
    play.serial('a'):arrive('r', 'nobody'):expect { 'reject r unknown_model' }
  end)

  it('A004: two leftovers, request for a third -> evicts exactly both', function()
    local w = play.serial('a', 'b', 'c'):ready('a'):ready('b')
    w:arrive('r', 'c'):expect { 'admit r', 'swap c -a,b', 'stop a', 'stop b' }
    w:down('a'):expect {}
    w:down('b'):expect { 'start c' }
    w:up('c'):expect { 'grant r' }
  end)

  it('A005: a serving, then b -> b waits, then its swap evicts exactly a', function()
    local w = play.serial('a', 'b'):ready('a')
    w:arrive('ra', 'a'):expect { 'admit ra', 'grant ra' }
    w:arrive('rb', 'b'):expect { 'admit rb' }
    w:done('ra'):expect { 'swap b -a', 'stop a' }
  end)

  it('A006: two requests for one cold model -> one load, served one after the other', function()
    local w = play.serial('a')
    w:arrive('r1', 'a'):arrive('r2', 'a'):expect { 'admit r1', 'swap a', 'start a', 'admit r2' }
    w:up('a'):expect { 'grant r1' }
    w:done('r1'):expect { 'grant r2' }
    w:done('r2'):expect {}
  end)

  it('A007: q36 q35 sdxl q36 -> loads and evictions in that order, q36 twice', function()
    local w = play.serial('q36', 'q35', 'sdxl')
    w:arrive('r1', 'q36'):arrive('r2', 'q35'):arrive('r3', 'sdxl'):arrive('r4', 'q36')
    w:expect { 'admit r1', 'swap q36', 'start q36', 'admit r2', 'admit r3', 'admit r4' }
    w:up('q36'):expect { 'grant r1' }
    w:done('r1'):expect { 'swap q35 -q36', 'stop q36' }
    w:down('q36'):up('q35'):expect { 'start q35', 'grant r2' }
    w:done('r2'):expect { 'swap sdxl -q35', 'stop q35' }
    w:down('q35'):up('sdxl'):expect { 'start sdxl', 'grant r3' }
    w:done('r3'):expect { 'swap q36 -sdxl', 'stop sdxl' }
    w:down('sdxl'):up('q36'):expect { 'start q36', 'grant r4' }
  end)

  it('A008: a load fails -> its caller gets the error, the next one starts', function()
    local w = play.serial('a', 'b'):arrive('ra', 'a'):arrive('rb', 'b')
    w:take()
    w:failed('a', 'upstream command exited prematurely'):expect { 'reject ra start', 'swap b', 'start b' }
    assert.equal('upstream command exited prematurely', w.text)
  end)

  it('A009: the caller is gone when its load completes -> not served, b starts', function()
    -- With cancels as events the load is given up as soon as the caller leaves (S-4).
    local w = play.serial('a', 'b'):arrive('ra', 'a'):arrive('rb', 'b')
    w:take()
    w:cancel('ra'):expect { 'stop a', 'swap b -a' }
    w:failed('a'):down('a'):expect { 'start b' }
  end)

  it('A010: b queued then cancelled -> no swap for it ever starts', function()
    local w = play.serial('a', 'b'):arrive('ra', 'a'):arrive('rb', 'b')
    assert.equal('rb', w:line())
    w:cancel('rb')
    assert.equal('', w:line())
    w:take()
    w:up('a'):done('ra'):expect { 'grant ra' }
  end)

  it('A011: one loading, two queued at shutdown -> three errors, empty queue', function()
    local w = play.serial('a', 'b'):arrive('r1', 'a'):arrive('r2', 'b'):arrive('r3', 'a')
    w:take()
    w:drain():expect { 'reject r1 shutdown', 'stop a', 'reject r2 shutdown', 'reject r3 shutdown' }
    w:arrive('r4', 'a'):expect { 'reject r4 shutdown' }
  end)

  it('A012: unload of a serving model -> one stop, b starts after the serve ended', function()
    local w = play.serial('a', 'b'):ready('a'):arrive('ra', 'a'):arrive('rb', 'b')
    w:take()
    w:unload({ 'a' }, 3):expect { 'stop a' }
    w:down('a'):expect { 'unloaded 3' }
    w:done('ra'):expect { 'swap b', 'start b' }
  end)

  it('A013: unload of a loading model -> its caller errored, one stop, b starts when it is gone', function()
    local w = play.serial('a', 'b'):arrive('ra', 'a'):arrive('rb', 'b')
    w:take()
    w:unload({ 'a' }, 3):expect { 'reject ra unloaded', 'stop a', 'swap b -a' }
    w:failed('a'):down('a'):expect { 'unloaded 3', 'start b' }
  end)
end)

describe('serial, ours', function()
  it('A018 S-1: the first request is admitted at once, others too', function()
    local w = play.serial('a', 'b')
    w:arrive('r1', 'a')
    assert.equal('admit r1', w:take()[1])
    w:arrive('r2', 'b'):expect { 'admit r2' }
  end)

  it('A019 S-2: a late result of an unloaded load does not touch the next one', function()
    local w = play.serial('a'):arrive('r1', 'a')
    local first = w.s:order('a')
    w:take()
    w:unload({ 'a' }):expect { 'reject r1 unloaded', 'stop a' }
    w:arrive('r2', 'a'):expect { 'admit r2', 'swap a' }
    w:post { kind = 'MODEL_FAILED', model = 'a', swap = first, text = 'aborted' }:expect {}
    w:down('a'):expect { 'unloaded 1', 'start a' }
    w:post { kind = 'MODEL_FAILED', model = 'a', swap = first, text = 'aborted' }:expect {}
    w:post { kind = 'MODEL_UP', model = 'a', swap = first }:expect {}
    w:up('a'):expect { 'grant r2' }
  end)

  it('A020 S-3: unload of a target that still waits for its victim -> it is never started', function()
    local w = play.serial('a', 'b', 'z'):ready('z'):arrive('ra', 'a'):arrive('rb', 'b')
    w:take()
    w:unload({ 'a' }, 4):expect { 'reject ra unloaded', 'unloaded 4', 'swap b -z' }
    w:down('z'):expect { 'start b' }
    assert.equal('stopped', w.s:state('a'))
    w:up('b'):expect { 'grant rb' }
  end)

  it('A021 S-4: the only caller of a load leaves, b waits -> the start is aborted at once', function()
    local w = play.serial('a', 'b'):arrive('ra', 'a'):arrive('rb', 'b')
    w:take()
    w:cancel('ra'):expect { 'stop a', 'swap b -a' }
    w:down('a'):up('b'):expect { 'start b', 'grant rb' }
  end)

  it('A022 S-4: the caller leaves, the next one wants the same -> the load goes on for it', function()
    local w = play.serial('a', 'b'):arrive('r1', 'a'):arrive('r2', 'a'):arrive('r3', 'b')
    w:take()
    w:cancel('r1'):expect {}
    assert.equal('r3', w:line())
    w:up('a'):expect { 'grant r2' }
  end)

  it('A023 S-4: an orphan load is kept while nobody waits, adopted by its own, aborted by another', function()
    local w = play.serial('a', 'b'):arrive('r1', 'a'):cancel('r1')
    w:expect { 'admit r1', 'swap a', 'start a' }
    w:arrive('r2', 'b'):expect { 'admit r2', 'stop a', 'swap b -a' }
    w:down('a'):up('b'):expect { 'start b', 'grant r2' }

    w = play.serial('a', 'b'):arrive('r1', 'a'):cancel('r1'):arrive('r2', 'a')
    w:expect { 'admit r1', 'swap a', 'start a', 'admit r2' }
    w:up('a'):expect { 'grant r2' }

    w = play.serial('a', 'b'):arrive('r1', 'a'):cancel('r1'):up('a')
    w:take()
    assert.equal('ready', w.s:state('a'))
    w:arrive('r2', 'a'):expect { 'admit r2', 'grant r2' }
  end)

  it('S-4: an owner that leaves while victims are being stopped hands over, or gives the place free', function()
    local w = play.serial('a', 'b', 'z'):ready('z'):arrive('r1', 'a'):arrive('r2', 'b')
    w:take()
    w:cancel('r1'):expect { 'swap b -z' }
    w:down('z'):expect { 'start b' }
  end)

  it('A024 S-5: serial.maxServe cuts the request, the slot frees when its end is reported', function()
    local w = play.new { kind = 'serial', models = { 'a' }, max_serve_ms = 2000 }:ready('a')
    w.now = 100
    w:arrive('r1', 'a'):arrive('r2', 'a'):expect { 'admit r1', 'grant r1', 'admit r2' }
    assert.equal(2100, w.wake)
    w:tick(2099):expect {}
    w:tick(2100):expect { 'abort r1' }
    w:tick(9000):expect {}
    w:done('r1'):expect { 'grant r2' }
    assert.equal(11000, w.wake)
  end)

  it('A025 S-6: an evictee refuses to die -> 503, the target is not spawned, others are served when it is gone',
    function()
    local w = play.serial('a', 'b'):ready('a'):arrive('r1', 'b'):arrive('r2', 'a')
    w:expect { 'admit r1', 'swap b -a', 'stop a', 'admit r2' }
    w:stuck('a'):expect { 'reject r1 stuck' }
    assert.matches('a', w.text, 1, true)
    assert.equal(1000, w.wake)
    w:arrive('r3', 'b'):expect { 'admit r3' }
    w:tick(1000):expect { 'swap a', 'stop a' } -- r2 wants it back: it has to be gone first
    w:down('a'):up('a'):expect { 'start a', 'grant r2' }
    w:done('r2'):expect { 'swap b -a', 'stop a' }
  end)

  it('S-6: a stuck process that ends at last frees the machine before the backoff is over', function()
    local w = play.serial('a', 'b'):ready('a'):arrive('r1', 'b'):arrive('r2', 'b')
    w:stuck('a')
    w:take()
    w:down('a'):expect { 'swap b', 'start b' }
  end)

  it('a stop that is never answered counts as stuck after a while', function()
    local w = play.new { kind = 'serial', models = { { id = 'a', grace_ms = 100 }, 'b' } }:ready('a'):arrive('r1', 'b')
    w:take()
    w:tick(w.wake):expect { 'reject r1 stuck' }
    assert.equal(15100, w.now)
  end)

  it('a start that failed and left something that does not die fails as stuck, until that is gone', function()
    local w = play.serial('a', 'b'):arrive('r1', 'a'):arrive('r2', 'b')
    w:take()
    w:post { kind = 'MODEL_STUCK', model = 'a', swap = 0 }:expect { 'reject r1 stuck' }
    assert.equal('stopping', w.s:state 'a')
    w:failed('a'):expect { 'swap b', 'start b' }
  end)

  it('a ready model whose command ended but not its children gets nothing new', function()
    local w = play.serial('a', 'b'):arrive('r1', 'a'):up('a')
    w:done('r1'):take()
    w:post { kind = 'MODEL_STUCK', model = 'a', swap = 0 }:expect {}
    w:arrive('r2', 'a'):expect { 'admit r2' } -- after the backoff
    w:crash('a'):expect { 'swap a', 'start a' }
  end)

  it('A026 S-7: an explicit limit counts queued and active, none means no limit', function()
    local w = play.new { kind = 'serial', models = { { id = 'a', limit = 2 }, 'b' } }
    w:arrive('r1', 'a'):arrive('r2', 'a'):arrive('r3', 'a')
    w:expect { 'admit r1', 'swap a', 'start a', 'admit r2', 'reject r3 busy' }
    for i = 1, 50 do w:arrive('b' .. i, 'b'):expect { 'admit b' .. i } end
    w:cancel('r2'):arrive('r4', 'a'):expect { 'admit r4' }
  end)

  it('S-7: serial.maxQueue bounds the line', function()
    local w = play.new { kind = 'serial', models = { 'a' }, max_queue = 2 }:ready('a')
    w:arrive('r1', 'a'):arrive('r2', 'a'):arrive('r3', 'a'):arrive('r4', 'a')
    w:expect { 'admit r1', 'grant r1', 'admit r2', 'admit r3', 'reject r4 busy' }
    w:done('r1'):arrive('r5', 'a'):expect { 'grant r2', 'admit r5' }
  end)

  it('A027 S-8: a request that becomes active at once is never told a place', function()
    play.serial('a'):arrive('r', 'a', { positions = true }):told {}:up('a'):told {}
  end)

  it('places: told to those that ask, only when they change', function()
    local w = play.serial('a', 'b'):arrive('r1', 'a', { positions = true })
      :arrive('r2', 'b', { positions = true }):told { 'r2:1' }
    w:arrive('r3', 'a'):told {}
    w:arrive('r4', 'a', { positions = true }):told { 'r4:3' }
    w:cancel('r3'):told { 'r4:2' }
    w:up('a'):told {}
    w:done('r1'):told { 'r4:1' }
    w:cancel('r4'):told {}
  end)

  it('A028 S-9: the end of a foreign request is ignored', function()
    local w = play.serial('a'):ready('a'):arrive('r1', 'a'):arrive('r2', 'a')
    w:take()
    w:done('r2'):expect {}
    w:post { kind = 'DONE', ticket = 999 }:expect {}
    w:done('r1'):expect { 'grant r2' }
    w:done('r1'):expect {}
    assert.equal(1, w.s:inflight())
  end)

  it('A029 S-10: the process dies between load and grant -> one transparent reload', function()
    local w = play.serial('a'):arrive('r1', 'a'):arrive('r2', 'a')
    w:take()
    w:up('a'):expect { 'grant r1' }
    w:crash('a'):expect {}
    w:retry('r1'):expect { 'swap a', 'start a' } -- before r2, which came later
    w:up('a'):expect { 'grant r1' }
    w:crash('a'):retry('r1'):expect { 'reject r1 start', 'swap a', 'start a' }
    w:up('a'):expect { 'grant r2' }
  end)

  it('S-10: a retry on a process that looks alive stops it first', function()
    local w = play.serial('a'):ready('a'):arrive('r1', 'a')
    w:take()
    w:retry('r1'):expect { 'stop a', 'swap a' }
    w:crash('a'):expect { 'start a' }
    w:up('a'):expect { 'grant r1' }
  end)

  it('S-10: the resident model dies while its neighbour is stopped for it -> it is started', function()
    local w = play.serial('a', 'x'):ready('a'):ready('x'):arrive('r1', 'a')
    w:expect { 'admit r1', 'swap a -x', 'stop x' }
    w:crash('a'):expect {}
    w:down('x'):expect { 'start a' }
    w:up('a'):expect { 'grant r1' }
  end)

  it('a request whose model was unloaded under it is refused, it does not bring the model back', function()
    for _, exit_first in ipairs { true, false } do
      local w = play.serial('a', 'b'):ready('a'):arrive('r1', 'a'):arrive('r2', 'b')
      w:take()
      w:unload({ 'a' }, 7):expect { 'stop a' }
      if exit_first then
        w:down('a')
        w:take()
        w:retry('r1'):expect { 'reject r1 unloaded', 'swap b', 'start b' }
      else
        w:retry('r1'):expect { 'reject r1 unloaded', 'swap b -a' }
        w:down('a'):expect { 'unloaded 7', 'start b' }
      end
      w:up('b'):expect { 'grant r2' }
    end
  end)

  it('A030 S-11: a broken model costs its followers in line one failed load together', function()
    local w = play.serial('a', 'b')
    for i = 1, 5 do w:arrive('a' .. i, 'a') end
    w:arrive('b1', 'b'):arrive('a6', 'a')
    w:take()
    w:failed('a'):expect { 'reject a1 start', 'reject a2 start', 'reject a3 start', 'reject a4 start',
      'reject a5 start',
      'swap b', 'start b' }
    assert.equal('a6', w:line())
  end)

  it('S-13: a side request runs beside the one whose turn it is, on the model that is up', function()
    local w = play.new { kind = 'serial', models = { { id = 'a', grace_ms = 300, ttl_ms = 50 }, 'b' } }:ready('a')
    w:arrive('r1', 'a'):arrive('s1', 'a', { side = true }):arrive('r2', 'a')
    w:expect { 'admit r1', 'grant r1', 'admit s1', 'grant s1', 'admit r2' }
    w:done('r1'):expect { 'grant r2' } -- not held up by it
    w:done('r2'):tick(1000):expect {} -- it counts for the TTL
    w:arrive('r3', 'b'):expect { 'admit r3', 'swap b -a' } -- and is waited for, but not for ever
    w:arrive('s2', 'a', { side = true }):expect { 'admit s2' }
    w:tick(1300):expect { 'abort s1' }
    w:done('s1'):expect { 'stop a' }
    w:down('a'):up('b'):expect { 'start b', 'grant r3' }
  end)

  it('S-13: a side request for a model that is not up waits for its turn', function()
    local w = play.serial('a', 'b'):ready('a'):arrive('r1', 'a'):arrive('s1', 'b', { side = true })
    w:expect { 'admit r1', 'grant r1', 'admit s1' }
    w:done('r1'):expect { 'swap b -a', 'stop a' }
  end)

  it('S-14: preloads never push out a model unless they are told to', function()
    local w = play.serial('a', 'b'):preload('a'):expect { 'swap a', 'start a' }
    w:preload('b'):up('a'):expect {}
    assert.equal('ready', w.s:state('a'))
    w:preload('b', true):expect { 'swap b -a', 'stop a' }
    w:down('a'):up('b'):expect { 'start b' }
  end)

  it('a preload waits for a free machine and is aborted by a request for another model', function()
    local w = play.serial('a', 'b', 'c'):ready('a'):arrive('r1', 'a'):preload('b', true)
    w:take()
    w:done('r1'):expect { 'swap b -a', 'stop a' }
    w:down('a'):expect { 'start b' }
    w:arrive('r2', 'c'):expect { 'admit r2', 'stop b', 'swap c -b' }
  end)

  it('S-16: victims get their own grace, an unload may name another', function()
    local w = play.new { kind = 'serial', models = { { id = 'a', grace_ms = 7000 }, 'b' } }:ready('a'):arrive('r', 'b')
    assert.equal(7000, w.grace)
    w:unload({ 'a' }, 2, 500)
    assert.equal(500, w.grace)
  end)

  it('S-17: unload of everything leaves requests for models that are not loaded in line', function()
    local w = play.serial('a', 'b', 'c'):ready('a'):arrive('ra', 'a'):arrive('rb', 'b'):arrive('ra2', 'a')
      :arrive('rc', 'c')
    w:take()
    w:unload(nil, 9):expect { 'reject ra2 unloaded', 'stop a' }
    assert.equal('rb rc', w:line())
    w:done('ra'):expect { 'swap b -a' }
    w:down('a'):expect { 'unloaded 9', 'start b' }
  end)

  it('unload of nothing that runs is answered at once; of one that refuses to die, too', function()
    local w = play.serial('a', 'b'):unload(nil, 5):expect { 'unloaded 5' }
    w:ready('a'):unload({ 'a' }, 6):expect { 'stop a' }
    w:stuck('a'):expect { 'unloaded 6 stuck' }
    w:down('a'):expect {}
  end)

  it('a request on a process that an unload took away is cut when nobody reports its end', function()
    local w = play.serial('a', 'b'):ready('a'):arrive('r1', 'a'):unload({ 'a' }, 1)
    w:take()
    w:down('a'):expect { 'unloaded 1' }
    w:tick(5000):expect { 'abort r1' }
    w:arrive('r2', 'b'):expect { 'admit r2' }
    w:done('r1'):expect { 'swap b', 'start b' }
  end)

  it('a cancelled serve keeps its slot until its end is reported', function()
    local w = play.serial('a'):ready('a'):arrive('r1', 'a'):arrive('r2', 'a')
    w:take()
    w:cancel('r1'):expect {}
    w:done('r1'):expect { 'grant r2' }
  end)

  it('leftovers: starting and stopping processes count as alive', function()
    local w = play.serial('a', 'b', 'c'):adopt('b', 'starting'):adopt('c', 'stopping'):arrive('r', 'a')
    w:expect { 'admit r', 'swap a -b,c', 'stop b', 'stop c' }
    w:down('c'):down('b'):expect { 'start a' }
  end)

  it('a process that appears while the target starts is stopped before the grant', function()
    local w = play.serial('a', 'x'):arrive('r', 'a'):adopt('x', 'ready')
    w:take()
    w:up('a'):expect { 'stop x' }
    w:down('x'):expect { 'grant r' }
  end)

  it('TTL: counted from ready and from the last end, never while it serves or is wanted', function()
    local w = play.new { kind = 'serial', models = { { id = 'a', ttl_ms = 1000, grace_ms = 50 }, 'b' } }
    w:arrive('r1', 'a')
    w.now = 5000
    w:up('a'):take()
    w.now = 9000
    w:tick():expect {}
    w:done('r1')
    assert.equal(10000, w.wake)
    w:tick(9999):expect {}
    w:tick(10000):expect { 'stop a' }
    assert.equal(50, w.grace)
    w:arrive('r2', 'a'):expect { 'admit r2', 'swap a' }
    w:down('a'):expect { 'start a' }
  end)

  it('D-P3: a model that became ready with nobody left lives for its whole TTL', function()
    local w = play.new { kind = 'serial', models = { { id = 'a', ttl_ms = 60000 } } }:arrive('r1', 'a'):cancel('r1')
    w.now = 100000
    w:up('a'):take()
    w:tick(159999):expect {}
    w:tick(160000):expect { 'stop a' }
  end)

  it('a crash is noticed before the next request is dispatched', function()
    local w = play.serial('a'):ready('a'):crash('a'):arrive('r', 'a')
    w:expect { 'admit r', 'swap a', 'start a' }
  end)

  it('a crash while the stop is under way ends the wait; the late answer is harmless', function()
    local w = play.serial('a', 'b'):ready('a'):arrive('r', 'b')
    local stop = w.s:order('a')
    w:take()
    w:crash('a'):expect { 'start b' }
    w:down('a', stop):expect {}
    w:up('b'):expect { 'grant r' }
  end)

  it('a load that comes up after its abort was ordered is not used', function()
    local w = play.serial('a', 'b'):arrive('ra', 'a'):arrive('rb', 'b')
    local start = w.s:order('a')
    w:take()
    w:cancel('ra'):expect { 'stop a', 'swap b -a' }
    w:up('a', start):expect {}
    w:down('a'):expect { 'start b' }
  end)

  it('will_wait says what an arrival would meet', function()
    local w = play.serial('a', 'b'):ready('a')
    assert.is_false(w.s:will_wait 'a')
    assert.is_true(w.s:will_wait 'b')
    w:arrive('r', 'a')
    assert.is_true(w.s:will_wait 'a')
    w:done('r')
    assert.is_false(w.s:will_wait 'a')
  end)

  it('2,000 requests at once are served in order of arrival', function()
    local w, served = play.serial('a', 'b', 'c'), {}
    w.unchecked = true -- the check looks at everybody, each time
    local models = { 'a', 'b', 'c' }
    for i = 1, 2000 do w:arrive('r' .. i, models[i % 3 + 1]) end
    local active
    for _ = 1, 20000 do
      local log = w:take()
      for _, l in ipairs(log) do
        local who = l:match '^grant (.*)'
        if who then served[#served + 1], active = who, who end
      end
      if #served == 2000 then break end
      if active then
        local who = active
        active = nil
        w:done(who)
      else
        for _, m in ipairs(models) do
          if w.s:state(m) == 'stopping' then w:down(m) break end
          if w.s:state(m) == 'starting' then w:up(m) break end
        end
      end
    end
    for i = 1, 2000 do assert.equal('r' .. i, served[i]) end
  end)
end)
