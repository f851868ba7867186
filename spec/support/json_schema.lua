-- json_schema.lua: the part of JSON Schema that config.schema.json uses, for the specs that hold it against the loader.
-- Patterns are the few that occur, spelled as Lua patterns.
local json = require 'spec.support.json'

local schema = {}

local patterns = {
  ['\\$\\{[a-zA-Z0-9_.-]+\\}'] = function(s) return s:find '%${[%w_.-]+}' ~= nil end,
  ['^ *[0-9]+ *([KMGT]i)?B? *$'] = function(s) return s:find '^ *%d+ *[KMGT]?i?B? *$' ~= nil end,
  ['\\.lua$'] = function(s) return s:find '%.lua$' ~= nil end,
  ['^[^ ]+$'] = function(s) return s:find '^[^ ]+$' ~= nil end,
  ['^[a-zA-Z0-9_-]{1,63}$'] = function(s) return s:find '^[%w_-]+$' ~= nil and #s <= 63 end,
  ['^[a-zA-Z0-9.-]{1,32}$'] = function(s) return s:find '^[%w.-]+$' ~= nil and #s <= 32 end,
}

local function type_of(v)
  if v == nil or v == json.null then return 'null' end
  if type(v) == 'table' then
    local mt = getmetatable(v)
    return mt and mt.__jsontype or (#v > 0 and 'array' or 'object')
  end
  return type(v)
end

function schema.resolve(all, node)
  while node['$ref'] do
    local at = all
    for part in node['$ref']:gmatch '[^#/]+' do at = at[part] end
    node = at
  end
  return node
end

local check

local function matches(pattern, s)
  return assert(patterns[pattern], 'a pattern that json_schema.lua does not know: ' .. pattern)(s)
end

local function check_object(all, node, v, path, out)
  local n = 0
  for key, x in pairs(v) do
    n = n + 1
    local sub = node.properties and node.properties[key] or node.additionalProperties
    if node.propertyNames and not matches(node.propertyNames.pattern, key) then
      out[#out + 1] = path .. ': name ' .. key
    end
    if sub then check(all, sub, x, path .. '.' .. key, out) end
  end
  for _, key in ipairs(node.required or {}) do
    if v[key] == nil then out[#out + 1] = path .. ': needs ' .. key end
  end
  if n < (node.minProperties or 0) then out[#out + 1] = path .. ': too few entries' end
end

local function check_type(node, v, path, out)
  local types = type(node.type) == 'table' and node.type or { node.type }
  local got = type_of(v)
  for _, t in ipairs(types) do
    if t == got then return true end
  end
  out[#out + 1] = ('%s: is %s, not %s'):format(path, got, table.concat(types, ' or '))
  return false
end

function check(all, node, v, path, out)
  node = schema.resolve(all, node)
  if node.anyOf then
    local why = {}
    for _, alternative in ipairs(node.anyOf) do
      local found = {}
      check(all, alternative, v, path, found)
      if #found == 0 then return end
      why[#why + 1] = found[1]
    end
    out[#out + 1] = table.concat(why, ' / ')
    return
  end
  if node.enum then
    for _, word in ipairs(node.enum) do
      if word == v then return end
    end
    out[#out + 1] = path .. ': not one of the words'
    return
  end
  if node.type and not check_type(node, v, path, out) then return end
  local t = type_of(v)
  if t == 'number' then
    local above = v >= (node.minimum or v) and v > (node.exclusiveMinimum or -math.huge)
    local below = v <= (node.maximum or v) and v < (node.exclusiveMaximum or math.huge)
    if not above or not below then out[#out + 1] = path .. ': out of bounds' end
  elseif t == 'string' then
    if node.pattern and not matches(node.pattern, v) then out[#out + 1] = path .. ': does not match' end
  elseif t == 'array' and node.items then
    for i, x in ipairs(v) do check(all, node.items, x, path .. '[' .. i .. ']', out) end
  elseif t == 'object' then
    check_object(all, node, v, path, out)
  end
end

-- What is wrong with a decoded value, as a list of texts.
function schema.check(all, value)
  local out = {}
  check(all, all, value, '', out)
  return out
end

function schema.accepts(all, node, value)
  local out = {}
  check(all, node, value, '', out)
  return #out == 0
end

return schema
