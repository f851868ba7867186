-- ring(n): the last n values; r[1] is the oldest that is still there, #r how many.
local Ring = {}

function Ring.__len(r) return rawget(r, 'count') end

function Ring.__index(r, k)
  if type(k) ~= 'number' then return Ring[k] end
  if k < 1 or k > r.count then return nil end
  return r.values[(r.first + k - 2) % r.size + 1]
end

function Ring.push(r, x)
  assert(x ~= nil, 'ring: nil cannot be kept')
  local count = rawget(r, 'count')
  if count < r.size then
    r.values[(r.first + count - 1) % r.size + 1] = x
    rawset(r, 'count', count + 1)
  else
    r.values[r.first] = x
    rawset(r, 'first', r.first % r.size + 1)
  end
end

return function(n)
  assert(math.type(n) == 'integer' and n >= 1 and n <= 1000000, 'ring: a size from 1 to 1000000')
  return setmetatable({ size = n, first = 1, count = 0, values = {} }, Ring)
end
