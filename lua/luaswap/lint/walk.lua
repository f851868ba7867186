-- walk.lua: the tree of a policy with its names resolved: what calls what, what is a view, what is wrong on the spot.
-- For luaswap.lint, which asks what belongs to which hook afterwards.
local api = require 'luaswap.lint.api'
local syntax = require 'luaswap.lint.syntax'

local like, words, value_of_type = api.like, api.words, api.value_of_type

-- ---- what there is and what there is not

local absent = {
  io = 'a policy reads and writes nothing itself; luaswap.state is kept over reloads, state_file over restarts',
  os = 'use luaswap.now() or luaswap.wall()', debug = 'use luaswap.log', coroutine = 'route and tasks of luaswap.timer may wait',
  load = 'use require', loadfile = 'use require', dofile = 'use require', loadstring = 'use require',
  print = 'use luaswap.log.info', xpcall = 'use pcall', collectgarbage = 'memory is collected between hooks',
  package = 'use require', warn = 'use luaswap.log.warn', setfenv = 'there is no such function in Lua 5.4',
  unpack = 'use table.unpack', _G = 'there is no table of globals; use local',
}
local libraries = {
  string = 'byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper',
  table = 'concat insert move pack remove sort unpack',
  math = 'abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min mininteger modf pi rad random sin sqrt tan ' ..
    'tointeger type ult',
  utf8 = 'char charpattern codepoint codes len offset',
}
local gone = {
  ['string.dump'] = 'compiled Lua is not accepted', ['math.randomseed'] = 'the generator is seeded per policy',
  ['math.pow'] = 'use x ^ y', ['table.getn'] = 'use #t', ['string.gfind'] = 'use string.gmatch',
}
local basic_set
local basic = 'assert error ipairs next pairs pcall select tonumber tostring type setmetatable getmetatable rawequal rawlen ' ..
  'rawget rawset math string table utf8 luaswap require _VERSION'

-- ---- the walk: values are tables with k: lib, func, table, view, list, iter, config, const, var
--
-- A function record `f` has: uses (calls of the library and fields of views that are bound to a phase), callees,
-- hookwise facts. Names resolve to variables; a variable that is assigned twice is not judged.

local Walk = {}
Walk.__index = Walk

function Walk:say(level, line, code, fmt, ...)
  local key = ('%s:%d:%s:%s'):format(self.file, line, code, select('#', ...) > 0 and fmt:format(...) or fmt)
  if self.out.seen[key] then return end
  self.out.seen[key] = true
  table.insert(self.out, { level = level, line = line, code = code, file = self.file,
    text = select('#', ...) > 0 and fmt:format(...) or fmt })
end

local function settle(v)
  local hops = 0
  while v and v.k == 'var' and hops < 20 do
    if v.var.n > 1 then return nil end
    v, hops = v.var.value, hops + 1
  end
  return v and v.k ~= 'var' and v or nil
end

function Walk:lookup(name)
  local s = self.scope
  while s do
    if s.names[name] then return s.names[name] end
    s = s.up
  end
end

function Walk:declare(name, value)
  local var = { name = name, value = value, n = value and 1 or 0, depth = self.depth, chunk = self.chunk }
  self.scope.names[name] = var
  return var
end

function Walk:push() self.scope = { names = {}, up = self.scope } end
function Walk:pop() self.scope = self.scope.up end

function Walk:global(name, line, called)
  basic_set = basic_set or words(basic)
  if basic_set[name] then return end
  if absent[name] then
    return self:say('error', line, 'absent', '%s is not available in policies: %s', name, absent[name])
  end
  local known, s = {}, self.scope
  for k in pairs(basic_set) do known[k] = true end
  while s do
    for k in pairs(s.names) do known[k] = true end
    s = s.up
  end
  self:say('error', line, 'global', 'undeclared global %s is always nil%s%s', name, called and ', calling it raises' or '', like(name, known))
end

function Walk:deprecated(name, line)
  local d = self.api.deprecated[name]
  if d then
    self:say('warn', line, 'deprecated', '%s is deprecated since %s: use %s', name, d.since, d.instead)
  end
end

local function use(self, kind, data)
  data.kind, data.file = kind, self.file
  table.insert(self.fn.uses, data)
end

-- luaswap.x, luaswap.x.y
function Walk:member_of_lib(lib, name, line)
  local a = self.api
  local path = lib.path == '' and name or lib.path .. '.' .. name
  if lib.path == '' then
    if name == 'config' then return { k = 'config' } end
    if name == 'state' then return { k = 'state', path = 'luaswap.state' } end
    if a.tables[name] then return { k = 'lib', path = name } end
  end
  if not (a.tables[lib.path] or {})[name] then
    self:say('error', line, 'unknown', 'there is no luaswap.%s%s', path, like(path, a.paths))
    return nil
  end
  self:deprecated('luaswap.' .. path, line)
  return { k = 'fn', path = 'luaswap.' .. path }
end

function Walk:member_of_view(v, name, line)
  local fields = self.api.views[v.type]
  local f = fields[name]
  if not f then
    self:say('error', line, 'field', 'a %s has no %s%s', v.type, name, like(name, fields))
    return nil
  end
  self:deprecated(v.type .. '.' .. name, line)
  if f.needs then use(self, 'needs', { cap = f.needs, what = v.type .. ' ' .. name, line = line }) end
  if f.only then use(self, 'only', { hook = f.only, what = name, line = line }) end
  return value_of_type(self.api, f.type)
end

function Walk:index(obj, key, line)
  local o = settle(obj)
  if not o or not key or key.k ~= 'const' then
    if o and o.k == 'list' then return { k = 'view', type = o.of } end
    if o and o.k == 'view' and o.type == 'Queue' then return { k = 'view', type = 'Request' } end
    return nil
  end
  local name = key.v
  if type(name) ~= 'string' then
    if o.k == 'list' then return { k = 'view', type = o.of } end
    if o.k == 'view' and o.type == 'Queue' then return { k = 'view', type = 'Request' } end
    return nil
  end
  if o.k == 'lib' then return self:member_of_lib(o, name, line) end
  if o.k == 'view' then return self:member_of_view(o, name, line) end
  if o.k == 'table' then
    local m = o.fields[name]
    return m and m.n == 1 and m.value or nil
  end
  if o.k == 'library' then
    if gone[o.name .. '.' .. name] then
      self:say('error', line, 'absent', '%s.%s is not available in policies: %s', o.name, name, gone[o.name .. '.' .. name])
    elseif not o.set[name] then
      self:say('error', line, 'unknown', 'there is no %s.%s%s', o.name, name, like(name, o.set))
    end
  end
  if o.k == 'config' then
    table.insert(self.out.settings_read, { name = name, line = line, file = self.file })
    if self.depth == 0 then
      self:say('error', line, 'config', 'luaswap.config.%s is read while the file is loaded: it is filled when the chunk has returned; read it inside a hook', name)
    end
  end
  if o.k == 'state' then return { k = 'state', path = o.path .. '.' .. name } end
  return nil
end

-- ---- expressions

local expr, block

function Walk:func(node, params)
  local f = { uses = {}, callees = {}, line = node.line, file = self.file }
  local outer, outer_depth = self.fn, self.depth
  self.fn, self.depth = f, self.depth + 1
  self:push()
  for i, p in ipairs(node.params) do
    local var = self:declare(p, nil)
    f.params = f.params or {}
    f.params[i] = var
    if params and params[i] then var.value, var.n = params[i], 1 end
  end
  f.node, f.scope, f.depth = node, self.scope, self.depth
  self:pop()
  self.fn, self.depth = outer, outer_depth
  return { k = 'func', f = f }
end

-- The body is read when it is known what the parameters are, or at the end.
function Walk:enter(f, params)
  if f.read then return end
  f.read = true
  for i, p in ipairs(params or {}) do
    local var = f.params and f.params[i]
    if var and p then var.value, var.n = p, 1 end
  end
  local fn, depth, scope, file = self.fn, self.depth, self.scope, self.file
  self.fn, self.depth, self.scope, self.file = f, f.depth, f.scope, f.file
  block(self, f.node.body)
  self.fn, self.depth, self.scope, self.file = fn, depth, scope, file
end

local function later(self, v)
  v = settle(v)
  if v and v.k == 'func' then table.insert(self.todo, v.f) end
end

local function required(self, args, line)
  local name = args[1] and args[1].k == 'const' and args[1].v
  if type(name) ~= 'string' then return nil end
  if name:find '^luaswap%.' or not self.read then return nil end
  if self.modules[name] ~= nil then return self.modules[name] or nil end
  self.modules[name] = false
  local text, file = self.read(name)
  if not text then
    self:say('error', line, 'require', 'there is no module %s beside the policy', name)
    return nil
  end
  local value = self:chunk_value(text, file)
  self.modules[name] = value or false
  return value
end

local function capability(self, v, line, what)
  if v and v.k == 'const' and type(v.v) == 'string' and not self.api.caps[v.v] then
    self:say('error', line, 'capability', '%s: there is no capability %s%s', what, v.v, like(v.v, self.api.caps))
  end
end

local view_filters = { first = 1, each = 1, count = 1, best = 1 }

local function call(self, node)
  local fn, name, o
  if node.t == 'method' then
    o = settle(expr(self, node.obj))
    name = node.v
    if o and (o.k == 'view' or o.k == 'table' or o.k == 'lib') then
      fn = self:index(o, { k = 'const', v = name }, node.line)
      local meta = o.k == 'view' and self.api.views[o.type][name]
      if meta and not meta.method then
        self:say('error', node.line, 'field', '%s of a %s is a field, not a method: write .%s', name, o.type, name)
      end
    end
  else
    if node.fn.t == 'name' and not self:lookup(node.fn.v) then
      name = node.fn.v
      if name ~= 'luaswap' and not libraries[name] then self:global(name, node.fn.line, true) end
    else
      fn = expr(self, node.fn)
    end
    if node.fn.t == 'index' and node.fn.key.t == 'const' then
      local obj = settle(expr(self, node.fn.obj))
      local meta = obj and obj.k == 'view' and self.api.views[obj.type][node.fn.key.v]
      if meta and meta.method then
        self:say('error', node.line, 'field', '%s of a %s is a method: write :%s(...)', node.fn.key.v, obj.type, node.fn.key.v)
      end
    end
  end
  local args = {}
  for i, x in ipairs(node.args) do args[i] = expr(self, x) or {} end
  local target = settle(fn)
  -- functions that are handed over run here, except those of timers
  local timer = target and target.k == 'fn' and target.path:find '^luaswap%.timer%.'
  for i, x in ipairs(args) do
    local v = settle(x)
    if v and v.k == 'func' then
      if timer then table.insert(self.timers, v.f)
      else table.insert(self.fn.callees, x) end
      local params = o and o.k == 'view' and o.type == 'Queue' and view_filters[name] and { { k = 'view', type = 'Request' } }
      if params then self:enter(v.f, params) end
    elseif node.args[i].t == 'name' and x.k == 'var' and not timer then
      table.insert(self.fn.callees, x)
    end
  end
  if fn and (fn.k == 'var' or fn.k == 'func') then table.insert(self.fn.callees, fn) end
  if target and target.k == 'func' then
    local params = {}
    for i, x in ipairs(args) do
      local v = settle(x)
      params[i] = v and v.k == 'view' and v or false
    end
    self:enter(target.f, params)
    return nil
  end
  if target and target.k == 'fn' then
    use(self, 'call', { path = target.path, line = node.line })
    if target.path == 'luaswap.has' then
      capability(self, settle(args[1]), node.line, 'luaswap.has')
      local v = settle(args[1])
      if v and v.k == 'const' then self.out.asked[v.v or ''] = true end
    end
    if target.path:find '^luaswap%.http%.' then use(self, 'needs', { cap = 'http', what = target.path, line = node.line, soft = true }) end
    local f = self.api.funcs[target.path]
    return f and value_of_type(self.api, f.ret)
  end
  if name == 'require' then return required(self, { settle(args[1]) }, node.line) end
  if name == 'ipairs' or name == 'pairs' then
    local v = settle(args[1])
    if v and v.k == 'list' then return { k = 'pairs', of = v.of } end
    return nil
  end
  if name == 'setmetatable' then return args[1] end
  if o and o.k == 'view' then
    local meta = self.api.views[o.type][name]
    return meta and value_of_type(self.api, meta.type)
  end
  return nil
end

local function table_value(self, node)
  local t = { k = 'table', fields = {}, items = {}, line = node.line, file = self.file }
  for _, item in ipairs(node.items) do
    local v = expr(self, item.value) or {}
    local key = item.key and expr(self, item.key)
    if key and key.k == 'const' and type(key.v) == 'string' then
      local m = t.fields[key.v]
      if m then
        self:say('warn', item.line, 'twice', '%s is given twice in this table; the last one counts', key.v)
      end
      t.fields[key.v] = { value = v, n = 1, line = item.line }
    elseif not item.key then
      table.insert(t.items, { value = v, line = item.line })
    end
    later(self, v)
  end
  return t
end

function expr(self, node)
  local t = node.t
  if t == 'const' then return { k = 'const', v = node.v } end
  if t == 'name' then
    local var = self:lookup(node.v)
    if var then return { k = 'var', var = var } end
    if node.v == 'luaswap' then return { k = 'lib', path = '' } end
    if libraries[node.v] then return { k = 'library', name = node.v, set = words(libraries[node.v]) } end
    self:global(node.v, node.line)
    return nil
  end
  if t == 'index' then return self:index(expr(self, node.obj), expr(self, node.key), node.line) end
  if t == 'call' or t == 'method' then return call(self, node) end
  if t == 'func' then return self:func(node) end
  if t == 'table' then return table_value(self, node) end
  if t == 'op' then
    local only, all_views = nil, true
    for i, x in ipairs(node.list) do
      local v = settle(expr(self, x))
      later(self, v)
      -- a and b or c: b or c; what is asked first does not come out unless it is the view itself
      local last = i == #node.list or node.ops[i] == 'or' or (node.ops[i] == nil)
      if v and (v.k == 'view' or v.k == 'table' or v.k == 'state' or v.k == 'lib') and last then only = only or v
      elseif last and not (v and v.k == 'const' and v.v == nil) then all_views = false end
    end
    local logic = node.plain
    for _, op in ipairs(node.ops or {}) do logic = logic and (op == 'or' or op == 'and') end
    return logic and only and (all_views or only.k == 'state') and only or nil
  end
end

-- ---- statements

local function outlives(self, target, v, line)
  if not v or v.k ~= 'view' then return end
  local where
  if target.t == 'name' then
    local var = self:lookup(target.v)
    if var and var.depth == 0 and self.depth > 0 then where = target.v end
  elseif target.t == 'index' then
    local o = settle(expr(self, target.obj))
    local root = target.obj
    while root.t == 'index' do root = root.obj end
    local var = root.t == 'name' and self:lookup(root.v)
    if o and o.k == 'state' then where = 'luaswap.state'
    elseif var and var.depth == 0 and self.depth > 0 and not (o and o.k == 'view') then where = var.name end
  end
  if where then
    self:say('warn', line, 'view', 'a %s is kept in %s, but it dies with the hook: keep its id', v.type, where)
  end
end

local function assign(self, target, v, line)
  local s = settle(v)
  outlives(self, target, s, line)
  later(self, s)
  if target.t == 'name' then
    local var = self:lookup(target.v)
    if not var then
      return self:say('error', line, 'global', 'assignment to the undeclared global %s: write local, or keep it in luaswap.state', target.v)
    end
    -- the same kind of view again is as good as one assignment
    local old = settle(var.value)
    if not (old and s and old.k == 'view' and s.k == 'view' and old.type == s.type) and not (s and s.k == 'const' and s.v == nil) then
      var.n = var.n + 1
      var.value = v
    end
    return
  end
  if target.t ~= 'index' then return end
  local o, key = settle(expr(self, target.obj)), expr(self, target.key)
  local name = key and key.k == 'const' and key.v
  if not o then return end
  if o.k == 'view' then
    self:say('error', line, 'readonly', 'a %s is read-only: %s', o.type, o.type == 'Request' and
      'return the change from route or on_request, keep your own data in req.ctx' or 'keep your own data in luaswap.state')
  elseif o.k == 'config' then
    self:say('error', line, 'readonly', 'luaswap.config is read-only')
  elseif o.k == 'lib' or o.k == 'library' then
    self:say('error', line, 'readonly', '%s is read-only', o.k == 'lib' and 'luaswap' or o.name)
  elseif o.k == 'table' and type(name) == 'string' then
    local m = o.fields[name]
    o.fields[name] = { value = v or {}, n = m and m.n + 1 or 1, line = line }
  end
end

local function locals(self, names, values)
  local list = {}
  for i, x in ipairs(values) do list[i] = expr(self, x) or {} end
  for i, n in ipairs(names) do
    local v = list[i]
    local s = settle(v)
    later(self, s)
    if s and s.k == 'state' and s.path ~= 'luaswap.state' and self.depth == 0 then
      self:say('warn', values[i].line, 'state', '%s is kept in a local while the file is loaded, but a reload fills luaswap.state later: ' ..
        'look it up through luaswap.state', s.path)
    end
    self:declare(n, v and v.k and v or nil)
    if not v and i > #values and #values > 0 then self.scope.names[n].n = 2 end -- from a call, unknown
  end
end

-- Literal tables that a hook returns are checked when it is known which hook it is.
local statements = {
  ['local'] = function(self, s) locals(self, s.names, s.values) end,
  localfunc = function(self, s)
    local var = self:declare(s.name, nil)
    var.value, var.n = self:func(s.fn), 1
    table.insert(self.todo, var.value.f)
  end,
  assign = function(self, s)
    local list = {}
    for i, x in ipairs(s.values) do list[i] = expr(self, x) or {} end
    for i, target in ipairs(s.targets) do assign(self, target, list[i], s.line) end
  end,
  call = function(self, s) expr(self, s.e) end,
  ['do'] = function(self, s) block(self, s.body) end,
  ['while'] = function(self, s)
    expr(self, s.cond)
    block(self, s.body)
  end,
  ['repeat'] = function(self, s)
    self:push()
    block(self, s.body, true)
    expr(self, s.cond)
    self:pop()
  end,
  ['if'] = function(self, s)
    for _, c in ipairs(s.clauses) do
      if c.cond then expr(self, c.cond) end
      block(self, c.body)
    end
  end,
  ['for'] = function(self, s)
    local list = {}
    for i, x in ipairs(s.values) do list[i] = settle(expr(self, x)) or {} end
    self:push()
    local it = list[1] or {}
    for i, n in ipairs(s.names) do
      local v
      if it.k == 'iter' and i == 1 or it.k == 'pairs' and i == 2 then v = { k = 'view', type = it.of } end
      self:declare(n, v)
      if not v then self.scope.names[n].n = 2 end
    end
    block(self, s.body, true)
    self:pop()
  end,
  ['return'] = function(self, s)
    local v = s.values[1] and expr(self, s.values[1])
    for i = 2, #s.values do expr(self, s.values[i]) end
    later(self, v)
    self.fn.returns = self.fn.returns or {}
    table.insert(self.fn.returns, { value = v or {}, line = s.line })
  end,
}

function block(self, list, open)
  if not open then self:push() end
  for _, s in ipairs(list) do statements[s.t](self, s) end
  if not open then self:pop() end
end

-- ---- a file

-- What the chunk returns; functions that nobody has called yet are read at the end.
function Walk:chunk_value(text, file)
  local ok, tree = pcall(syntax.parse, text)
  if not ok then return nil end -- Lua itself says what is wrong
  local fn, depth, scope, old, todo = self.fn, self.depth, self.scope, self.file, self.todo
  local f = { uses = {}, callees = {}, line = 1, file = file, chunk = true }
  self.fn, self.depth, self.scope, self.file, self.todo = f, 0, { names = {} }, file, {}
  block(self, tree.body, true)
  table.insert(self.chunks, f)
  self.fn, self.depth, self.scope, self.file = fn, depth, scope, old
  for _, g in ipairs(self.todo) do table.insert(todo, g) end
  self.todo = todo
  local last = f.returns and f.returns[#f.returns]
  return last and settle(last.value), last
end

Walk.settle, Walk.capability = settle, capability

return Walk
