-- lab.lua: a policy on the test bench. The real scheduler in virtual time (lab.new), or one function of a policy with
-- made-up arguments (lab.load). Plain busted, no ports, no sleeps. See docs/policies.md.
local ok, core = pcall(require, 'luaswap.core')
if not ok then
  local own, shell = pcall(require, 'spec.policy') -- in the source tree the test shell has it
  if not own then error(core, 0) end
  core = shell
end

local lab = {}

-- ---- JSON for settings: only what settings can hold

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c) return ('\\u%04x'):format(c:byte()) end) .. '"'
end

local function encode(v)
  local t = type(v)
  if t == 'string' then return quote(v) end
  if t == 'table' then
    local parts = {}
    if #v > 0 then
      for i, x in ipairs(v) do parts[i] = encode(x) end
      return '[' .. table.concat(parts, ',') .. ']'
    end
    local keys = {}
    for k in pairs(v) do keys[#keys + 1] = k end
    table.sort(keys)
    for i, k in ipairs(keys) do parts[i] = quote(k) .. ':' .. encode(v[k]) end
    return '{' .. table.concat(parts, ',') .. '}'
  end
  if t == 'number' and v == math.huge then return '1e999' end
  return tostring(v)
end

-- ---- a world

local World = {}

function World.__index(w, key)
  if World[key] then return World[key] end
  local r = rawget(w, 'core'):result()
  return r[key]
end

-- w:at(t):request{...} plans a request at t seconds; fields: model, serve_s, id, key, session, tokens_in, tokens_out,
-- priority, deadline, cancel_s.
function World:at(t)
  local c = rawget(self, 'core')
  return {
    request = function(_, q)
      local copy = { at = t }
      for k, v in pairs(q) do copy[k] = v end
      c:request(copy)
    end,
    crash = function(_, model) c:crash(model, t) end,
    unload = function(_, model) c:unload(model, t) end,
    foreign = function(_, mb) c:foreign(mb, t) end,
  }
end

function World:run(till)
  rawget(self, 'core'):run(till)
  return self
end

-- Seconds that the request waited until it was granted; nil when it never was.
function World:wait(id) return (rawget(self, 'core'):wait(id)) end

-- 's' served, 'r' refused, 'c' cancelled, 'w' waits
function World:fate(id) return (select(2, rawget(self, 'core'):wait(id))) end

function World:state(model) return rawget(self, 'core'):state(model) end
function World:log() return rawget(self, 'core'):text 'log' end
function World:messages() return rawget(self, 'core'):text 'messages' end
function World:status() return rawget(self, 'core'):text 'status' end
function World:result() return rawget(self, 'core'):result() end
function World:now() return rawget(self, 'core'):now() end

local function model_list(world)
  local names, list = {}, {}
  for name in pairs(world.models) do names[#names + 1] = name end
  table.sort(names)
  local together = world.gpu_mb and not world.groups
  for i, name in ipairs(names) do
    local m = { id = name }
    for k, v in pairs(world.models[name]) do m[k] = v end
    if m.meta then
      m.meta_json = encode(m.meta)
      m.meta = nil
    end
    if together then -- whatever fits the memory may live together
      m.group_swap, m.group_exclusive = false, false
    end
    list[i] = m
  end
  return list
end

-- world: { gpu_mb =, scheduler = 'fifo', models = { name = { load_s =, stop_s =, vram_mb =, limit =, ... } }, seed = }
-- files: a path, or a list of paths and of tables { file =, settings =, mode =, ... }; settings: of a single path.
function lab.new(world, files, settings)
  if type(files) == 'string' then files = { { file = files, settings = settings } } end
  local list = {}
  for i, f in ipairs(files or {}) do
    if type(f) == 'string' then f = { file = f } end
    local c = {}
    for k, v in pairs(f) do c[k] = v end
    c.settings_json = encode(c.settings or {})
    if c.settings_json == '[]' then c.settings_json = '{}' end
    list[i] = c
  end
  local w, err = core.new { models = model_list(world), gpu_mb = world.gpu_mb, scheduler = world.scheduler or 'fifo',
    reorder = world.reorder, seed = world.seed or 1, policies = list, start_unix = world.start_unix, pairs = world.pairs,
    check = true, log = true }
  if not w then error(err, 2) end
  return setmetatable({ core = w }, World)
end

-- ---- traffic

-- A repeatable generator of whole numbers: r(lo, hi).
function lab.random(seed)
  local s = seed * 2654435761 % 4294967296
  return function(lo, hi)
    s = (s * 1664525 + 1013904223) % 4294967296
    return lo + (s >> 8) % (hi - lo + 1)
  end
end

-- Requests of a mixed day: n requests, `gap` seconds apart on average, over the world's models and three keys.
function lab.traffic(world, n, gap, seed)
  local r, names, list, at = lab.random(seed or 1), {}, {}, 0
  for name in pairs(world.models) do names[#names + 1] = name end
  table.sort(names)
  for i = 1, n do
    at = at + r(0, 2 * gap * 1000) / 1000
    local batch = r(1, 100) <= 55
    list[i] = { at = at, id = i, model = names[r(1, #names)], key = batch and 'batch' or (r(1, 2) == 1 and 'alice' or 'bob'),
      serve_s = r(5, batch and 200 or 80) / 10, tokens_in = r(10, 2000), tokens_out = r(10, 800) }
  end
  return list
end

function lab.play(w, traffic)
  for _, q in ipairs(traffic) do w:at(q.at):request(q) end
  return w:run()
end

-- Traces that have broken schedulers before: all at once, one model starves another, everybody leaves, nothing fits.
function lab.hostile()
  local storm, starve, leave = {}, {}, {}
  local names = { 'a', 'b', 'c' }
  for i = 1, 60 do storm[i] = { at = 0, id = i, model = names[i % 3 + 1], serve_s = i % 4 } end
  for i = 1, 60 do starve[i] = { at = i * 0.4, id = i, model = i == 5 and 'b' or 'a', serve_s = 1 } end
  for i = 1, 40 do leave[i] = { at = i * 0.3, id = i, model = names[i % 3 + 1], serve_s = 5, cancel_s = i % 6 } end
  return { storm = storm, starve = starve, leave = leave }
end

-- Two policies (files, or nil for the built-in) with the same effects on all these traces; raises with the first
-- line that differs.
function lab.assert_same_effects(world, a, b, traces)
  for name, trace in pairs(traces) do
    local function run(file)
      local w = lab.new(world, file and { file } or {})
      lab.play(w, trace)
      return (w:log():gsub('[^\n]*WAKE_AT[^\n]*\n', ''))
    end
    local x, y = run(a), run(b)
    if x ~= y then
      local rest = y:gmatch '[^\n]+'
      for line in x:gmatch '[^\n]+' do
        local other = rest()
        if line ~= other then
          error(('trace %s differs:\n  %s\n  %s'):format(name, line, tostring(other)), 2)
        end
      end
      error('trace ' .. name .. ' differs at its end', 2)
    end
  end
end

-- What `luaswap check` says of a file without running it: a list of { line, level, text, file }, or nil and a message.
function lab.check(file)
  return require 'luaswap.lint'.file(file, assert(load(core.api 'lua'))())
end

-- ---- one function at a time

local function settings_of(schema, given)
  local c = {}
  for name, spec in pairs(schema or {}) do c[name] = spec.default end
  for name, v in pairs(given or {}) do c[name] = v end
  return c
end

-- Loads the file into the test's own state. `options`: models = { id = {...} }, now =, gpu = {...}. The returned table
-- is the policy's; p.luaswap is its library, p.luaswap.calls what it asked for.
function lab.load(file, settings, options)
  options = options or {}
  local config = {}
  local clock = options.now or 0
  local api = { config = setmetatable({}, { __index = function(_, k) return config[k] end }), state = options.state or {},
    calls = {}, api_level = 1 }
  local function note(what)
    return function(...)
      api.calls[#api.calls + 1] = { what, ... }
      return true
    end
  end
  function api.now() return clock end
  function api.set_now(t) clock = t end
  function api.wall() return options.wall or os.date('*t', 0) end
  function api.hold(seconds, why) return { hold = true, seconds = seconds, why = why } end
  function api.reject(status, message, o) return { reject = true, status = status, message = message, opts = o } end
  function api.model(id)
    local m = options.models and options.models[id]
    if m then m.id = id end
    return m
  end
  function api.models()
    local names, list = {}, {}
    for id in pairs(options.models or {}) do names[#names + 1] = id end
    table.sort(names)
    for i, id in ipairs(names) do list[i] = api.model(id) end
    return list
  end
  function api.running()
    local list = {}
    for _, m in ipairs(api.models()) do if m.state == 'ready' then list[#list + 1] = m end end
    return list
  end
  function api.swaps() return options.swaps or {} end
  function api.queue() return options.queue or lab.queue {} end
  function api.gpu() return options.gpu or {} end
  function api.host() return options.host or { mem_free_mb = 0, load1 = 0 } end
  function api.random(...) return math.random(...) end
  function api.hash(s)
    local h = 0x4bf29ce484222325 -- the real one is another; only even and repeatable is promised
    for i = 1, #s do h = (h ~ s:byte(i)) * 0x100000001b3 end
    h = (h ~ h >> 32) * 0x1b873593cc9e2d51
    return h ~ h >> 29
  end
  function api.has() return true end
  for _, name in ipairs { 'preload', 'unload', 'kick', 'quarantine', 'cancel' } do api[name] = note(name) end
  api.log = { debug = note 'debug', info = note 'info', warn = note 'warn', error = note 'error' }
  api.metrics = { counter = note 'counter', gauge = note 'gauge', histogram = note 'histogram' }
  api.timer = { after = note 'after', every = note 'every' }
  api.http = options.http or {}
  api.json = options.json or { encode = encode, null = {} }
  api.builtin = { plan_swap = function() return options.plan or { evict = {}, when = 'idle' } end,
    pick_next = function(q) return q:first() end, route = function(r) return { model = r.model } end }
  for _, name in ipairs { 'sorted_pairs', 'ewma', 'heap', 'ring', 'window' } do
    api[name] = function(...)
      local path = package.searchpath('luaswap.util.' .. name, package.path) or ('lua/luaswap/util/' .. name .. '.lua')
      return assert(loadfile(path, 't', setmetatable({ luaswap = api }, { __index = _G })))()(...)
    end
  end
  local env = setmetatable({ luaswap = api }, { __index = _G, __newindex = function(_, k)
    error('assignment to undeclared global ' .. tostring(k), 2)
  end })
  local p = assert(loadfile(file, 't', env))()
  config = settings_of(p.settings, settings)
  p.luaswap = api
  return p
end

-- A queue of made-up requests: the same methods as the real one.
function lab.queue(list)
  local q = { waiting = #list, inflight = 0, swapping = 0 }
  for i, r in ipairs(list) do
    r.id = r.id or i
    r.age, r.ctx, r.ready = r.age or 0, r.ctx or {}, r.ready or false
    q[i] = r
  end
  local function fits(r, f)
    if f == nil then return true end
    if type(f) == 'function' then return f(r) end
    if f == 'ready' then return r.ready end
    if f == 'cold' then return not r.ready end
    return r.model == f
  end
  function q:first(f)
    for _, r in ipairs(self) do if fits(r, f) then return r end end
  end
  function q:each(f)
    local i = 0
    return function()
      repeat i = i + 1 until self[i] == nil or fits(self[i], f)
      return self[i]
    end
  end
  function q:count(f)
    local n = 0
    for _ in self:each(f) do n = n + 1 end
    return n
  end
  function q:best(what, f)
    local best, top
    for r in self:each(f) do
      local v
      if type(what) == 'string' then v = r[what] else v = what(r) end
      if v and (not top or v > top) then best, top = r, v end
    end
    return best
  end
  function q:models()
    local seen, out = {}, {}
    for _, r in ipairs(self) do
      if not seen[r.model] then
        seen[r.model] = true
        out[#out + 1] = r.model
      end
    end
    return out
  end
  return q
end

function lab.big_queue(n)
  local list = {}
  for i = 1, n do list[i] = { model = 'm' .. i % 7, ready = i % 7 == 3, age = n - i, key = 'k' .. i % 5 } end
  return lab.queue(list)
end

-- Instructions that a decision takes (counted by a hook of the test's own state, in steps of 100).
function lab.budget(p, q)
  local n = 0
  debug.sethook(function() n = n + 100 end, '', 100)
  p.pick_next(q)
  debug.sethook()
  return n
end

return lab
