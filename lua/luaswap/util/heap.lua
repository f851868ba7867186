-- heap(less): priority queue; less(a, b) says that a goes first (default a < b). Equal ones leave in no fixed order.
local Heap = {}
Heap.__index = Heap
Heap.__len = function(h) return h.n end

local function default(a, b) return a < b end

function Heap:push(x)
  assert(x ~= nil, 'heap: nil cannot be kept')
  local i, less = self.n + 1, self.less
  self.n = i
  while i > 1 do
    local up = i // 2
    if not less(x, self[up]) then break end
    self[i] = self[up]
    i = up
  end
  self[i] = x
end

function Heap:peek() return self[1] end

function Heap:pop()
  local n, less = self.n, self.less
  if n == 0 then return nil end
  local top, last = self[1], self[n]
  self[n] = nil
  self.n = n - 1
  n = n - 1
  if n == 0 then return top end
  local i = 1
  while true do
    local c = i * 2
    if c > n then break end
    if c < n and less(self[c + 1], self[c]) then c = c + 1 end
    if not less(self[c], last) then break end
    self[i] = self[c]
    i = c
  end
  self[i] = last
  return top
end

return function(less) return setmetatable({ n = 0, less = less or default }, Heap) end
