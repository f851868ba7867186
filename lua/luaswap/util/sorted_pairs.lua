-- sorted_pairs(t): as pairs(t), in the order of the keys: numbers first, then strings, then the rest as they come.
local function before(a, b)
  local ta, tb = type(a), type(b)
  if ta == tb and (ta == 'number' or ta == 'string') then return a < b end
  local ra = ta == 'number' and 1 or ta == 'string' and 2 or 3
  local rb = tb == 'number' and 1 or tb == 'string' and 2 or 3
  return ra < rb
end

return function(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, before)
  local i = 0
  return function()
    while true do
      i = i + 1
      local k = keys[i]
      if k == nil then return nil end
      if t[k] ~= nil then return k, t[k] end
    end
  end
end
