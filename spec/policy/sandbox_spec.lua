-- sandbox_spec.lua: what a policy sees and what it cannot do; the four holes of an instruction hook, one by one.
local kit = require 'spec.policy.kit'

-- Runs `code` as the chunk of a policy; nil, or the message of the load.
local function load(code, options)
  local _, err = kit.world({ { text = code .. "\nreturn { api = 1, name = 't' }", memory_mb = options and options.memory_mb } },
    { real_budgets = true })
  return err
end

local function fine(code)
  local err = load(code)
  assert(err == nil, err)
end

local function fails(code, with, limits)
  local err = load(code, limits)
  assert(err, 'loaded: ' .. code)
  assert(err:find(with, 1, true), err)
end

describe('the sandbox', function()
  after_each(kit.clean)

  it('offers exactly the documented names', function()
    fine [[
      local there = { 'assert', 'error', 'ipairs', 'next', 'pairs', 'pcall', 'select', 'tonumber', 'tostring', 'type',
        'setmetatable', 'getmetatable', 'rawequal', 'rawlen', 'rawget', 'rawset', 'math', 'string', 'table', 'utf8',
        'luaswap', 'require' }
      for _, name in ipairs(there) do assert(_ENV[name] ~= nil, name) end
      for _, name in ipairs { 'io', 'os', 'debug', 'package', 'coroutine', 'load', 'loadfile', 'loadstring', 'dofile',
        'collectgarbage', 'print', 'xpcall', '_G', 'warn' } do assert(_ENV[name] == nil, name) end
      assert(string.dump == nil and math.randomseed == nil)]]
  end)

  it('keeps libraries, strings and the environment as they are', function()
    fails('string.rep = 1', 'read-only')
    fails('luaswap.now = 1', 'read-only')
    fails('luaswap.log.info = 1', 'read-only')
    fails('math.pi = 3', 'read-only')
    fails('x = 1', 'undeclared global')
    fails('string = nil', 'undeclared global')
    fine "assert(getmetatable('') == nil) assert(getmetatable(string) == false)"
    fails("setmetatable(string, {})", 'protected')
    fine "assert(('x'):rep(3) == 'xxx' and ('%d'):format(7) == '7' and #'abc' == 3)"
  end)

  it('takes text only', function()
    local _, err = kit.world { { text = string.dump(function() end) } }
    assert.is_truthy(err:find 'compiled')
  end)

  it('prints no address', function()
    fine [[assert(tostring({}) == 'table' and tostring(print) == 'nil' and tostring(function() end) == 'function')
      assert(('%s'):format({}) == 'table')
      assert(tostring(setmetatable({}, { __tostring = function() return 'me' end })) == 'me')]]
  end)

  it('has modules beside the file and none elsewhere', function()
    local path = kit.file("local m = require 'part' local n = require 'part' assert(m == n and m.x == 7)" ..
      "local h = require 'luaswap.util.heap' assert(h)" ..
      "for _, bad in ipairs { '../part', '/etc/passwd', 'part.', '..part', 'nobody', 'luaswap.nobody', '' } do " ..
      "assert(not pcall(require, bad), bad) end return { api = 1, name = 't' }")
    kit.write(path:gsub('policy.lua', 'part.lua'), 'return { x = 7 }')
    assert(kit.world { { file = path } })
  end)

  it('shares modules with nobody and survives those that require themselves', function()
    local path = kit.file("return require 'again'")
    kit.write(path:gsub('policy.lua', 'again.lua'), "return require 'again'")
    local _, err = kit.world { { file = path } }
    assert.is_truthy(err:find('requires itself', 1, true))
  end)

  it('draws the same random numbers for the same seed', function()
    local function draw(seed)
      local w = assert(kit.world({ kit.text 'on_start = function() luaswap.log.info("%d %d %s", math.random(1000000), luaswap.random(5, 9), math.random()) end' },
        { seed = seed }))
      return w:text 'messages'
    end
    local path_independent = function(s) return (s:gsub('^[^:]*', '')) end
    assert.is_truthy(path_independent(draw(1)):find '%d')
    fine [[for _ = 1, 1000 do local r = math.random(3) assert(r >= 1 and r <= 3) local f = math.random() assert(f >= 0 and f < 1) end
      assert(not pcall(math.random, 2, 1))]]
  end)
end)

describe('hole', function()
  after_each(kit.clean)

  it('1: there is no message handler in Lua', function()
    fine 'assert(xpcall == nil)'
    fails('pcall(function() while true do end end) while true do end', 'budget')
    fails('while true do pcall(function() while true do end end) end', 'budget')
    fails('local function f() pcall(f) end f() while true do pcall(f) end', 'budget')
  end)

  it('2: there are no finalisers', function()
    fails('setmetatable({}, { __gc = function() while true do end end })', '__gc')
    -- put in later it is never looked at
    fine "local mt = {} setmetatable({}, mt) mt.__gc = function() while true do end end for i = 1, 10000 do local _ = { i } end"
  end)

  it('3: C functions count against the budget', function()
    fails("(('a'):rep(100)):find('.-.-.-.-.-b$')", 'budget')
    fails("for i = 1, 1000 do (('a'):rep(60000)):find('.-b') end", 'budget')
    fails("(('a'):rep(1 << 30)):len()", 'longer than')
    fails("(('a'):rep(70000)):find('b+')", 'too long for a pattern')
    fails("for i = 1, 1e9 do local t = table.pack(table.unpack({}, 1, 3000)) end", 'budget')
    fails("local t = {} for i = 1, 300000 do t[i] = i % 977 end while true do table.sort(t) end", 'budget')
    fails("table.concat({ ('x'):rep(600000), ('x'):rep(600000) })", 'longer than')
    fails("table.unpack({}, 1, 1e7)", 'too many')
    fails("string.pack('s1c99999999', 'x', 'y')", 'too large')
    fails("local s = ('x'):rep(1000000) while true do s:upper() end", 'budget')
  end)

  it('4: there are no coroutines to hide in', function()
    fine 'assert(coroutine == nil)'
    for _, members in ipairs { 'route = function() while true do end end',
      'route = function() pcall(function() while true do end end) while true do end end',
      'route = function() local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end end',
      'after = 1, on_start = function() luaswap.timer.after(0, function() while true do end end) end' } do
      local w = assert(kit.world({ kit.text(members) }, { real_budgets = true }))
      kit.load(w, 12)
      w:run()
      assert.equal(12, w:result().served)
      assert.is_true(w:result().budget >= 1, members)
    end
  end)

  it('beside the four: large blocks, deep stacks, sparse tables, long comparisons', function()
    local function quick(code)
      local at = os.clock()
      assert(load(code))
      assert(os.clock() - at < 8, code) -- budget of a chunk is a second; sanitizers are slow
    end
    quick "local s = ('x'):rep(500000) while true do local _ = s .. s end"
    quick "local function f() return 1 + f() end f()"
    quick "local t = {} for i = 1, 100000 do t[i] = true end for i = 1, 100000 do t[i] = nil end while true do next(t) end"
    quick "local a, b = ('x'):rep(900000) .. 'a', ('x'):rep(900000) .. 'b' while true do local _ = a < b end"
    quick "local t = {} for i = 1, 1e9 do t[i] = { i } end"
  end)

  it('a file that runs for ever is stopped, and the message says that it was loading', function()
    local _, err = kit.world { 'while true do end' }
    assert.is_truthy(err:find('loading: instruction budget 10000000 exceeded (line 1)', 1, true), err)
    assert.is_nil(err:find('on_start', 1, true), err)
    _, err = kit.world { 'local t = {} while true do t[#t + 1] = {} end' }
    assert.is_truthy(err:find('loading: memory limit of', 1, true), err)
    _, err = kit.world { 'error("no")' }
    assert.is_truthy(err:find('no', 1, true) and not err:find('on_start', 1, true), err)
  end)

  it('memory ends at the limit, and the message says so', function()
    fails("local t = {} for i = 1, 1e7 do t[i] = ('x'):rep(1000) .. i end", 'memory limit', { memory_mb = 16 })
    assert.is_nil(load("local t = {} for i = 1, 1000 do t[i] = ('x'):rep(100) .. i end", { memory_mb = 1 }))
  end)
end)

describe('patterns', function()
  after_each(kit.clean)

  -- The same calls in the test's own Lua and in the policy's.
  it('mean what they mean in Lua', function()
    local cases = {
      { 'hello world', 'o w' }, { 'hello', 'l+' }, { 'hello', '(h)(.)' }, { 'key = value', '^(%w+)%s*=%s*(%w+)$' },
      { 'f(a(b)c)d', '%b()' }, { 'THE (quick) fox', '%f[%a]%a+' }, { 'abc', '()b()' }, { 'aXb', '%u' }, { '[]', '[]]' },
      { 'a-z', '[a%-z]+' }, { 'x^y', '[%^x]+' }, { 'abcabc', '(abc)%1' }, { '', '' }, { 'abc', '' }, { 'a.b', '%.' },
      { 'aaa', 'a-' }, { 'aaab', 'a-b' }, { '  x ', '^%s*(.-)%s*$' }, { 'x\0y', '%z' }, { 'x\0y', '\0' }, { 'äö', '[\x80-\xff]+' },
      { 'abc123', '%a+%d+' }, { '2024-01-02', '(%d+)-(%d+)-(%d+)' }, { 'abc', '[^b]+' }, { 'abc', 'b?c' }, { 'foo.bar', '^(.-)%.' },
      { 'a,b,,c', '([^,]*)' }, { 'aab', '^a*$' }, { 'hello', '.-(l)(.)' }, { 'x', '^' }, { 'abc', '$' }, { 'a$', 'a$$' }, { 'tab\t', '%c' },
    }
    local lines = {}
    local function dump(...)
      local n, parts = select('#', ...), {}
      for i = 1, n do parts[i] = tostring((select(i, ...))) end
      return table.concat(parts, '|')
    end
    local want = {}
    for i, c in ipairs(cases) do
      local s, p = c[1], c[2]
      want[#want + 1] = dump(i, s:find(p)) .. ';' .. dump(s:match(p)) .. ';' .. dump(s:gsub(p, '<%0>')) .. ';' .. dump(s:find(p, 2)) ..
        ';' .. dump(s:gsub(p, { a = 'A' }, 2))
      local all = {}
      for a, b in s:gmatch(p) do all[#all + 1] = dump(a, b) end
      want[#want] = want[#want] .. ';' .. table.concat(all, ',')
      lines[#lines + 1] = ('{ %q, %q }'):format(s, p)
    end
    local w = assert(kit.world { kit.text([[on_start = function()
        for i, c in ipairs(cases) do
          local s, p = c[1], c[2]
          local line = dump(i, s:find(p)) .. ';' .. dump(s:match(p)) .. ';' .. dump(s:gsub(p, '<%0>')) .. ';' .. dump(s:find(p, 2)) ..
            ';' .. dump(s:gsub(p, { a = 'A' }, 2))
          local all = {}
          for a, b in s:gmatch(p) do all[#all + 1] = dump(a, b) end
          got[i] = line .. ';' .. table.concat(all, ',')
        end
        for i, v in ipairs(want) do assert(got[i] == v, i .. ': ' .. got[i] .. ' not ' .. v) end
        luaswap.log.info('all %d right', #want)
      end]], 'local got, cases, want = {}, { ' .. table.concat(lines, ',') .. ' }, { ' ..
        (function() local q = {} for i, v in ipairs(want) do q[i] = ('%q'):format(v) end return table.concat(q, ',') end)() .. [[ }
      local function dump(...)
        local n, parts = select('#', ...), {}
        for i = 1, n do parts[i] = tostring((select(i, ...))) end
        return table.concat(parts, '|')
      end]]) })
    assert.is_truthy(w:text('messages'):find('all ' .. #cases .. ' right', 1, true), w:text 'messages')
  end)

  it('that are malformed say so', function()
    for _, p in ipairs { '[a', '%', '(', ')', '%b', '%bx', '%f', '%1', '[%', '(()' } do
      fails(("('xxx'):match(%q)"):format(p), ':')
    end
  end)

  it('and format, sort, concat, insert and remove too', function()
    fine [[
      assert(('%5.1f|%-4d|%q|%s|%x|%%'):format(3.14159, 7, 'a\n', true, 255) == ('  3.1|7   |"a\\\n"|true|ff|%'))
      assert(not pcall(string.format, '%d', 'x')) assert(not pcall(string.format, '%y', 1)) assert(not pcall(string.format, '%d'))
      local t = {} for i = 1, 500 do t[i] = (i * 7919) % 503 end
      table.sort(t) for i = 2, #t do assert(t[i - 1] <= t[i]) end
      table.sort(t, function(a, b) return a > b end) for i = 2, #t do assert(t[i - 1] >= t[i]) end
      local u = { 1, 2, 3 } table.insert(u, 4) table.insert(u, 1, 0) assert(table.concat(u, ',') == '0,1,2,3,4')
      assert(table.remove(u) == 4 and table.remove(u, 1) == 0 and #u == 3)
      assert(table.concat(u) == '123' and table.concat(u, '-', 2, 3) == '2-3' and table.concat({}) == '')
      assert(select('#', table.unpack({ 1, nil, 3 }, 1, 3)) == 3 and table.pack(1, 2).n == 2)
      assert(table.concat(table.move({ 1, 2, 3 }, 1, 3, 2), ',') == '1,1,2,3')
      assert(('ab'):rep(3, '-') == 'ab-ab-ab' and ('x'):rep(0) == '' and utf8.len('äö') == 2)]]
  end)
end)
