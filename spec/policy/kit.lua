-- kit.lua: policies from a text, worlds to run them in.
local policy = require 'spec.policy'
local json = require 'spec.support.json'

local kit = {}
local made = {}

-- A policy file with this text; `kit.clean()` removes them.
function kit.file(text, name)
  local dir = os.tmpname()
  os.remove(dir)
  os.execute('mkdir -p ' .. dir)
  local path = dir .. '/' .. (name or 'policy') .. '.lua'
  local f = assert(io.open(path, 'w'))
  f:write(text)
  f:close()
  made[#made + 1] = dir
  return path
end

function kit.write(path, text)
  local f = assert(io.open(path, 'w'))
  f:write(text)
  f:close()
end

function kit.clean()
  for _, dir in ipairs(made) do os.execute('rm -rf ' .. dir) end
  made = {}
end

-- A policy around some members, `head` before the table.
function kit.text(members, head)
  return (head or '') .. '\nreturn { api = 1, name = "t", ' .. members .. ' }\n'
end

local function copy(t)
  local r = {}
  for k, v in pairs(t or {}) do r[k] = v end
  return r
end

-- world(policies, options): policies are texts or tables with file or text; three models by default.
function kit.world(policies, options)
  local o = copy(options)
  o.models = o.models or { { id = 'a', load_s = 5, limit = 100 }, { id = 'b', load_s = 5, limit = 100 },
    { id = 'c', load_s = 5, limit = 100 } }
  o.policies = {}
  for i, p in ipairs(policies or {}) do
    if type(p) == 'string' then p = { text = p } end
    p = copy(p)
    if p.text then p.file = kit.file(p.text) end
    if p.settings then p.settings_json = json.encode(p.settings) end
    o.policies[i] = p
  end
  local w, err = policy.new(o)
  if not w then return nil, err end
  return w
end

-- A small load on three models that every scheduler can serve.
function kit.load(w, n)
  local names = { 'a', 'b', 'c' }
  for i = 1, n or 30 do
    w:request { at = i * 0.7, model = names[i * 7 % 3 + 1], serve_s = 0.5 + i % 3, key = i % 2 == 0 and 'k1' or 'k2',
      tokens_in = 10 * i, tokens_out = i }
  end
end

function kit.status(w, index)
  local s = json.decode(w:text 'status')
  return index and s.policies[index] or s
end

function kit.decode(s) return json.decode(s) end

return kit
