-- window(sec): sum and count of what was added in the last seconds, kept in 16 slots, so old values leave in steps.
local SLOTS = 16
local Window = {}
Window.__index = Window

local function slot(w)
  local now = luaswap.now() // w.step
  if now ~= w.now then
    local gone = math.min(now - w.now, SLOTS)
    for i = 1, gone do
      local s = (w.now + i) % SLOTS + 1
      w.sums[s], w.counts[s] = 0, 0
    end
    w.now = now
  end
  return now % SLOTS + 1
end

function Window:add(x)
  local s = slot(self)
  self.sums[s] = self.sums[s] + x
  self.counts[s] = self.counts[s] + 1
end

function Window:sum()
  slot(self)
  local sum = 0
  for i = 1, SLOTS do sum = sum + self.sums[i] end
  return sum
end

function Window:count()
  slot(self)
  local n = 0
  for i = 1, SLOTS do n = n + self.counts[i] end
  return n
end

return function(sec)
  assert(type(sec) == 'number' and sec > 0, 'window: seconds expected')
  local w = { step = sec / SLOTS, sums = {}, counts = {}, now = 0 }
  for i = 1, SLOTS do w.sums[i], w.counts[i] = 0, 0 end
  w.now = luaswap.now() // w.step
  return setmetatable(w, Window)
end
