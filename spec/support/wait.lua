-- wait.lua: waiting for an event with a deadline; the only place of the specs that lets time pass.
local net = require 'spec.net'

-- Everything is given this many times longer; for runs under valgrind and on slow machines.
local slow = tonumber(os.getenv 'LUASWAP_SPEC_SLOW') or 1
local wait = { slow = slow }

-- Calls fn until it returns something true, at most `seconds` (default 5) long; returns that value.
-- Fails the test with `what` (and what fn said last) when the time is over.
function wait.till(fn, seconds, what)
  seconds = (seconds or 5) * slow
  local deadline, pause = net.now() + seconds, 0.0005
  while true do
    local ok, why = fn()
    if ok then return ok, why end
    local left = deadline - net.now()
    if left <= 0 then
      error(('waited %g s for %s%s'):format(seconds, what or 'something',
        why ~= nil and ' (last: ' .. tostring(why) .. ')' or ''), 2)
    end
    net.nap(math.min(pause, left))
    pause = math.min(pause * 1.5, 0.02)
  end
end

-- fn must stay false for that long: for what must not happen. Use sparingly, each call costs its time.
function wait.never(fn, seconds, what)
  local deadline = net.now() + seconds
  while net.now() < deadline do
    local bad = fn()
    if bad then error(('%s happened: %s'):format(what or 'what must not be', tostring(bad)), 2) end
    net.nap(0.005)
  end
end

return wait
