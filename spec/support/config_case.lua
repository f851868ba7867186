-- config_case.lua: loads the configurations of spec/vectors/config_load.jsonl and of specs, and brings the effective
-- configuration into the shape in which the vectors write it down.
local config = require 'spec.config'
local json = require 'spec.support.json'
local net = require 'spec.net'

local case = {}

local function write(path, text)
  require 'pl.dir'.makepath(path:match '(.*)/')
  local f = assert(io.open(path, 'wb'))
  f:write(text)
  f:close()
end

-- An empty directory with these files ({ {path, text}, ... }).
function case.dir(files, mkdir)
  local dir = net.tmpdir()
  for _, d in ipairs(mkdir or {}) do require 'pl.dir'.makepath(dir .. '/' .. d) end
  for _, f in ipairs(files or {}) do write(dir .. '/' .. f[1], f[2]) end
  return dir
end

-- Loads a vector as the program would: its text is the file -config.
function case.load(v)
  local files = v.files or { { 'config.yaml', v.yaml } }
  return config.load {
    cwd = case.dir(files, v.mkdir),
    file = v.yaml and 'config.yaml' or v.config,
    dir = v.config_dir,
    env = v.env,
    lookup = v.lookup,
  }
end

local function ns_of(text) return (config.duration(text)) end

local function macro_list(list)
  local out = {}
  for i, m in ipairs(list) do out[i] = { m[1], json.decode('[' .. m[2] .. ']')[1] } end
  return out
end

local own = { 'policies', 'limits', 'reload', 'recording' } -- keys that the reference does not have

-- The effective configuration in the vectors' notation.
function case.shape(r)
  local c = json.decode(r.json)
  for _, k in ipairs(own) do c[k] = nil end
  c.performance.every_ns = ns_of(c.performance.every)
  c.performance.every = nil
  c.macros = macro_list(r.macros)
  c.upstream.forwardAuth = nil
  c.alias_table = {}
  for id, m in pairs(c.models) do
    m.macros = macro_list(r.model_macros[id])
    m.healthCheckTimeout, m.preemptible, m.pinned = nil, nil, nil
    m.filters.strip_list = r.strip[id]
    for _, a in ipairs(m.aliases) do c.alias_table[a] = id end
  end
  for id, p in pairs(c.peers) do p.filters.strip_list = r.peer_strip[id] end
  local matrix = c.routing.router.settings.matrix
  if matrix ~= json.null then matrix.sets = r.sets end
  local scheduler = c.routing.scheduler
  if not r.scheduler_given then scheduler.use = json.null end
  scheduler.settings.serial = nil
  scheduler.settings.fifo = { priority = scheduler.settings.fifo.priority }
  return c
end

local function show(v)
  if type(v) == 'table' and v ~= json.null then return (json.encode(v)) end
  return tostring(v)
end

-- The first place where the values differ, as text; nil when they are equal. Numbers compare by value.
function case.differs(want, got, path)
  path = path or ''
  if type(want) == 'table' and type(got) == 'table' and want ~= json.null and got ~= json.null then
    for k, v in pairs(want) do
      local d = case.differs(v, got[k], path .. '/' .. tostring(k))
      if d then return d end
    end
    for k in pairs(got) do
      if want[k] == nil then return ('%s/%s: not expected: %s'):format(path, tostring(k), show(got[k])) end
    end
    return nil
  end
  if type(want) == 'number' and type(got) == 'number' then
    local scale = math.max(math.abs(want), math.abs(got), 1e-300)
    if want == got or math.abs(want - got) / scale < 1e-9 then return nil end
  elseif want == got then
    return nil
  end
  return ('%s: expected %s, got %s'):format(path, show(want), show(got))
end

-- All messages of a result in one text.
function case.messages(r)
  local out = {}
  for _, i in ipairs(r.issues) do
    if i.error then out[#out + 1] = i.text end
  end
  return table.concat(out, '\n')
end

-- What is wrong with the outcome of a load, or nil. `want` has `error` or `config`, and perhaps `lookup`.
function case.judge(want, r)
  if want.error then
    if r.ok then return 'loads, but must be refused: ' .. want.error end
    if not case.messages(r):find(want.error, 1, true) then
      return ('no message holds %q:\n%s'):format(want.error, r.printed)
    end
    return nil
  end
  if not r.ok then return 'is refused:\n' .. r.printed end
  local d = want.config and case.differs(want.config, case.shape(r))
  if d then return d end
  for name, target in pairs(want.lookup or {}) do
    local got = r.lookup[name]
    if got == nil then got = json.null end
    d = case.differs(target, got, 'lookup ' .. name)
    if d then return d end
  end
  return nil
end

-- The value at a list of keys in the vectors' shape.
function case.at(r, path)
  local v = case.shape(r)
  for _, k in ipairs(path) do
    v = v[k]
    if v == nil then return nil end
  end
  return v
end

return case
