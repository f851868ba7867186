-- json.lua: dkjson with the few shapes that specs need: null kept apart, lines of JSON, vectors.
local dkjson = require 'dkjson'
local shell = require 'spec.shell'

local json = { null = dkjson.null, encode = dkjson.encode }

-- Decodes one document; raises with the position when it is none, or when something follows it.
function json.decode(text)
  local value, at, err = dkjson.decode(text, 1, dkjson.null)
  if err then error('not JSON: ' .. err .. ': ' .. text:sub(1, 200), 2) end
  if text:find('%S', at) then error('text after the JSON: ' .. text:sub(at, at + 80), 2) end
  return value
end

-- As decode, but nil and why instead of an error.
function json.try(text)
  local ok, value = pcall(json.decode, text)
  if ok then return value end
  return nil, value
end

-- One decoded document for each line of spec/vectors/<name>.jsonl.
function json.vectors(name)
  local path = ('%s/spec/vectors/%s.jsonl'):format(shell.root, name)
  local list = {}
  for line in assert(io.open(path, 'rb')):lines() do
    if line ~= '' then list[#list + 1] = json.decode(line) end
  end
  return list
end

return json
