-- check_spec.lua: what `luaswap check` says of a policy without running it: where, what is wrong, how to mend it.
local lint = require 'luaswap.lint'
local policy = require 'spec.policy'
local files = require 'spec.support.files'
local shell = require 'spec.shell'

local api = load(policy.api 'lua')()

-- A policy of these members, each on its own line from line 2 on; `head` stands in line 1.
local function with(members, head) return (head or '') .. '\nreturn { api = 1, name = "t",\n' .. members .. '\n}' end

local function findings(text, modules)
  local list = lint.check(text, api, { file = 'p.lua', read = function(name)
    return modules and modules[name], modules and modules[name] and name .. '.lua'
  end })
  local out = {}
  for i, f in ipairs(list) do out[i] = ('%s:%d: %s: %s'):format(f.file, f.line, f.level, f.text) end
  return out
end

-- name, text, what is said (all of it, in order)
local faulty = {
  { 'a hook that is not there', with 'on_sevre_done = function(r) end', 'p.lua:3: error: a policy has no on_sevre_done: did you mean on_serve_done?' },
  { 'a hook with nothing like it', with 'banana = function() end', 'p.lua:3: error: a policy has no banana' },
  { 'a member that is no function', with 'tick = 5', 'p.lua:3: error: tick: a function expected' },
  { 'a library function that is not there', with 'tick = function() luaswap.log.warning("x") end',
    'p.lua:3: error: there is no luaswap.log.warning: did you mean log.warn?' },
  { 'a library name that is not there', with 'tick = function() luaswap.prelod("a") end', 'p.lua:3: error: there is no luaswap.prelod: did you mean preload?' },
  { 'a name through a local', with('tick = function() L.inof("x") end', 'local L = luaswap.log'), 'p.lua:3: error: there is no luaswap.log.inof: did you mean log.info?' },
  { 'a write to a global', with 'tick = function() count = 1 end',
    'p.lua:3: error: assignment to the undeclared global count: write local, or keep it in luaswap.state' },
  { 'a global function', 'function helper() end\nreturn { api = 1, name = "t" }',
    'p.lua:1: error: assignment to the undeclared global helper: write local, or keep it in luaswap.state' },
  { 'a read of a global', with('tick = function() return cuont end', 'local count = 1'), 'p.lua:3: error: undeclared global cuont is always nil: did you mean count?' },
  { 'a call of a global', with 'tick = function() helper() end', 'p.lua:3: error: undeclared global helper is always nil, calling it raises' },
  { 'io', with 'tick = function() io.open("x") end',
    'p.lua:3: error: io is not available in policies: a policy reads and writes nothing itself; luaswap.state is kept over reloads, state_file over restarts' },
  { 'os.time', with 'score = function() return os.time() end', 'p.lua:3: error: os is not available in policies: use luaswap.now() or luaswap.wall()' },
  { 'print', with 'tick = function() print(1) end', 'p.lua:3: error: print is not available in policies: use luaswap.log.info' },
  { 'xpcall', with 'tick = function() xpcall(error, error) end', 'p.lua:3: error: xpcall is not available in policies: use pcall' },
  { 'string.dump', with 'tick = function() string.dump(function() end) end', 'p.lua:3: error: string.dump is not available in policies: compiled Lua is not accepted' },
  { 'math.randomseed', with 'tick = function() math.randomseed(1) end', 'p.lua:3: error: math.randomseed is not available in policies: the generator is seeded per policy' },
  { 'a library function of Lua that is not there', with 'tick = function() table.srot({}) end', 'p.lua:3: error: there is no table.srot: did you mean sort?' },
  { 'http in a decision', with 'requires = { "http" }, pick_next = function(q) luaswap.http.get("http://x/") end',
    'p.lua:3: error: luaswap.http.get is called in pick_next; it works in route and tasks' },
  { 'http in a note, through a function', with('requires = { "http" }, tick = function() ask() end', 'local function ask() return luaswap.http.get("http://x/") end'),
    'p.lua:1: warn: luaswap.http.get is called in tick (through the function of line 1); it works in route and tasks' },
  { 'an action in route', with 'route = function(req) luaswap.preload("a") end', 'p.lua:3: error: luaswap.preload is called in route; it works in decisions, notes, tick and timers' },
  { 'hold in a note', with 'tick = function() return luaswap.hold(1) end', 'p.lua:3: error: luaswap.hold is called in tick; it works in route and tasks, decisions' },
  { 'the queue while the file is loaded', 'local q = luaswap.queue()\nreturn { api = 1, name = "t" }',
    'p.lua:1: error: luaswap.queue is called in the chunk; it works in route and tasks, decisions, notes, tick and timers' },
  { 'a timer in a decision', with 'score = function(r) luaswap.timer.after(1, function() end) return 1 end',
    'p.lua:3: error: luaswap.timer.after is called in score; it works in notes, tick and timers, the chunk' },
  { 'a field that a request has not', with 'score = function(r) return r.agee end', 'p.lua:3: error: a Request has no agee: did you mean age?' },
  { 'a field that a model has not', with 'evict_cost = function(m) return m.vram end', 'p.lua:3: error: a Model has no vram: did you mean vram_mb?' },
  { 'a field through what the library gives', with 'tick = function() for _, m in ipairs(luaswap.running()) do if m.idel > 5 then luaswap.unload(m.id) end end end',
    'p.lua:3: error: a Model has no idel: did you mean idle?' },
  { 'a field in a filter', with 'pick_next = function(q) return q:first(function(r) return r.redy end) end', 'p.lua:3: error: a Request has no redy: did you mean ready?' },
  { 'a field of the queue in a loop', with 'pick_next = function(q) for r in q:each() do if r.modle then return r end end end', 'p.lua:3: error: a Request has no modle: did you mean model?' },
  { 'a method called as a field', with 'pick_next = function(q) return q.first("ready") end', 'p.lua:3: error: first of a Queue is a method: write :first(...)' },
  { 'a field called as a method', with 'score = function(r) return r:age() end', 'p.lua:3: error: age of a Request is a field, not a method: write .age' },
  { 'a write to a view', with 'on_request = function(r) r.priority = 5 end',
    'p.lua:3: error: a Request is read-only: return the change from route or on_request, keep your own data in req.ctx' },
  { 'a write to the settings', with('settings = { a = { type = "number" } }, tick = function() C.a = 1 end', 'local C = luaswap.config'), 'p.lua:3: error: luaswap.config is read-only' },
  { 'a write to the library', with 'tick = function() luaswap.now = nil end', 'p.lua:3: error: luaswap is read-only' },
  { 'a field that is filled elsewhere', with 'score = function(r) return r.tokens_out end', 'p.lua:3: warn: req.tokens_out is filled only in on_serve_done, not in score' },
  { 'a view that is kept', with('on_request = function(r) last = r end', 'local last'), 'p.lua:3: warn: a Request is kept in last, but it dies with the hook: keep its id' },
  { 'a view in the state', with('on_request = function(r) S.last = r end', 'local S = luaswap.state'), 'p.lua:3: warn: a Request is kept in luaswap.state, but it dies with the hook: keep its id' },
  { 'a member of the state in a local', with('tick = function() used.a = 1 end', 'local S = luaswap.state S.used = S.used or {} local used = S.used'),
    'p.lua:1: warn: luaswap.state.used is kept in a local while the file is loaded, but a reload fills luaswap.state later: look it up through luaswap.state' },
  { 'settings that are read too early', with('settings = { a = { type = "number" } }', 'local a = luaswap.config.a'),
    'p.lua:1: error: luaswap.config.a is read while the file is loaded: it is filled when the chunk has returned; read it inside a hook' },
  { 'a setting that is not there', with 'settings = { max_wait = { type = "number" } }, score = function(r) return luaswap.config.max_wiat end',
    'p.lua:3: error: luaswap.config.max_wiat: the policy has no such setting: did you mean max_wait?' },
  { 'a word of the schema that means nothing', with 'settings = { a = { type = "number", defualt = 5 } }', 'p.lua:3: error: settings.a: defualt means nothing: did you mean default?' },
  { 'a type that is not there', with 'settings = { a = { type = "int" } }', 'p.lua:3: error: settings.a: there is no type int: did you mean integer?' },
  { 'an answer that means nothing', with 'route = function(req) return { modle = "x" } end', 'p.lua:3: error: route returns a table with modle, which means nothing: did you mean model?' },
  { 'a value that is none of its values', with 'plan_swap = function(t, q) return { evict = {}, when = "drian" } end',
    'p.lua:3: error: plan_swap: when = "drian" is none of its values: did you mean drain?' },
  { 'a capability that is not there', with 'requires = { "gpuu" }', 'p.lua:3: error: requires: there is no capability gpuu: did you mean gpu?' },
  { 'a question for one that is not there', with 'tick = function() return luaswap.has("htp") end', 'p.lua:3: error: luaswap.has: there is no capability htp: did you mean http?' },
  { 'the body without the capability', with 'route = function(req) return req:body() and nil end', 'p.lua:3: error: Request body needs requires = { "body" }' },
  { 'http without the capability', with 'route = function(req) luaswap.http.get("http://x/") end', 'p.lua:3: warn: luaswap.http.get needs requires = { "http" }, or ask luaswap.has("http") first' },
  { 'a level to come', 'return { name = "t",\napi = 7 }', 'p.lua:2: error: api = 7: this luaswap offers level 1; it takes a newer release, or write api = 1 and do without what is new' },
  { 'a level of old', 'return { name = "t",\napi = 0 }', 'p.lua:2: error: api = 0: the oldest level that still works is 1' },
  { 'no level and no name', 'return {}', 'p.lua:1: error: api is missing: write api = 1', 'p.lua:1: error: name is missing: write name = "..."' },
  { 'nothing returned', 'local x = 1', 'p.lua:1: error: the file must return a table: return { api = 1, name = "...", ... }' },
  { 'a member given twice', with 'score = function() return 1 end,\nscore = function() return 2 end', 'p.lua:4: warn: score is given twice in this table; the last one counts' },
  { 'a module that is not there', with('tick = function() end', 'local u = require "util"'), 'p.lua:1: error: there is no module util beside the policy' },
}

describe('the static check', function()
  for _, case in ipairs(faulty) do
    it('finds ' .. case[1], function() assert.same({ table.unpack(case, 3) }, findings(case[2])) end)
  end
  assert(#faulty >= 30)

  it('looks into modules beside the policy', function()
    local text = with('tick = function() U.go() end, on_start = function() U.fine() end', 'local U = require "util"')
    assert.same({ 'util.lua:2: warn: luaswap.http.get is called in tick (through the function of line 2); it works in route and tasks',
      'util.lua:2: warn: luaswap.http.get needs requires = { "http" }, or ask luaswap.has("http") first' }, findings(text, {
      util = 'local M = {}\nfunction M.go() return luaswap.http.get("http://x/") end\nfunction M.fine() return luaswap.now() end\nreturn M' }))
  end)

  it('says what is deprecated, and what to use instead', function()
    local old = load(policy.api 'lua')()
    old.deprecated = { { name = 'luaswap.kick', since = '0.2', instead = 'luaswap.preload' }, { name = 'idle_ttl', since = '0.3', instead = 'tick' },
      { name = 'Swap.for', since = '0.2', instead = 'for_id' } }
    local list = lint.check(with 'tick = function() luaswap.kick() end,\nidle_ttl = function(m) return 5 end,\non_swap_done = function(s) return s["for"] end',
      old, { file = 'p.lua' })
    local out = {}
    for i, f in ipairs(list) do out[i] = f.line .. ' ' .. f.level .. ' ' .. f.text end
    assert.same({ '3 warn luaswap.kick is deprecated since 0.2: use luaswap.preload', '4 warn idle_ttl is deprecated since 0.3: use tick',
      '5 warn Swap.for is deprecated since 0.2: use for_id' }, out)
  end)

  it('has nothing to say of what is shipped', function()
    local n = 0
    for _, path in ipairs(files.list({ 'policies', 'examples/policies', 'lua/luaswap/sched' }, '%.lua$')) do
      if not path:find '_spec%.lua$' then
        assert.same({}, assert(lint.file(shell.root .. '/' .. path, api)), path)
        n = n + 1
      end
    end
    assert(n >= 16, n)
  end)

  it('says nothing of what it cannot follow', function()
    for _, text in ipairs {
      with('tick = function() for _, f in ipairs(list) do f() end end', 'local list = { function() return luaswap.hold(1) end }'),
      with('pick_next = function(q) return pick(q) end', 'local pick = luaswap.has("gpu") and function(q) return q:first() end or function() end'),
      with('score = function(r) local best = r best = { anything = 1 } return best.anything end'),
      with('tick = function() local t = setmetatable({}, { __index = function(_, k) return k end }) return t.what end'),
      with('route = function(req) local t = {} t.model = req.model return t end'),
      with('on_start = function(info) if info.reason == "reload" then luaswap.kick() end end'),
      with('tick = function() luaswap.timer.after(1, function() luaswap.preload("a") luaswap.timer.after(1, function() end) end) end'),
      with('tick = function() if luaswap.has("http") then luaswap.timer.after(1, function() luaswap.http.get("http://x/") end) end end'),
      'local P = { api = 1, name = "t" }\nfunction P.score(r) return r.age end\nreturn P',
      '#!/usr/bin/lua\nlocal s = [==[ not = "code" ]==] -- [[ nor this\n--[[ nor\nthis ]] return { api = 1, name = "t", score = function(r) goto out ::out:: return #s // 2 ~ 1 end }',
    } do
      assert.same({}, findings(text), text)
    end
  end)

  it('reads whatever Lua itself reads', function()
    local syntax = require 'luaswap.lint.syntax'
    for _, path in ipairs(files.list({ 'spec/policy', 'lua', 'policies', 'examples' }, '%.lua$')) do
      local f = assert(io.open(shell.root .. '/' .. path))
      local text = f:read 'a'
      f:close()
      if load(text:gsub('^#[^\n]*', '')) then assert(pcall(syntax.parse, text), path) end
    end
  end)
end)
