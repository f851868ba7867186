-- ewma(alpha): moving average in which the newest value counts alpha, what was before 1 - alpha.
local Ewma = {}
Ewma.__index = Ewma

function Ewma:add(x)
  self.v = self.v and self.v + self.alpha * (x - self.v) or x
  return self.v
end

-- nil before the first value
function Ewma:value() return self.v end

return function(alpha)
  assert(type(alpha) == 'number' and alpha > 0 and alpha <= 1, 'ewma: alpha must be above 0 and at most 1')
  return setmetatable({ alpha = alpha }, Ewma)
end
