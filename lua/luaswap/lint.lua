-- lint.lua: what can be said of a policy without running it: names that are not there, calls outside their phase, views
-- that outlive their hook. Follows local functions, tables and `require`; what it cannot follow it does not judge.
--
-- lint.check(text, api, options) -> list of { line, level = 'error'|'warn', code, text, file }, in the order of lines.
-- api: what `policy_api_lua` in src/policy/api_doc.c writes. options: file (name for messages), read(module) -> text, file
local api = require 'luaswap.lint.api'
local Walk = require 'luaswap.lint.walk'

local like, settle, capability = api.like, Walk.settle, Walk.capability
local lint = { near = api.near }

local phase_names = { R = 'route and tasks', D = 'decisions', N = 'notes, tick and timers', C = 'the chunk' }

local function report_use(self, u, hook, phase, via)
  self.file = u.file
  local where = hook or 'the chunk'
  if u.kind == 'call' then
    local f = self.api.funcs[u.path]
    if not f or f.phases:find('[' .. phase .. ']') then return end
    local names = {}
    for p in f.phases:gmatch '.' do names[#names + 1] = phase_names[p] end
    self:say(via and 'warn' or 'error', u.line, 'phase', '%s is called in %s%s; it works in %s', u.path, where, via and ' (' .. via .. ')' or '',
      table.concat(names, ', '))
  elseif u.kind == 'only' and hook and u.hook ~= hook then
    self:say('warn', u.line, 'field', 'req.%s is filled only in %s, not in %s', u.what, u.hook, where)
  end
end

local function visit(self, f, hook, phase, seen, via)
  if seen[f] then return end
  seen[f] = true
  for _, u in ipairs(f.uses) do report_use(self, u, hook, phase, via) end
  for _, c in ipairs(f.callees) do
    local v = settle(c)
    if v and v.k == 'func' then
      visit(self, v.f, hook, phase, seen, via or ('through the function of line %d'):format(v.f.line))
    end
  end
end

local function check_answer(self, hook, ret, f)
  local known = ret and self.api.answers[ret]
  for _, r in ipairs(known and f.returns or {}) do
    local t = settle(r.value)
    if t and t.k == 'table' then
      for name, m in pairs(t.fields) do
        self.file = t.file
        local k = known[name]
        local v = settle(m.value)
        if not k then
          self:say('error', m.line, 'answer', '%s returns a table with %s, which means nothing%s', hook, name, like(name, known))
        elseif k.one_of and v and v.k == 'const' and v.v ~= nil and not k.one_of[v.v] then
          self:say('error', m.line, 'answer', '%s: %s = "%s" is none of its values%s', hook, name, tostring(v.v), like(tostring(v.v), k.one_of))
        end
      end
    end
  end
end

local function check_settings(self, t)
  local known = self.api.answers.Setting
  for name, m in pairs(t.fields) do
    self.file = t.file
    local s = settle(m.value)
    if s and s.k == 'table' then
      for key, field in pairs(s.fields) do
        local v = settle(field.value)
        if not known[key] then
          self:say('error', field.line, 'settings', 'settings.%s: %s means nothing%s', name, key, like(key, known))
        elseif known[key].one_of and v and v.k == 'const' and not known[key].one_of[v.v] then
          self:say('error', field.line, 'settings', 'settings.%s: there is no type %s%s', name, tostring(v.v), like(tostring(v.v), known[key].one_of))
        end
      end
    end
  end
  for _, r in ipairs(self.out.settings_read) do
    if not t.fields[r.name] then
      self.file = r.file
      self:say('error', r.line, 'settings', 'luaswap.config.%s: the policy has no such setting%s', r.name, like(r.name, t.fields))
    end
  end
end

local function const_field(p, name)
  local m = p.fields[name]
  local v = m and settle(m.value)
  return v and v.k == 'const' and v.v, m and m.line
end

local function check_head(self, p)
  local a = self.api
  for name, m in pairs(p.fields) do
    self.file = p.file
    if not a.members[name] then
      self:say('error', m.line, 'hook', 'a policy has no %s%s', name, like(name, a.members))
    end
    self:deprecated(name, m.line)
  end
  local level, line = const_field(p, 'api')
  if math.type(level) == 'integer' and level > a.level then
    self:say('error', line, 'level', 'api = %d: this luaswap offers level %d; it takes a newer release, or write api = %d and do without what is new', level, a.level, a.level)
  elseif math.type(level) == 'integer' and level < a.compatible then
    self:say('error', line, 'level', 'api = %d: the oldest level that still works is %d', level, a.compatible)
  elseif not p.fields.api then
    self:say('error', p.line, 'level', 'api is missing: write api = %d', a.level)
  end
  if not p.fields.name then self:say('error', p.line, 'name', 'name is missing: write name = "..."') end
  local caps, r = {}, p.fields.requires and settle(p.fields.requires.value)
  for _, item in ipairs(r and r.k == 'table' and r.items or {}) do
    local v = settle(item.value)
    capability(self, v, item.line, 'requires')
    if v and v.k == 'const' then caps[v.v or ''] = true end
  end
  return caps, p.fields.requires and not (r and r.k == 'table')
end

local function check_needs(self, caps, functions)
  for f in pairs(functions) do
    for _, u in ipairs(f.uses) do
      if u.kind == 'needs' and not caps[u.cap] and not (u.soft and self.out.asked[u.cap]) then
        self.file = u.file
        self:say(u.soft and 'warn' or 'error', u.line, 'capability', '%s needs requires = { "%s" }%s', u.what, u.cap,
          u.soft and (', or ask luaswap.has("%s") first'):format(u.cap) or '')
      end
    end
  end
end

function lint.check(text, raw, options)
  options = options or {}
  local self = setmetatable({ api = api.index(raw), out = { seen = {}, settings_read = {}, asked = {} }, file = options.file or 'policy', depth = 0,
    todo = {}, timers = {}, chunks = {}, modules = {}, read = options.read }, Walk)
  local p, last = self:chunk_value(text, self.file)
  local main = self.file
  local functions = {}
  local function drain()
    local i = 1
    while i <= #self.todo do
      self:enter(self.todo[i])
      functions[self.todo[i]] = true
      i = i + 1
    end
    for _, f in ipairs(self.timers) do self:enter(f) end
    for _, f in ipairs(self.chunks) do functions[f] = true end
  end
  if p and p.k == 'table' then
    local hooks = {}
    for name, h in pairs(self.api.hooks) do
      local m = p.fields[name]
      local v = m and settle(m.value)
      if v and v.k == 'func' then
        local params = {}
        for i, t in ipairs(h.params) do params[i] = t and self.api.views[t] and { k = 'view', type = t } or false end
        hooks[#hooks + 1] = { name = name, f = v.f, h = h, params = params }
      elseif v and (v.k == 'const' and v.v ~= nil or v.k == 'table') then
        self.file = p.file
        self:say('error', m.line, 'hook', '%s: a function expected', name)
      end
    end
    table.sort(hooks, function(x, y) return x.f.line < y.f.line or x.f.line == y.f.line and x.name < y.name end)
    for _, h in ipairs(hooks) do self:enter(h.f, h.params) end
    drain()
    for _, h in ipairs(hooks) do
      functions[h.f] = true
      visit(self, h.f, h.name, h.h.phase, {})
      check_answer(self, h.name, h.h.ret, h.f)
    end
    self.file = main
    local caps, unknown = check_head(self, p)
    if not unknown then check_needs(self, caps, functions) end
    local s = p.fields.settings and settle(p.fields.settings.value)
    if s and s.k == 'table' then check_settings(self, s)
    elseif not p.fields.settings then check_settings(self, { fields = {}, file = main }) end
  else
    drain()
    if not last then self:say('error', 1, 'return', 'the file must return a table: return { api = 1, name = "...", ... }') end
  end
  for _, f in ipairs(self.chunks) do visit(self, f, nil, 'C', {}) end
  for _, f in ipairs(self.timers) do visit(self, f, 'a timer', 'RN', {}) end
  self.out.seen, self.out.asked, self.out.settings_read = nil, nil, nil
  table.sort(self.out, function(x, y)
    if x.file ~= y.file then return x.file == main or x.file < y.file and y.file ~= main end
    if x.line ~= y.line then return x.line < y.line end
    return x.text < y.text
  end)
  return self.out
end

-- A file and what it requires; nil and a message when it cannot be read or is no Lua. raw: see check; in the rock it may
-- be left out.
function lint.file(path, raw)
  local dir = path:match '^(.*/)' or ''
  local function read(file)
    local h, why = io.open(file, 'rb')
    if not h then return nil, why end
    local text = h:read 'a'
    h:close()
    return text, file
  end
  local text, why = read(path)
  if not text then return nil, why end
  local ok, fault = load(text, '@' .. path, 't')
  if not ok then return nil, fault end
  raw = raw or load(require 'luaswap.core'.api 'lua')()
  return lint.check(text, raw, { file = path, read = function(name) return read(dir .. name:gsub('%.', '/') .. '.lua') end })
end

return lint
